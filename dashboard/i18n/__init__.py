"""Every visible string of the dashboard, one catalogue a language (`en.yaml`, `ko.yaml`); keys are dotted paths."""

from __future__ import annotations

import streamlit as st

from analysis.harmless import harmless
from analysis.i18n import catalogue as strings_of

DEFAULT = "en"


def catalogue(language: str) -> dict[str, str]:
    """All strings of one language by dotted key."""
    return strings_of(language, "dashboard")


LANGUAGES: dict[str, str] = {code: catalogue(code)["language_name"] for code in ("en", "ko")}


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
