"""Every visible string of the dashboard, one catalogue a language (`en.yaml`, `ko.yaml`); keys are dotted paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import streamlit as st
import yaml

from analysis.harmless import harmless

LANGUAGES: dict[str, str] = {"en": "English", "ko": "한국어"}
DEFAULT = "en"


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


@cache
def catalogue(language: str) -> dict[str, str]:
    """All strings of one language by dotted key."""
    text = (resources.files("dashboard") / "i18n" / f"{language}.yaml").read_text(encoding="utf-8")
    return dict(_flatten(yaml.safe_load(text)))


def language() -> str:
    """The reader's language; on the first run of a copied link, before the widget is drawn, the link's."""
    chosen = st.session_state.get("lang") or st.query_params.get("lang")
    return chosen if chosen in LANGUAGES else DEFAULT


def t(key: str, /, **values: object) -> str:
    """The string of `key` in the session's language with `{name}` filled in, as plain text; `KeyError` for an unknown key."""
    text = catalogue(language())[key]
    return text.format(**{k: harmless(v) if isinstance(v, str) else v for k, v in values.items()}) if values else text


def maybe(key: str, otherwise: str) -> str:
    """The string of `key` if the catalogue has it, else `otherwise`: for names that data may extend (experts, checks)."""
    return catalogue(language()).get(key, otherwise)
