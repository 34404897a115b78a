"""Words for people: values in their units and titles of input groups, in English and Korean."""

from __future__ import annotations

from analysis.i18n import catalogue, phrase
from ple_model.money import is_money, money
from ple_model.numerals import Language, number, share
from ple_model.registry import expert_classes
from ple_model.tasks import TASKS

OPAQUE = ("tda_short", "tda_long", "phase_transition", "gmm", "mamba_temporal", "hmm_summary", "lnn")
"""Parts whose single columns say nothing to a reviewer: they are given as one reason."""


def quantity(value: float, unit: str, language: Language = "en", *, signed: bool = False) -> str:
    """A value with its unit: `12 days`, `34%`, `yes`, `$1,234.50`. `signed`: a difference, with a plus where it is one."""
    if is_money(unit):
        return money(value, unit, language, signed=signed)
    text = _quantity(value, unit, language)
    return f"+{text}" if signed and value > 0 and number(value) != "0" else text


def _quantity(value: float, unit: str, language: Language) -> str:
    if unit == "share":
        return share(value)
    if unit == "flag":
        return phrase("flag.yes" if value >= 0.5 else "flag.no", language)
    known, text = catalogue(language), number(value)
    form = (known.get(f"unit.{unit}_one") if text == "1" else None) or known.get(f"unit.{unit}")
    return (form.format(value=text) if form else f"{text} {unit}").rstrip()


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


def statement(sentence: str, language: str = "en") -> str:
    """A schema sentence as the subject of a longer one."""
    text, ending = sentence.strip().rstrip("."), phrase("grammar.ending", language)
    return text.removesuffix(ending).rstrip() if ending else text
