"""What a link asks for and is not here: said, and nothing else shown, so that nothing else is taken for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from dashboard import ui
from dashboard.components import put
from dashboard.i18n import t

SHOWN = 8
"""Of what is here, so many are named."""


def _forget(keys: Sequence[str]) -> None:
    for key in keys:
        st.session_state.pop(key, None)
        st.query_params.pop(key, None)


def _asked(key: str) -> list[str]:
    """What is asked for under a bound key: what was chosen in this session, else what the link holds."""
    chosen = st.session_state.get(key)
    if chosen is None:
        return list(st.query_params.get_all(key))
    return [str(c) for c in chosen] if isinstance(chosen, list) else [str(chosen)]


def quoted(text: str) -> str:
    """Text of a link as text: no markup of it reaches the page."""
    return "`" + " ".join(text.replace("`", "'").split())[:80] + "`"


def require(key: str, options: Collection[object], title: str, known: Collection[str] = ()) -> None:
    """Call before the bound widget `key` (named `title`) is drawn. Ends the page where the link asks for something else than
    the options; where the run has it but this page does not (`known`), that is said and the page makes its own choice."""
    here = [str(o) for o in options]
    missing = [v for v in _asked(key) if v not in here]
    if not missing:
        return
    if all(v in known for v in missing):
        put.info(t("guard.not_on_page", what=title, value=", ".join(map(quoted, missing))))
        _forget([key])
        return
    named = ", ".join(map(quoted, sorted(here)[:SHOWN])) + (" …" if len(here) > SHOWN else "")
    put.error(t("guard.not_here", what=title, value=", ".join(map(quoted, missing)), valid=named or "–"))
    ui.button(t("guard.show_here"), key=f"forget-{key}", on_click=_forget, args=([key],), icon=":material/link_off:")
    st.stop()


def begin_choice(key: str, options: Sequence[str], default: str, title: str) -> None:
    """Before the widget `key` is drawn, whose options are shown by translated words: what the link asks for, else the default.
    Such a widget is not bound, since the URL would then hold the words of one language."""
    require(key, options, title)
    if st.session_state.get(key) not in options:
        st.session_state[key] = st.query_params.get(key, default)


def end_choice(key: str, default: str) -> str:
    """After it is drawn: the choice, which the URL holds from here on."""
    found = str(st.session_state.get(key) or default)
    if found == default:
        st.query_params.pop(key, None)
    elif st.query_params.get(key) != found:
        st.query_params[key] = found
    return found
