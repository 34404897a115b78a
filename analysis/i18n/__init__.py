"""Every sentence of a package that no record carries, one catalogue a language (`i18n/en.yaml`, `i18n/ko.yaml`).

Keys are dotted paths and the same in every language; `{name}` stands for a value and may carry its format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from analysis.particles import with_particles
from ple_model.yaml_text import LOADER


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


@cache
def catalogue(language: str, package: str = "analysis") -> dict[str, str]:
    """All strings of a package in one language by dotted key, read once."""
    text = (resources.files(package) / "i18n" / f"{language}.yaml").read_text(encoding="utf-8")
    return dict(_flatten(yaml.load(text, Loader=LOADER)))


@cache
def section(name: str, language: str) -> dict[str, str]:
    """The strings below one heading of the analysis by their own keys."""
    return {k.removeprefix(f"{name}."): v for k, v in catalogue(language).items() if k.startswith(f"{name}.")}


def phrase(key: str, language: str, /, **values: object) -> str:
    """The analysis' string of `key` with its values filled in; `KeyError` for an unknown key."""
    text = catalogue(language)[key].format(**values)
    return with_particles(text) if language == "ko" else text
