"""Foreign text is text: names, warnings and labels come from run folders and data, and Markdown would make links and images
of them. Everything that goes to an element which reads Markdown passes `harmless`.

Only what starts an image, a link or an address is parted, by a space, so that whatever else was written stays readable; a text
without any of it comes back as it is. What a page may load at all is bounded by the policy of `guard_requests` besides.
"""

from __future__ import annotations

import re

_PARTS = (
    (re.compile(r"!(?=\[)"), "! "),  # an image
    (re.compile(r"\](?=[(\[:])"), "] "),  # the target of a link, written out, by reference, or its definition
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}):(?=//)"), r"\1: "),  # an address, which becomes a link by itself
    (re.compile(r"(?i)\b(www)\."), r"\1 ."),
    (re.compile(r"<(?=[A-Za-z/!?])"), "< "),  # a tag
)


def harmless(text: str) -> str:
    """`text` without anything that Markdown would turn into an image, a link or a tag."""
    for pattern, parted in _PARTS:
        text = pattern.sub(parted, text)
    return text
