"""What the checks and a training say, in a reader's language, for pages and files that are no page.

Findings keep their English sentences, which JSON and the command line print. `findings.<language>.yaml` holds each with {} for
its values, which are read back out of the finished sentence, so that findings of any origin are translated.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from ple_model.translation import Catalogue, training_words
from ple_model.yaml_text import LOADER


@cache
def templates(language: str) -> dict[str, str]:
    """English sentence with holes -> the same in `language`, with {0}, {1}, ... for the values; nothing for English."""
    file = resources.files("analysis") / "i18n" / f"findings.{language}.yaml"
    own = yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER) if file.is_file() else {}
    return {**training_words(language), **own}


@cache
def _catalogue(language: str) -> Catalogue:
    return Catalogue(templates(language))


def finding_sentence(text: str, language: str) -> str:
    """A sentence of a check or of a training; one that is not known stays as it is."""
    return _catalogue(language).say(text)
