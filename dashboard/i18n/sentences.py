"""What the checks and a training say, in the reader's language.

Findings keep their English sentences, which JSON, Markdown and the command line print. As in gettext the English sentence is
the key: `findings.<language>.yaml` holds it with {} for each value, and the values are read back out of the finished sentence,
so that findings of any origin are translated. A test holds the catalogue against the sentences in the checks. Figures' labels
go the same way (`figure_text` in the catalogue).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources

import yaml

from analysis.checks.finding import Evidence, Finding
from dashboard.i18n import catalogue, language
from ple_model.translation import Catalogue, training_words


@cache
def labels(lang: str) -> dict[str, str]:
    """What figures say, in the same form."""
    prefix = "figure_text."
    return {k.removeprefix(prefix): v for k, v in catalogue(lang).items() if k.startswith(prefix)}


@cache
def templates(lang: str) -> dict[str, str]:
    """English sentence with holes -> the same in `lang`, with {0}, {1}, ... for the values; nothing for English."""
    file = resources.files("dashboard") / "i18n" / f"findings.{lang}.yaml"
    return {**training_words(lang), **(yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {})}


@cache
def _catalogue(lang: str, figures: bool) -> Catalogue:
    return Catalogue(labels(lang) if figures else templates(lang))


@cache
def translate(sentence: str, lang: str, figures: bool = False) -> str:
    """`sentence` in `lang`, values filled in and translated themselves where they are phrases; unknown text stays as it is."""
    return _catalogue(lang, figures).say(sentence)


def say(sentence: str) -> str:
    """A sentence of a check or a training in the session's language."""
    return translate(sentence, language())


def label(text: str) -> str:
    """A figure's label in the session's language."""
    return translate(text, language(), figures=True)


def localised(finding: Finding) -> Finding:
    """The finding as the reader sees it; id, subject and numbers stay."""
    fix = replace(finding.fix, text=say(finding.fix.text)) if finding.fix else None
    evidence = tuple(_evidence(e) for e in finding.evidence)
    return replace(finding, verdict=say(finding.verdict), cause=say(finding.cause), fix=fix, evidence=evidence)


def _evidence(item: Evidence) -> Evidence:
    return replace(item, text=say(item.text)) if item.text else item
