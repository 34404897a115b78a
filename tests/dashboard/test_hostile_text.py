"""A run from elsewhere whose names, preset, warnings, notes, brands, customers and columns' values hold Markdown and tags.

Whatever reaches the browser is looked at as it is sent, element by element, field by field: none of it is a link or an image.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from analysis import diagnose, explain, load_diagnosis
from analysis.card.content import card
from analysis.card.render import to_html as card_html
from analysis.card.render import to_markdown as card_text
from analysis.explain.report import to_html as explained
from analysis.html_page import REPORT_POLICY
from analysis.report import to_html, to_markdown
from dashboard import train_form
from dashboard.document import to_html as saved
from dashboard.page import KEY
from dashboard.server import DEBUG, RUNS_VARIABLE
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.errors import UserError
from ple_model.run import Run, load_run
from tests.dashboard.test_export import Seen
from tests.dashboard.test_views import NAMES, opened, page, text

pytestmark = pytest.mark.slow

PLANTED = (
    "![seen](http://127.0.0.1:9/x.png) [open](http://127.0.0.1:9/) <img src=x> <a href='http://127.0.0.1:9/'>y</a> "
    "e@vil.example"
)
MARKUP = re.compile(r"!\[|\]\(|\w://|<img|<a\b|\w@\w")
NAME = "run ![a](b)"
PLAIN = {
    *(("selectbox", f) for f in ("options", "raw_value", "id")),  # what can be chosen is shown as it is
    *(("multiselect", f) for f in ("options", "raw_values", "id")),
    *(("code", "code_text"), ("text", "body"), ("json", "body")),
    *((e, f) for e in ("text_input", "text_area") for f in ("default", "value")),  # what is typed
}  # fmt: skip
"""(element, field) that the browser shows as text, whatever it holds."""


@pytest.fixture(scope="module")
def hostile(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("hostile")
    run = Path(shutil.copytree(tiny_run.path, runs / NAME))
    sample = tiny_run.sample().load()
    context = replace(tiny_run.context(), brands=tuple(f"{PLANTED} {i}" for i in range(len(tiny_run.context().brands))))
    odd = replace(
        sample,
        customer_id=[f"{PLANTED} {i}" for i in sample.customer_id],
        raw={"region": [f"{PLANTED} {i % 3}" for i in range(len(sample))], PLANTED: ["a"] * len(sample)},
    )
    shutil.rmtree(run / "sample")
    write_dataset(run / "sample", [odd], context=context, name=PLANTED, group_rows=64)
    shutil.copy(run / "sample" / "artifacts" / "context.json", run / "preprocess" / "context.json")
    for file, change in (
        (run / "manifest.json", {"preset": PLANTED, "warnings": [PLANTED], "commit": PLANTED}),
        (run / "sample" / "dataset.json", {"notes": [PLANTED], "absent_sources": [PLANTED]}),
    ):
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    diagnose(run)
    (run / "analysis" / "latent_labels.json").write_text(json.dumps({str(i): PLANTED for i in range(64)}))
    return runs


def strings(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """(field, text) of everything that a message holds."""
    for field, value in message.ListFields():
        for one in value if field.is_repeated else (value,):
            if isinstance(one, Message):
                yield from strings(one, field.name)
            elif isinstance(one, str):
                yield field.name, one


def sent(app: AppTest) -> Iterator[tuple[str, str, str]]:
    """(element, field, text) of everything that the page sends to the browser."""

    def walk(node: Any) -> Iterator[tuple[str, str, str]]:
        if isinstance(node, Block):
            for child in node.children.values():
                yield from walk(child)
        proto = getattr(node, "proto", None)
        if isinstance(proto, Message):
            yield from ((node.type, field, words) for field, words in strings(proto))

    for block in app._tree.children.values():
        yield from walk(block)


def marked(app: AppTest) -> list[tuple[str, str, str]]:
    """What would be read as a link, an image or a tag: in Markdown, and in the little HTML of figures."""
    found = [(e, f, w) for e, f, w in sent(app) if (e, f) not in PLAIN]
    links = [(e, f, w[:200]) for e, f, w in found if f == "spec" and re.search(r"(?i)(<|\\u003c)a\b", w)]
    return links + [(e, f, w[:200]) for e, f, w in found if f != "spec" and MARKUP.search(w)]


def leading(report: Seen) -> list[str]:
    """Tags of a document that show or lead to something outside of it."""
    return [t for t, a in report.tags if t in ("img", "a", "iframe", "link") or a.keys() & {"src", "href"}]


def customer(runs: Path) -> str:
    return str(load_run(runs / NAME).sample().table(["customer_id"]).column(0)[0].as_py())


@pytest.mark.parametrize("name", NAMES)
def test_no_page_makes_markup_of_foreign_text(name: str, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(hostile, monkeypatch, name, column="raw:region", customer=customer(hostile))
    assert marked(app) == []
    assert leading(Seen(saved(app.session_state[KEY].last(0)))) == []


def test_the_planted_text_is_shown_as_text(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(hostile, monkeypatch, "overview")
    assert "seen" in text(app)
    assert [o for o in app.selectbox(key="run").options if o == NAME]


def test_what_fails_with_foreign_words_is_no_markup_either(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (UserError(PLANTED), ZeroDivisionError(PLANTED)):

        def fails(error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.delenv(DEBUG)
            patch.setenv(RUNS_VARIABLE, str(hostile))
            patch.setattr(train_form, "_form", fails)
            app = AppTest.from_function(page, args=("overview",), default_timeout=120)
            app.session_state["train_open"] = True
            app.run()
        assert marked(app) == []
        assert any("seen" in t.value for t in app.sidebar.text)


def test_every_report_loads_nothing_and_holds_no_markup_of_foreign_text(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hostile / NAME
    found = load_diagnosis(run)
    assert found is not None
    app = opened(hostile, monkeypatch, "overview")
    reports = {
        "run": to_html(found),
        "customer": explained(explain(run, customer(hostile))),
        "page": saved(app.session_state[KEY].last(0)),
        "card": card_html(card(load_run(run), found)),
    }
    for name, report in reports.items():
        tags = Seen(report).tags
        policy = [a.get("content") for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
        assert policy == [REPORT_POLICY], name
        assert leading(Seen(report)) == [], name
        assert "seen" in Seen(report).text, name
    assert MARKUP.findall(to_markdown(found)) == []
    text_card = card_text(card(load_run(run), found))
    assert MARKUP.findall(text_card) == []
    assert "seen" in text_card
