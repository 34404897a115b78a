"""A new study: data, strategy, keys and budget; the command that it is, and the button that starts it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard import access, background, dataset_folders, places, state, ui
from dashboard.chosen_config import chosen
from dashboard.components import put
from dashboard.i18n import t
from dashboard.tune_jobs import Tuning, command
from ple_model.config import PRESETS, Config
from ple_model.errors import UserError
from ple_model.tuning.begin import LEAST_STAGED
from ple_model.tuning.dimension import Dimension
from ple_model.tuning.space import chosen_space, declared, first_keys

WAYS = ("staged", "tpe", "gp", "random", "grid")
"""The strategy of three stages, or one sampler for all trials."""
SHORT = 4
"""The first keys that a study searches over unless others are chosen: with a dozen trials more cannot be told apart."""


def folded_form() -> None:
    """The form below a study that is shown."""
    with ui.expander(t("tune.new"), icon=":material/add:", expanded=False):
        tune_form()


def tune_form() -> None:
    """The form; nothing is started before its own button."""
    if why := access.why_not():
        put.info(t(f"access.{why}"), icon=":material/lock:")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True):
        tuning, wrong = _asked()
    with right, st.container(border=True, gap="xsmall"):
        ui.markdown(f"**{t('tune.what_it_does')}**")
        ui.markdown(t(f"tune.way_{st.session_state.get('tune_way', 'staged')}_help"))
        ui.caption(t("tune.rows_help"))
    if tuning is None:
        ui.caption(wrong)
    else:
        ui.caption(t("train.preview"))
        put.code(shell(command(tuning)), language="bash", wrap_lines=True)
    if said := st.session_state.pop("tune_error", None):
        ui.error(said, icon=":material/error:")
    with st.container(horizontal=True, gap="small"):
        ui.button(
            t("tune.start"), type="primary", icon=":material/play_arrow:", key="tune-start", disabled=tuning is None,
            on_click=_start, args=(tuning, False),
        )  # fmt: skip
        ui.button(
            t("tune.find_rate"), icon=":material/speed:", key="tune-find", disabled=tuning is None, on_click=_start,
            args=(tuning, True), help=t("tune.find_rate_help"),
        )  # fmt: skip


def shell(words: tuple[str, ...]) -> str:
    """The command as a person types it."""
    return "ple " + shlex.join(words[3:])


def _asked() -> tuple[Tuning | None, str]:
    """(the study; None and why where something is missing or wrong)."""
    known = dataset_folders.datasets()
    one, two = st.columns(2)
    with one:
        dataset = ui.selectbox(
            t("train.data"), known, index=0 if known else None, key="tune_data", format_func=dataset_folders.short,
            placeholder=t("train.data_none"),
        )  # fmt: skip
        if not known:
            ui.button(t("datasets.open"), icon=":material/add:", key="tune-make-dataset", type="tertiary",
                      on_click=state.go_to, args=("datasets",))  # fmt: skip
        preset = ui.selectbox(
            t("train.preset"), PRESETS, index=PRESETS.index("small"), key="tune_preset", help=t("train.preset_help")
        )
    with two:
        st.session_state.setdefault("tune_name", _free_name())
        name = ui.text_input(t("tune.name"), key="tune_name", help=t("tune.name_help"))
        way = ui.selectbox(
            t("tune.way"), WAYS, key="tune_way", format_func=lambda w: t(f"tune.way_{w}"), help=t("tune.way_help")
        )
    settings = _lines("tune_set", t("train.set"), "training.phase1_epochs=4", t("tune.set_help"))
    try:
        config = chosen(preset, "", settings)
    except UserError as e:
        return None, str(e)
    keys, budget = _keys(config), _budget(config, way)
    if not dataset:
        return None, t("train.need_data")
    try:
        place = dataset_folders.place_of(dataset)
        if place is None:
            return None, t("train.not_dataset", path=dataset)
        if places.NAME.fullmatch(name or "") is None:
            return None, t("train.bad_name")
        study = state.folders()[-1].absolute() / name
        if (study / "study.json").exists() or (study / "manifest.json").exists():
            return None, t("tune.exists", name=name)
        chosen_space(config, keys, only=True)
        if way == "staged" and budget["trials"] < LEAST_STAGED:
            return None, t("tune.too_few", n=LEAST_STAGED)
        return Tuning(
            place, study, preset, tuple(settings), tuple(keys), True, sampler="tpe" if way == "staged" else way,
            strategy="staged" if way == "staged" else "plain", **budget,
        ), ""  # fmt: skip
    except UserError as e:
        return None, str(e)


def _lines(key: str, label: str, example: str, help: str) -> list[str]:
    text = ui.text_area(label, key=key, height=80, placeholder=example, help=help)
    return [line.strip() for line in str(text or "").splitlines() if line.strip()]


def _keys(config: Config) -> list[str]:
    """The chosen keys, with ranges of one's own where they were typed."""
    every = declared(config)
    first = [d.key for d in first_keys(config)]
    offered = [*first, *(k for k in every if k not in first)]
    picked = ui.multiselect(
        t("tune.keys"), offered, default=_default(config), key="tune_keys", help=t("tune.keys_help"),
        format_func=lambda k: _described(every[k]),
    )  # fmt: skip
    own = _lines("tune_ranges", t("tune.ranges"), "training.learning_rate=5e-4..5e-3:log", t("tune.ranges_help"))
    named = {item.partition("=")[0].strip() for item in own}
    return [*(k for k in picked if k not in named), *own]


def _default(config: Config) -> list[str]:
    wanted = ("training.learning_rate", "training.batch_size", "global.dropout", "global.expert_dropout")
    return [k for k in wanted if k in declared(config)][:SHORT]


def _described(one: Dimension) -> str:
    return f"{one.key}  ({one.range})"


def _budget(config: Config, way: str) -> dict[str, Any]:
    one, two, three, four = st.columns([4, 4, 6, 4])  # what counts is the longest
    with one:
        trials = ui.number_input(t("tune.trials"), 0, 1000, 12, key="tune_trials", help=t("tune.trials_help"))
    with two:
        minutes = ui.number_input(t("tune.minutes"), 0, 10_000, 0, step=10, key="tune_minutes", help=t("tune.minutes_help"))
    with three:
        objective = ui.selectbox(
            t("tune.objective"), ["mean", *config.tasks], key="tune_objective", help=t("tune.objective_help"),
            format_func=lambda task: t("tune.mean") if task == "mean" else task,
        )  # fmt: skip
    with four:
        folds = ui.number_input(t("tune.folds"), 0, 20, 0, key="tune_folds", help=t("tune.folds_help"))
    pruner = ui.segmented_control(
        t("tune.pruner"), ["median", "hyperband", "none"], default="median", required=True, key="tune_pruner",
        format_func=lambda p: t(f"tune.pruner_{p}"), help=t("tune.pruner_help"),
    )  # fmt: skip
    return {
        "trials": int(trials), "minutes": float(minutes), "objective": objective, "folds": int(folds),
        "pruner": pruner or "median",
    }  # fmt: skip


def _free_name() -> str:
    """The first `study-N` that is not there."""
    folder, n = state.folders()[-1], 1
    while (folder / f"study-{n}").exists():
        n += 1
    return f"study-{n}"


def _start(tuning: Tuning, only_rate: bool) -> None:
    """Start the job (a callback); what was typed stays where it cannot be."""
    try:
        access.require()
        background.tune_jobs().start(replace(tuning, find_rate=only_rate))
    except (UserError, OSError) as e:
        st.session_state["tune_error"] = str(e)
        return
    st.session_state["study"] = tuning.study.name
    if not only_rate:
        st.session_state.pop("tune_name", None)
