"""What columns are called in other people's tables: names as words, and patterns over them."""

from __future__ import annotations

import re

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Between the words of customerAge."""


def column_words(column: str) -> str:
    """Its words in small letters with one _ between them: customerAge and "Customer age" are customer_age."""
    return re.sub(r"[\W_]+", "_", _HUMP.sub("_", column.strip()).lower()).strip("_")


def words_called(latin: str, korean: str) -> re.Pattern[str]:
    """Whole words of `column_words` for Latin ones, any place for Korean ones, which have no spaces to go by."""
    return re.compile(rf"(^|_)({latin})(?=_|$)|{korean}")
