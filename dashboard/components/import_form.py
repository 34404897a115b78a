"""Files of one's own, step by step: a source, its map, the rows as they will be read, the import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import access, places, ui
from dashboard.components import put
from dashboard.components.answer import answer
from dashboard.components.bank_form import start
from dashboard.components.dataset_name import events_of, new_name
from dashboard.components.figure import table
from dashboard.components.left_out import left_out
from dashboard.components.map_form import map_form
from dashboard.components.source_form import source_form
from dashboard.data_job_card import shell
from dashboard.data_jobs import Making
from dashboard.i18n import t
from dashboard.i18n.sentences import say
from ple_model.data.importers.check_values import KINDS
from ple_model.data.importers.scan_source import FILE, ROW
from ple_model.data.importers.source_map import load_map
from ple_model.errors import UserError

SHOWN = 12


def import_form() -> None:
    source = source_form()
    if source is None:
        ui.info(t("import.nothing"), icon=":material/upload_file:")
        return
    path = places.map_of(source)
    guess = ("import", "map", str(source), str(path))
    if not path.exists() and answer(guess, places.mark_of(source), t("import.guessing"), "map") is None:
        return
    try:
        mapping = load_map(path)
    except UserError as e:
        ui.error(t("import.bad_map"), icon=":material/error:")
        st.text(str(e))
        _guess_anew(path)
        return
    if (named := places.named_outside(mapping, source)) is not None:
        ui.error(t("import.outside", path=named), icon=":material/error:")
        _guess_anew(path)
        return
    words = ("preview", str(source), "--map", str(path))
    found = answer(words, places.mark_of(source) + places.mark_of(path), t("import.reading"), "preview")
    if found is None:
        _guess_anew(path)
        return
    _said(found)
    left_out(found, mapping, path)
    map_form(source, path, mapping, found["looks"], {c["name"]: c for c in found["columns"]})
    _guess_anew(path)
    _rows(found)
    _start(source, path, found)


def _guess_anew(path: Path) -> None:
    ui.button(
        t("import.anew"), key="guess-anew", icon=":material/restart_alt:", type="tertiary", help=t("import.anew_help"),
        on_click=_forget, args=(path,),
    )  # fmt: skip


def _forget(path: Path) -> None:
    """Guess the map again (a callback)."""
    access.require()
    path.unlink(missing_ok=True)


def _said(found: dict[str, Any]) -> None:
    """In one line what the source is; then what keeps it from being imported, all of it."""
    first, last = found["span"]
    span = t("import.span", first=first, last=last) if first else t("import.no_span")
    size = t("import.is", rows=f"{found['rows']:,}", columns=len(found["looks"]))
    ui.markdown(f"**{size}** {span}")
    wrong = [*(t("import.open", place=place) for place in found["open"]), *found["problems"]]
    if wrong:
        ui.warning(t("import.refused", n=len(wrong)), icon=":material/rule:")
        st.text("\n".join(f"• {say(w)}" for w in wrong[:SHOWN]))  # plain: the words may come from a file
    if not found["open"] and first and not found["cutoffs"]:
        ui.warning(t("import.too_short"), icon=":material/date_range:")


def _rows(found: dict[str, Any]) -> None:
    heads = {FILE: t("import.file"), ROW: t("import.row")}
    if found["first"]:
        kinds = {c["name"]: c["kind"] for c in found["columns"]}
        rows = pd.DataFrame(found["first"]).rename(columns=heads)
        table(
            rows, "preview", title=t("import.preview"), caption=t("import.preview_help"), customers=True, height="content",
            column_config={
                name: st.column_config.TextColumn(f"{name}", help=say(KINDS.get(kind, kind.lower())))
                for name, kind in kinds.items()
            },
        )  # fmt: skip
    for note in found["notes"]:
        ui.caption(say(note))


def _start(source: Path, path: Path, found: dict[str, Any]) -> None:
    with st.container(border=True):
        field = f"import_name-{path.stem}"
        name, wrong = new_name(source.name.split(".")[0], field)
        if not wrong and events_of(name).exists():
            wrong = t("datasets.exists", name=name)
            ui.caption(f":red[{wrong}]")
    ready = not wrong and not found["problems"] and not found["open"]
    making = Making(("import",), events=events_of(name), source=source, mapping=path) if ready else None
    if making is None:
        ui.caption(t("train.preview"))
        put.code(shell(("import", "map", str(source), str(path))), language="bash", wrap_lines=True)
    start(making, "import", field)
