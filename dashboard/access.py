"""Who may change anything here: train, make data, measure baselines, name latents.

`ple app --read-only` lets nobody: nothing but what is measured of a run is written, whoever asks (`require` stands before
everything that starts a job or writes a file). Where Streamlit's own login is configured (`[auth]` in
`.streamlit/secrets.toml`) only who is logged in may, with `ple app --trainers` only these of them; all others see the same
pages and cannot change anything.
"""

from __future__ import annotations

from typing import Literal

import streamlit as st

from analysis.review.record import Person
from dashboard.i18n import t
from dashboard.server import read_only, trainers
from ple_model.errors import UserError

WhyNot = Literal["", "read_only", "login", "not_trainer", "no_login"]


def why_not() -> WhyNot:
    """Why this session may change nothing; empty where it may."""
    if read_only():
        return "read_only"
    known = trainers()
    user = dict(st.user)
    if "is_logged_in" not in user:  # Streamlit says so only where a login is configured
        return "no_login" if known else ""
    if not user["is_logged_in"]:
        return "login"
    return "" if not known or str(user.get("email", "")).lower() in known else "not_trainer"


def may_change() -> bool:
    """Whether this session may train, make data, measure baselines and name latents."""
    return not why_not()


def person() -> Person:
    """Who this session is, for the audit record: the app's login where there is one, else the account that runs the app."""
    user = dict(st.user)
    if "is_logged_in" not in user:
        return Person.of_account()
    known = next((str(user[k]) for k in ("email", "name", "sub") if user.get(k)), "") if user["is_logged_in"] else ""
    return Person(known or "not logged in", "login")


def require() -> None:
    """Before anything is changed, in the callback itself: a button that should not be there is no permission."""
    if why := why_not():
        raise UserError(t(f"access.{why}"))
