"""Names of text encodings, as a map may give them."""

from __future__ import annotations

import codecs

from ple_model.errors import UserError

NO_FILES = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"})
"""Codecs of text that no file is written in, or that are not there on every system."""


def text_encoding(name: str, where: str) -> str:
    """`name` if it is an encoding between bytes and text. `UserError`: Python knows others (rot13, base64) that are not."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError) as e:
        raise UserError(f"{where}: {name[:60]!r} is no encoding; for example utf-8, cp949 (Korean Windows) or utf-16") from e
    if not found._is_text_encoding or found.name.replace("_", "-") in NO_FILES:
        raise UserError(f"{where}: {name!r} is no encoding of text files; for example utf-8, cp949 (Korean Windows) or utf-16")
    return name
