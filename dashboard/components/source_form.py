"""Files of one's own: upload them, or pick what lies in the allowed folders."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import access, places, ui
from dashboard.i18n import t
from ple_model.errors import UserError

KEY = "import_source"
TYPES = ["csv", "tsv", "txt", "gz", "parquet", "xlsx", "xlsm", "xlsb", "xls", "ods"]


def source_form() -> Path | None:
    """The file or folder that was chosen; None until one is, or where what was typed cannot be taken."""
    left, right = st.columns(2, gap="medium")
    with left:
        _upload()
    with right:
        known = [places.short(p) for p in places.sources()]
        chosen = st.session_state.get(KEY)
        typed = ui.selectbox(
            t("import.source"), known if chosen is None or chosen in known else [chosen, *known], index=None, key=KEY,
            accept_new_options=True, placeholder=t("import.source_none"), help=t("import.source_help"),
        )  # fmt: skip
        ui.caption(t("import.folders", folders=", ".join(f"`{p}`" for p in places.allowed())))
        return _checked(typed) if typed else None


def _upload() -> None:
    files = ui.file_uploader(t("import.upload"), TYPES, accept_multiple_files=True, key="upload", help=t("import.upload_help"))
    given = tuple((f.file_id, f.name) for f in files)
    if not files or st.session_state.get("uploaded") == given:
        return
    try:
        access.require()
        kept = places.keep_upload((f.name, f.getvalue()) for f in files)
    except (UserError, OSError) as e:
        ui.error(t("import.not_kept", reason=str(e)), icon=":material/error:")
        return
    st.session_state["uploaded"] = given
    st.session_state[KEY] = places.short(kept)


def _checked(typed: str) -> Path | None:
    try:
        found = places.inside(typed)
    except places.Outside:
        ui.caption(f":red[{t('import.outside', path=typed)}]")
        return None
    except UserError as e:
        ui.caption(f":red[{e}]")
        return None
    if not found.exists():
        ui.caption(f":red[{t('import.missing', path=typed)}]")
        return None
    return found
