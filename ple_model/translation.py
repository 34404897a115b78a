"""Sentences in another language: the English one is the key, {} stands for each value, and the values are read back out of the
finished sentence, so that what an older run wrote is translated too.

What a training says (`training_sentence`) is kept in English in the run folder and turned into the reader's language here, by
the app and on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

import yaml

from ple_model.yaml_text import LOADER

HOLE = "{}"


class Catalogue:
    """English sentences with holes -> the same in another language, with {0}, {1}, ... for the values."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = dict(known)
        holed = sorted((k for k in known if HOLE in k), key=lambda k: -len(k.replace(HOLE, "")))
        made = [("(.+?)".join(map(re.escape, k.split(HOLE))), known[k]) for k in holed]
        self._patterns = tuple((re.compile(pattern, re.DOTALL), text) for pattern, text in made)
        """The most specific first: the one with the most fixed text."""

    def say(self, sentence: str) -> str:
        """`sentence`, its values filled in and translated themselves where they are phrases; unknown text stays as it is."""
        if sentence in self.known:
            return self.known[sentence]
        for pattern, text in self._patterns:
            if match := pattern.fullmatch(sentence):
                return text.format(*("; ".join(map(self.say, value.split("; "))) for value in match.groups()))
        return sentence


@cache
def training_words(language: str) -> dict[str, str]:
    """What a training can say, English to `language`; nothing for English itself."""
    file = resources.files("ple_model") / f"training_words.{language}.yaml"
    return dict(yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER)) if file.is_file() else {}


@cache
def _training(language: str) -> Catalogue:
    return Catalogue(training_words(language))


def training_sentence(text: str, language: str) -> str:
    """A warning or a failure of a training for a reader of `language`."""
    return _training(language).say(text)
