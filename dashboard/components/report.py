"""The report for review from a page: HTML or PDF, with masks in the place of ids, noted in the audit record."""

from __future__ import annotations

import json
from functools import partial

import streamlit as st

from analysis.results.explanation import Explanation
from analysis.review.issue import Desk, Format, masked
from analysis.review.mask import Mask
from analysis.review.record import Person
from dashboard import access, ui
from dashboard.frame import Frame
from dashboard.i18n import language, t
from dashboard.server import read_only
from ple_model.errors import UserError
from ple_model.json_text import plain
from ple_model.numerals import Language
from ple_model.run import Run

MIME: dict[Format, str] = {"html": "text/html", "pdf": "application/pdf"}
ICONS: dict[Format, str] = {"html": ":material/print:", "pdf": ":material/picture_as_pdf:"}


def mask_of(frame: Frame) -> Mask:
    """The mask that this app's exports show customers by."""
    return _masks(frame.run)[0]


def _masks(run: Run) -> tuple[Mask, str]:
    """The masks, and why they are gone with this process where the user's key cannot be had; empty where it can."""
    scope = run.manifest.data.fingerprint
    try:
        return Mask.of(scope, keep=not read_only()), ""
    except UserError as e:
        return Mask.of(scope, keep=False), str(e)


def downloads(frame: Frame, e: Explanation, key: str = "report") -> None:
    """The report in both forms and the explanation as JSON; a line that says what is recorded."""
    lang: Language = "ko" if language() == "ko" else "en"
    show = ui.toggle(t("report.ids"), key=f"{key}-ids", help=t("report.ids_help"))
    masks, unkept = _masks(frame.run)
    mask = None if show else masks
    if unkept:
        ui.warning(t("report.mask_unkept", reason=unkept))
    name = f"{e.customer_id if mask is None else mask(e.customer_id)}-{e.task}"
    with st.container(horizontal=True):
        for kind, mime in MIME.items():
            ui.download_button(
                t("why.report" if kind == "html" else "report.pdf"),
                partial(issued, frame.run, e, kind, lang, access.person(), show),
                f"{name}.{kind}",
                mime,
                icon=ICONS[kind],
                on_click="ignore",
                key=f"{key}-{kind}",
            )
        ui.download_button(
            t("why.save"),
            partial(noted, frame.run, e, lang, access.person(), show),
            f"{name}.json",
            "application/json",
            icon=":material/download:",
            on_click="ignore",
            key=f"{key}-json",
        )
    ui.caption(t("report.not_recorded" if read_only() else "report.recorded"))


def issued(run: Run, e: Explanation, kind: Format, lang: Language, by: Person, show_ids: bool) -> bytes:
    """The file, once its line stands in the record. An app that may not write keeps no record."""
    return _desk(run, lang, by, show_ids).issue(e, [kind]).files[kind]


def noted(run: Run, e: Explanation, lang: Language, by: Person, show_ids: bool) -> bytes:
    """The explanation as JSON, likewise."""
    desk = _desk(run, lang, by, show_ids)
    return desk.note("json", e, json.dumps(plain(masked(e, desk.mask).to_dict()), ensure_ascii=False, indent=1).encode())


def _desk(run: Run, lang: Language, by: Person, show_ids: bool) -> Desk:
    return Desk.of(run, lang, by=by, show_ids=show_ids, recorded=not read_only(), masks=_masks(run)[0])
