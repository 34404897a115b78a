"""Foreign text is text: names, warnings and labels come from run folders and data, and Markdown would make links and images
of them. Everything that goes to something which reads Markdown passes `harmless` (in the app: `dashboard/ui.py`), every figure
`harmless_figure`, for plotly makes links of its own little HTML.

Only what starts an image, a link or an address is parted, by a space, so that whatever else was written stays readable; a text
without any of it comes back as it is. What a page may load at all is bounded by the policy of `guard_requests` besides.
"""

from __future__ import annotations

import re
from typing import Any

_PARTS = (
    (re.compile(r"!(?=\[)"), "! "),  # an image
    (re.compile(r"\](?=[(\[:])"), "] "),  # the target of a link, written out, by reference, or its definition
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}):(?=//)"), r"\1: "),  # an address, which becomes a link by itself
    (re.compile(r"(?i)\b(mailto|xmpp):(?=\S)"), r"\1: "),
    (re.compile(r"(?<=[\w.+-])@(?=[\w-]+\.\w)"), " @"),  # an address of mail, which does so too
    (re.compile(r"(?i)\b(www)\."), r"\1 ."),
    (re.compile(r"<(?=[A-Za-z/!?])"), "< "),  # a tag
)
_FIGURE_LINK = re.compile(r"(?i)<(?=\s*a\b)")
"""Of the tags that a figure's texts may hold, the one that leads away."""


def harmless(text: str) -> str:
    """`text` without anything that Markdown would turn into an image, a link or a tag."""
    for pattern, parted in _PARTS:
        text = pattern.sub(parted, text)
    return text


def harmless_figure(figure: Any) -> Any:
    """The plotly figure, in place, without links in its titles, names, ticks, marks and what is shown on them."""
    for part in (figure.layout, *figure.data):
        held = part.to_plotly_json()
        plain = _plain(held)
        if plain is not held:
            part.update(plain, overwrite=True)
    return figure


def _plain(value: Any) -> Any:
    """The same object where nothing had to be parted."""
    if isinstance(value, str):
        return _FIGURE_LINK.sub("< ", value) if "<" in value else value
    if isinstance(value, dict):
        plain = {k: _plain(v) for k, v in value.items()}
        return plain if any(plain[k] is not value[k] for k in value) else value
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if isinstance(value, list | tuple) or kind in ("O", "U"):
        items = [_plain(v) for v in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value
