"""Who may ask the app, what its pages may load, and that foreign words stay words."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from analysis.harmless import harmless
from analysis.html_page import REPORT_POLICY
from dashboard.guard_requests import POLICY, GuardRequests, allowed, host_of

HOSTILE = (
    "![](http://evil.example/x.png)",
    "![a][b]\n\n[b]: http://evil.example/x.png",
    "[click](//evil.example)",
    "<img src=x onerror=alert(1)>",
    "https://evil.example",
    "www.evil.example",
    "someone@evil.example",
    "mailto:someone@evil.example",
    "a ![b](data:image/png;base64,x) c",
    "[a][b]",
)


@pytest.mark.parametrize("header", ["localhost:8501", "127.0.0.1", "[::1]:8501", "LOCALHOST"])
def test_the_local_names_are_answered(header: str) -> None:
    assert allowed(header, "127.0.0.1")


@pytest.mark.parametrize(
    "header",
    ["evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5", "", "[::2]", "e@127.0.0.1"],
)
def test_any_other_name_is_not(header: str) -> None:
    assert not allowed(header, "127.0.0.1")


def test_a_server_on_every_address_answers_literal_addresses_and_no_names() -> None:
    assert allowed("10.0.0.5:80", "0.0.0.0")
    assert not allowed("evil.example", "0.0.0.0")
    assert host_of("[::1]:80") == "::1"


def _ask(kind: str, hosts: list[bytes]) -> tuple[bool, list[MutableMapping[str, Any]]]:
    """(did the app see the request, what was sent)."""
    seen, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        head = [(b"content-security-policy", b"default-src *"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": head})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    scope = {"type": kind, "headers": [(b"host", h) for h in hosts]}
    asyncio.run(GuardRequests(app)(scope, receive, send))
    return bool(seen), sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("hosts", [[b"evil.example"], [], [b"127.0.0.1", b"evil.example"]])
def test_a_foreign_or_missing_host_never_reaches_the_app(kind: str, hosts: list[bytes]) -> None:
    reached, sent = _ask(kind, hosts)
    assert not reached
    assert sent[0].get("status", 1008) in (421, 1008)


def test_every_answer_carries_the_headers_once() -> None:
    reached, sent = _ask("http", [b"127.0.0.1:1"])
    names = [name for name, _ in sent[0]["headers"]]
    assert reached
    assert b"x-kept" in names
    assert names.count(b"content-security-policy") == 1
    assert {b"x-content-type-options", b"referrer-policy", b"x-frame-options"} <= set(names)


def test_the_policies_let_nothing_load_from_elsewhere() -> None:
    for policy in (POLICY, REPORT_POLICY):
        assert "http" not in policy
        assert "*" not in policy
    assert "frame-ancestors 'self'" in POLICY
    assert "default-src 'none'" in REPORT_POLICY


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_words_make_no_image_link_or_tag(text: str) -> None:
    plain = harmless(text)
    assert not any(mark in plain for mark in ("![", "](", "][", "]:", "://", "<img", "www.", "e@", "mailto:s"))
    assert plain.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["**bold** `code` :red[x]", "a < b, c > d", "share [0, 1]", "- one\n- two", "10:30", "x!", ""])
def test_our_own_words_come_back_as_they_are(text: str) -> None:
    assert harmless(text) == text
