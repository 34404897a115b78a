"""What offers, channels, ages, categories and brands of the package's own banks are called in a reader's language. A name of
another bank that is the very same word is read as that word; every other name stays as it is."""

from __future__ import annotations

import re

from analysis.i18n import catalogue
from ple_model.numerals import Language

IN_DAYS = re.compile(r"in (\d+) days?")
BRAND = re.compile(r"(.+) ([A-C]) ([NESW])")
"""A merchant group with a letter for its kind and one for the brand, as the synthetic bank calls its brands."""


def said_name(name: str, language: Language) -> str:
    """A class's name for a reader of `language`."""
    known = catalogue(language)
    if (found := known.get(f"name.{name}")) is not None and "{" not in found:
        return found
    if days := IN_DAYS.fullmatch(name):
        return known[f"name.in_{'day' if days[1] == '1' else 'days'}"].format(n=days[1])
    if (brand := BRAND.fullmatch(name)) and (group := known.get(f"name.{brand[1].lower()}")):
        return f"{group[:1].upper()}{group[1:]} {brand[2]} {brand[3]}" if language != "en" else name
    return name
