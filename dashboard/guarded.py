"""No part of the app replaces the page by an exception: what fails unexpectedly ends in a sentence, and the rest stays.

The traceback goes to the server's log. With `ple app --debug` (the variable `DEBUG`) exceptions are shown as they are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from dashboard import ui
from dashboard.i18n import t
from dashboard.server import DEBUG
from ple_model.errors import UserError

_log = logging.getLogger(__name__)


@contextmanager
def guarded() -> Iterator[None]:
    """Streamlit's own ways to end a script (stop, rerun) are no `Exception` and pass."""
    try:
        yield
    except Exception as e:
        if os.environ.get(DEBUG):
            raise
        words = " ".join(str(e).split()) or type(e).__name__
        if isinstance(e, UserError):
            ui.error(t("guard.failed"), icon=":material/error:")
        else:
            _log.exception("a part of the page could not be shown")
            ui.error(t("guard.broken"), icon=":material/error:")
            words = f"{type(e).__name__}: {words}"
        st.text(words[:500])  # plain: the words may come from a file
