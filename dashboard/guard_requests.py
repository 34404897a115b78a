"""What stands before every request to the app: who may ask (the Host header), and what a page may load (headers).

A page from elsewhere whose name was pointed at 127.0.0.1 (DNS rebinding) sends its own name as Host and is refused. What the
app's pages show may come from a stranger's run folder: the policy lets them load from the app itself alone, so that no text in
them can make the browser fetch anything. Streamlit writes styles and one script into its page, and the small charts compile
their expressions: hence 'unsafe-inline' and 'unsafe-eval', which still reach no other address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "media-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS: dict[bytes, bytes] = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"SAMEORIGIN",
    b"cross-origin-opener-policy": b"same-origin",
}
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def host_of(header: str) -> str:
    """The name in a Host header, without its port and the brackets of an IPv6 address, in small letters."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if ":" in text else text


def allowed(header: str, address: str) -> bool:
    """May a request with this Host be answered by a server on `address`?

    The local names may; so may the server's own address, or any literal one if it listens on all (a name that was pointed here
    is never a literal address).
    """
    host = host_of(header)
    if host in LOCAL or host == address.lower():
        return True
    try:
        everywhere = ipaddress.ip_address(address).is_unspecified
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return everywhere


class GuardRequests:
    """ASGI middleware around the app; `address` is where the server listens."""

    def __init__(self, app: Application, address: str = "127.0.0.1") -> None:
        self.app, self.address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name.lower() == b"host"]
        if len(hosts) != 1 or not allowed(hosts[0], self.address):
            await _refuse(scope, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", ()) if k.lower() not in HEADERS]
                message = {**message, "headers": [*kept, *HEADERS.items()]}
            await send(message)

        await self.app(scope, receive, guarded)


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b"This address is not one that the app answers to; open it as http://127.0.0.1 with its port.\n"
    head = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *HEADERS.items()]
    await send({"type": "http.response.start", "status": 421, "headers": head})
    await send({"type": "http.response.body", "body": body})
