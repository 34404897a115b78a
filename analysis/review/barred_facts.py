"""What may not be a reason, by the same names wherever a report lists it."""

from __future__ import annotations

from analysis.i18n import phrase
from analysis.results.explanation import Explanation
from analysis.wording import title
from ple_model.barred_words import BARRED_KINDS
from ple_model.numerals import Language


def barred_names(found: Explanation, language: Language) -> str:
    """All that the configuration bars, then what a table of somebody's own marks so: whether this model reads it or not."""
    said = [_named(name, language) for name in found.audit.get("barred") or ()]
    more = () if found.barred is None else found.barred.named(language)
    names = list(dict.fromkeys([*said, *more]))
    return ", ".join(names) or phrase("review.nothing_barred", language)


def _named(name: str, language: Language) -> str:
    """A kind in words; a column or a group by its own name."""
    return BARRED_KINDS[name].title[language == "ko"] if name in BARRED_KINDS else title(name, language)
