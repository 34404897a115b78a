"""What the checks and a training say, in the reader's language.

Findings keep their English sentences, which JSON, Markdown and the command line print. As in gettext the English sentence is
the key, and its values are read back out of it (`analysis.i18n.sentences`). A test holds the catalogue against the sentences in
the checks. Figures' labels go the same way (`figure_text` in the catalogue).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from analysis.checks.finding import Evidence, Finding
from analysis.i18n.sentences import finding_sentence
from dashboard.i18n import catalogue, language
from ple_model.translation import Catalogue


@cache
def labels(lang: str) -> dict[str, str]:
    """What figures say, in the same form."""
    prefix = "figure_text."
    return {k.removeprefix(prefix): v for k, v in catalogue(lang).items() if k.startswith(prefix)}


@cache
def _labels(lang: str) -> Catalogue:
    return Catalogue(labels(lang))


@cache
def translate(sentence: str, lang: str, figures: bool = False) -> str:
    """`sentence` in `lang`, values filled in and translated themselves where they are phrases; unknown text stays as it is."""
    return _labels(lang).say(sentence) if figures else finding_sentence(sentence, lang)


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
