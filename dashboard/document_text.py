"""The app's Markdown as HTML, for a saved page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator


def escaped(text: object) -> str:
    return html.escape(str(text))


def inline(text: str) -> str:
    """The app's Markdown inside a line as HTML: bold, code, coloured text; icons are left out, links become their text."""
    text = re.sub(r":material/\w+:\s*", "", escaped(text))
    text = re.sub(r":(orange|green|red|blue|gray)\[([^\[\]]*)\]", r"<span class=\1>\2</span>", text)
    text = re.sub(r"\[([^\[\]]*)\]\([^()]*\)", r"\1", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text).strip()


def blocks(text: str) -> Iterator[str]:
    """Paragraphs and lists."""
    bullet = re.compile(r"^(?:[-*]|(\d+)\.)\s+(.*)$")
    group: list[str] = []
    kind = ""

    def close() -> Iterator[str]:
        if group and kind:
            yield f"<{kind}>{''.join(f'<li>{inline(g)}</li>' for g in group)}</{kind}>"
        elif group:
            yield f"<p>{'<br>'.join(map(inline, group))}</p>"

    for line in text.strip().splitlines():
        found = bullet.match(line.strip())
        now = ("ol" if found[1] else "ul") if found else ""
        if now != kind or not line.strip():
            yield from close()
            group, kind = [], now
        if line.strip():
            group.append(found[2] if found else line)
    yield from close()


def paragraph(text: str, kind: str) -> str:
    return f'<p class="{kind}">{inline(text)}</p>' if text else ""
