"""What offers, channels, ages, categories and brands of the package's own banks are called in a reader's language. A name of
another bank that is the very same word is read as that word; every other name stays as it is."""

from __future__ import annotations

import re
from datetime import date, timedelta

from analysis.i18n import catalogue, phrase
from analysis.wording import given_title, task_title
from ple_model.fields import NO_CUTOFF
from ple_model.numerals import Language

IN_DAYS = re.compile(r"in (\d+) days?")
BRAND = re.compile(r"(.+) ([A-C]) ([NESW])")
"""A merchant group with a letter for its kind and one for the brand, as the synthetic bank calls its brands."""


def label_said(task: str, name: str, cutoff: str, language: Language) -> str:
    """A class of a task for a reader; of a number of days from a cut-off, the day itself."""
    days = IN_DAYS.fullmatch(name)
    if days and task == "timing" and cutoff != NO_CUTOFF:
        try:
            return str(date.fromisoformat(cutoff[:10]) + timedelta(days=int(days[1])))
        except ValueError:
            pass
    return said_name(name, language)


def did_said(task: str, title: str, label: str, cutoff: str, language: Language) -> str:
    """What customers did of whom it came true: `responded to "fund" first`. `label`: the class that is asked about, empty where
    there are none."""
    own = given_title(task, title)
    key = f"link.did.{task}"
    if own or key not in catalogue(language):
        key = f"link.did.{'class' if label else 'yes'}"
    return phrase(
        key, language, label=label_said(task, label, cutoff, language) if label else "",
        title=own or task_title(task, language) or title,
    )  # fmt: skip


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
