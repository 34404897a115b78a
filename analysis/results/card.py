"""What a model card consists of, as values that Markdown and HTML are both made from: they cannot say different things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.results.review import Level, ReviewBlock
from ple_model.numerals import Language

SectionName = Literal["details", "use", "factors", "metrics", "evaluation", "training", "results", "ethics", "caveats", "made"]
"""The sections of Mitchell et al. 2019 (https://doi.org/10.1145/3287560.3287596), and how the model was made."""


@dataclass(frozen=True)
class CardSection:
    """A heading of the card with what stands under it: at least one block, each with a heading of its own or none."""

    name: SectionName
    heading: str
    blocks: tuple[ReviewBlock, ...]


@dataclass(frozen=True)
class ModelCard:
    """See the module docstring; every text is in the card's language, as text and not yet as markup."""

    language: Language
    run: str
    title: str
    answer: str
    """The verdict on the run, in one sentence."""
    level: Level
    sections: tuple[CardSection, ...]
    footer: str
