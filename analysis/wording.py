"""Words for people: values in their units and titles of input groups, in English and Korean."""

from __future__ import annotations

import math
from typing import Literal

from analysis.i18n import catalogue, phrase
from ple_model.money import is_money, money
from ple_model.registry import expert_classes
from ple_model.tasks import TASKS

Language = Literal["en", "ko"]

OPAQUE = ("tda_short", "tda_long", "phase_transition", "gmm", "mamba_temporal", "hmm_summary", "lnn")
"""Parts whose single columns say nothing to a reviewer: they are given as one reason."""
ROUNDING = 1e-12
"""What arithmetic in double precision leaves of nothing."""
FIRST_SYLLABLE, LAST_SYLLABLE, FINALS = 0xAC00, 0xD7A3, 28
"""Hangul syllables in Unicode: every 28th has no final consonant."""


def number(value: float) -> str:
    """A number at the precision a reader needs."""
    if not math.isfinite(value):
        return "unknown"
    size = abs(value)
    if size >= 100 or (size >= 1 and abs(value - round(value)) < 0.05):
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:,.1f}"
    return "0" if size < 5e-4 else f"{value:.2f}" if size >= 0.05 else f"{value:.3f}"


def statistic(value: float | None, none: str = "–") -> str:
    """A statistic in a card, a table or a report: three significant digits, thousands separated; `none` where there is none."""
    if value is None or not math.isfinite(value):
        return none
    if abs(value) < ROUNDING:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float) -> str:
    """A probability to a tenth of a percent; what rounds to nothing has no sign."""
    return f"{0.0 if abs(value) < 5e-4 else value:.1%}"


def quantity(value: float, unit: str, language: Language = "en", *, signed: bool = False) -> str:
    """A value with its unit: `12 days`, `34%`, `yes`, `$1,234.50`. `signed`: a difference, with a plus where it is one."""
    if is_money(unit):
        return money(value, unit, language, signed=signed)
    text = _quantity(value, unit, language)
    return f"+{text}" if signed and value > 0 and number(value) != "0" else text


def _quantity(value: float, unit: str, language: Language) -> str:
    if unit == "share":
        value = 0.0 if abs(value) < 5e-4 else value  # nothing, up to the rounding of a normaliser
        return f"{value:.0%}" if abs(value) >= 0.095 or value == 0 else f"{value:.1%}"
    if unit == "flag":
        return phrase("flag.yes" if value >= 0.5 else "flag.no", language)
    form = catalogue(language).get(f"unit.{unit}")
    return (form.format(value=number(value)) if form else f"{number(value)} {unit}").rstrip()


def plain_quantity(value: float, unit: str, language: Language = "en") -> str:
    """A value within a sentence, where the unit of a count, a ratio or a score goes without saying."""
    bare = unit in ("ratio", "score") or (unit == "count" and language == "en")
    return number(value) if bare else quantity(value, unit, language)


def title(group: str, language: Language = "en") -> str:
    """A feature part's or input field's name for a reviewer."""
    known = catalogue(language)
    return known.get(f"part.{group}") or known.get(f"field.{group}") or group.replace("_", " ")


def is_field(group: str) -> bool:
    """Whether a group of inputs is a field of its own, not a part of the columns."""
    return f"field.{group}" in catalogue("en")


def module_title(module: str, language: Language = "en") -> str:
    """A shared expert's name for a reviewer with its name in the configuration; the title of an HMM mode or of the cluster."""
    found = catalogue(language).get(f"module.{module}")
    if found is not None:
        return found
    known = expert_classes().get(module)
    return f"{known.title[language == 'ko']} ({module})" if known is not None else module


def task_title(task: str, language: Language = "en") -> str:
    """A task's name in Korean; empty for other languages (the task record has it) and unknown tasks."""
    return TASKS[task].title_ko if language == "ko" and task in TASKS else ""


def given_title(task: str, title: str) -> str:
    """The title, where it is a label's own and not the task's; else empty."""
    return "" if task not in TASKS or title == TASKS[task].title else title


def particle(word: str, with_final: str, without: str) -> str:
    """The Korean particle that fits the last syllable of `word`."""
    last = word[-1] if word else ""
    if last and FIRST_SYLLABLE <= ord(last) <= LAST_SYLLABLE:
        return with_final if (ord(last) - FIRST_SYLLABLE) % FINALS else without
    return f"{with_final}({without})"


def statement(sentence: str, language: str = "en") -> str:
    """A schema sentence as the subject of a longer one."""
    text, ending = sentence.strip().rstrip("."), phrase("grammar.ending", language)
    return text.removesuffix(ending).rstrip() if ending else text
