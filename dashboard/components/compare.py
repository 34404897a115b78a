"""The compared run on a page: only what differs, the largest first, with both values, the interval and both n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from analysis import AnalysisStore
from analysis.compare import Comparison, Difference, compare, config_changes, training_profile
from analysis.figures import compare as figures
from analysis.figures.style import learned_first
from analysis.replicates import gaps
from analysis.stats.base import MIN_ROWS
from analysis.stats.training import TrainingStats
from dashboard import background, state, ui
from dashboard.components import learned, put
from dashboard.components.cards import ICONS
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import maybe, t
from ple_model.run import Run

MEASURES: dict[str, dict[str, str]] = {
    "experts": {
        "fallback": "experts.fallback", "weight": "experts.weight", "norm": "experts.norm", "rank": "experts.rank",
        "zero": "experts.zero", "dead": "experts.dead",
    },
    "gates": {"weight": "experts.weight", "effective": "compare.effective"},
    "hmm": {"rate": "hmm.rate", "real_norm": "hmm.real_norm", "cosine": "hmm.cosine", "spread": "hmm.spread"},
    "transfer": {"strength": "transfer.strength", "change": "transfer.change", "flips": "transfer.flips"},
    "predictions": {"squared": "compare.squared", "wrong": "compare.wrong", "absolute": "compare.absolute"},
    "uncertainty": {"vacuity": "compare.vacuity", "variance": "compare.variance"},
    "training": {
        "epochs": "training.epochs", "best_epoch": "compare.best_epoch", "best_loss": "training.best",
        "task_loss": "compare.task_loss", "speed": "training.speed", "epoch_time": "compare.epoch_time",
        "memory": "training.memory", "gradient": "compare.gradient",
    },
}  # fmt: skip
"""Measures of each page, in the order of their panels, as the page itself calls them."""
SUBJECTS = {
    "experts": "experts.expert", "gates": "gates.task", "hmm": "hmm.mode", "transfer": "transfer.edge",
    "predictions": "overview.task", "uncertainty": "uncertainty.task", "training": "compare.subject",
}  # fmt: skip
OF_TASKS = ("gates", "transfer", "predictions", "uncertainty")
"""Areas whose subjects are tasks, or edges between them."""
ROWS_IN_FULL = 12
"""A table of at most so many rows is shown in full height."""


def names(run: Run, other: Run) -> tuple[str, str]:
    """What the two runs are called here; runs of one name are told apart by their folders."""
    return (run.name, other.name) if run.name != other.name else tuple(f"{r.path.parent.name}/{r.name}" for r in (run, other))  # type: ignore[return-value]


def section(frame: Frame, area: str) -> None:
    """What differs between the run and the compared one in this page's subject; nothing while none is chosen."""
    if frame.other is None:
        return
    called = names(frame.run, frame.other)
    put.subheader(t("compare.title", other=called[1]), anchor="compare")
    _compared(frame, frame.other, area, called)
    put.subheader(t("compare.itself", run=called[0]), anchor=False)


def predictions(frame: Frame) -> None:
    """Which of the two runs predicts better, for the overview, which says itself what else changed."""
    if frame.other is not None:
        put.subheader(t("compare.predictions"), anchor="compare")
        _compared(frame, frame.other, "predictions", names(frame.run, frame.other))


def _compared(frame: Frame, run: Run, area: str, called: tuple[str, str]) -> None:
    if frame.other_diagnosis is None:
        offer(run, frame.data)
        return
    other = frame.other_diagnosis.store
    if not _cohort_fits(frame, other, called[1]):
        return
    silent = learned.unlearned_of(frame.run, run) if area in OF_TASKS else ()
    mine, theirs = (state.compared(store, area, frame.filters) for store in (frame.store, other))
    found = compare(mine, theirs, unlearned=silent)
    if not found.enough:
        put.info(t("compare.few", **_n(found, called), minimum=MIN_ROWS), icon=ICONS["unknown"])
        return
    _said(found, called)
    if area == "predictions" or set(silent) - set(learned.unlearned(frame.run)):  # else the page itself says so
        learned.note(frame.run, run)
    if frame.store.meta["data"]["fingerprint"] != other.meta["data"]["fingerprint"]:
        put.caption(t("compare.data"))
    if area == "gates":
        _gates(found, frame, other, called, silent)
    elif area != "predictions":  # its subjects have one measure each
        _pairs(found, area, called, silent)
    said = [t("compare.table_help", run=called[0], other=called[1])]
    if area == "transfer" and frame.filters:
        said.append(t("compare.measured_all"))
    if area == "predictions":
        said.insert(
            0, t("compare.judged_split", split=maybe(f"split.{other.meta['judged_split']}", other.meta["judged_split"]))
        )
    _table(found, area, called, " ".join(said), silent)


def offer(run: Run, data: Path | None) -> None:
    """The compared run is not measured on these customers: say so, and measure it here with progress."""
    task = background.known_measurement(run.path, data)
    if task is None:
        put.info(t("compare.not_measured", other=run.name), icon=":material/hourglass_empty:")
        ui.button(
            t("compare.measure"),
            key="measure-other",
            icon=":material/play_arrow:",
            on_click=_again,
            args=(run, data),
        )
        return
    if task.error is not None:
        if task.error:
            put.error(t("compare.no_analysis", other=run.name, reason=task.error), icon=ICONS["error"])
        else:
            put.info(t("compare.not_measured", other=run.name), icon=":material/hourglass_empty:")
        ui.button(t("compare.measure"), key="measure-other", icon=":material/play_arrow:", on_click=_again, args=(run, data))
        return

    @st.fragment(run_every=1.0)
    def poll() -> None:
        if task.result is not None or task.error is not None:
            st.rerun()
        with st.container(border=True):
            ui.markdown(t("compare.measuring", other=run.name))
            if task.why in ("program", "changed"):
                ui.caption(t(f"guard.anew_{task.why}"))
            ui.progress(min(max(task.share, 0.0), 1.0), text=task.what or " ")
            if ui.button(t("job.stop"), key="stop-other", icon=":material/stop:", disabled=task.stop):
                task.stop = True

    poll()


def _again(run: Run, data: Path | None) -> None:
    """Measure, also after a failure or a stop (a callback)."""
    background.measure_again(run.path, data)
    background.measurement(run.path, data)


def _cohort_fits(frame: Frame, other: AnalysisStore, name: str) -> bool:
    """Say what of the cohort filter the other run lacks; False where nothing is left to compare."""
    if not frame.filters:
        return True
    missing = gaps(other, frame.filters)
    for gap in missing:
        if gap.kind == "column":
            put.warning(t("compare.no_column", other=name, column=gap.column), icon=ICONS["warning"])
        else:
            column = maybe(f"frame.{gap.column}", gap.column.removeprefix("raw:"))
            put.warning(t("compare.no_values", other=name, column=column, values=", ".join(gap.values)), icon=ICONS["warning"])
    if any(gap.kind == "column" for gap in missing) or not other.count(frame.filters):
        return False
    columns = {f.column for f in frame.filters}
    assert frame.other is not None
    if "cluster" in columns and frame.run.manifest.data.fingerprint != frame.other.manifest.data.fingerprint:
        put.caption(t("compare.clusters"))
    if any(c.split(":")[0] in ("p", "c", "u") for c in columns):
        put.caption(t("compare.own_columns"))
    return True


def _n(found: Comparison, called: tuple[str, str]) -> dict[str, str]:
    return {"run": called[0], "other": called[1], "n": f"{found.n_a:,}", "n_other": f"{found.n_b:,}"}


def _said(found: Comparison, called: tuple[str, str]) -> None:
    """One sentence: how much differs; then what only one run has, what could not be judged, and how it was judged."""
    for name, mine in zip(called, ((found.only_a, found.parts_only_a), (found.only_b, found.parts_only_b)), strict=True):
        if alone := [x.replace(":", " → ") for xs in mine for x in xs]:
            put.info(t("compare.only", run=name, names=", ".join(alone)), icon=":material/difference:")
    if found.alike:
        put.success(t("compare.alike", judged=found.judged), icon=ICONS["ok"])
    elif found.rows:
        put.markdown(t("compare.differ", n=sum(r.verdict == "differs" for r in found.rows), judged=found.judged))
    if found.few:
        put.caption(t("compare.unjudged", minimum=MIN_ROWS, names=_unjudged(found.few)))
    put.caption(t("compare.noise", **_n(found, called)), help=t("compare.method", judged=found.judged))


def _unjudged(rows: Sequence[Difference]) -> str:
    """Subjects with a number that too few rows stand behind."""
    return ", ".join(dict.fromkeys(r.key.subject.replace(":", " → ") for r in rows))


def _labels(mine: Sequence[str], theirs: Sequence[str], only: Mapping[str, str]) -> dict[str, str]:
    """Every name of either run with its label, which says if one run alone has it."""
    return {x: t("compare.alone", name=x, run=only[x]) if x in only else x for x in dict.fromkeys((*mine, *theirs))}


def _pairs(found: Comparison, area: str, called: tuple[str, str], silent: Sequence[str]) -> None:
    measures = {m: t(key) for m, key in MEASURES[area].items()}
    drawn = figures.pairs(found, measures, {s: learned.named(s, silent) for s in found.subjects}, called)
    if drawn is not None:
        show(drawn, f"compare-{area}", title=t("compare.pairs"), caption=t("compare.pairs_help", **_n(found, called)))


def _gates(found: Comparison, frame: Frame, other: AnalysisStore, called: tuple[str, str], silent: Sequence[str]) -> None:
    if not found.shown and not (found.only_a or found.only_b or found.parts_only_a or found.parts_only_b):
        return
    ours, theirs = frame.statistics.facts, other.statistics.facts
    tasks = dict.fromkeys(found.only_a, called[0]) | dict.fromkeys(found.only_b, called[1])
    experts = dict.fromkeys(found.parts_only_a, called[0]) | dict.fromkeys(found.parts_only_b, called[1])
    left, right = st.columns([3, 2], gap="small")
    with left:
        labels = _labels(ours.tasks, theirs.tasks, tasks)
        drawn = figures.gates(found, labels, _labels(ours.experts, theirs.experts, experts))
        show(
            learned_first(drawn, [labels[s] for s in silent if s in labels], t("learned.why")),
            "compare-gates",
            title=t("compare.weights", run=called[0], other=called[1]),
            caption=t("compare.weights_help", **_n(found, called)),
        )
    pairs = figures.pairs(found, {"effective": ""}, {s: learned.named(s, silent) for s in found.subjects}, called)
    if pairs is not None:
        with right:
            show(
                pairs, "compare-effective", title=t("gates.effective"), caption=t("compare.effective_help", **_n(found, called))
            )


def _table(found: Comparison, area: str, called: tuple[str, str], caption: str, silent: Sequence[str]) -> None:
    rows = [_row(r, area, called, silent) for r in (*found.shown, *found.chance)]
    if not rows:
        return
    numbers: dict[str, Any] = {c: st.column_config.NumberColumn(format="%.4g") for c in _in(called)}
    numbers[t("compare.difference")] = st.column_config.NumberColumn(format="%+.4g")
    if area == "gates":  # beside seven other columns a name would be cut
        numbers[t("gates.expert")] = st.column_config.TextColumn(width=130)
    table(
        pd.DataFrame(rows),
        f"compare-{area}",
        title=t("compare.table", n=len(rows)),
        caption=caption,
        column_config=numbers,
        height="content" if len(rows) <= ROWS_IN_FULL else "auto",
    )


def _in(called: tuple[str, str]) -> tuple[str, str]:
    return t("compare.in", run=called[0]), t("compare.in", run=called[1])


def _row(r: Difference, area: str, called: tuple[str, str], silent: Sequence[str]) -> dict[str, Any]:
    """One difference as the table shows it; shares in percent. Digits that the difference has no use for are cut."""
    scale = 100.0 if r.unit == "share" else 1.0
    size = abs(r.difference) * scale
    digits = 4 - math.floor(math.log10(size)) if size > 0 else 4
    a, b, difference = (round(v * scale, digits) for v in (r.a, r.b, r.difference))
    row: dict[str, Any] = {t(SUBJECTS[area]): learned.named(r.key.subject, silent) or t("compare.whole")}
    if area == "gates":
        row[t("gates.expert")] = r.key.part or "–"
    first, second = _in(called)
    row |= {t("compare.measure_name"): t(MEASURES[area][r.key.measure]), first: a, second: b}
    row[t("compare.difference")] = difference
    if area != "training":
        row[t("compare.interval")] = r.span(scale) or "–"
    row[t("compare.unit_name")] = t(f"compare.unit.{r.unit}")
    if area != "training":
        row[t("compare.n")] = f"{r.n_a:,} / {r.n_b:,}"
    return row


def training(frame: Frame, stats: TrainingStats, other: TrainingStats | None) -> None:
    """Two trainings on one page: curves over each other, the numbers that differ, the configuration keys that do."""
    if frame.other is None or other is None:
        return
    called = names(frame.run, frame.other)
    put.subheader(t("compare.title", other=called[1]), anchor="compare")
    changes = config_changes(frame.run.config.to_dict(), frame.other.config.to_dict())
    if not len(other):
        put.info(t("compare.no_epochs", other=called[1]), icon=":material/hourglass_empty:")
    else:
        show(
            figures.trainings(stats, other, called),
            "compare-training",
            title=t("compare.curves"),
            caption=t("compare.curves_help", run=called[0], other=called[1], n=len(stats), n_other=len(other)),
        )
        silent = learned.unlearned_of(frame.run, frame.other)
        found = compare(training_profile(stats), training_profile(other), min_rows=1, unlearned=silent)
        if found.alike:
            put.success(t("compare.same_training", n=len(found.rows)), icon=ICONS["ok"])
        for name, alone in zip(called, (found.only_a, found.only_b), strict=True):
            if alone:
                put.info(t("compare.only", run=name, names=", ".join(alone)), icon=":material/difference:")
        if set(silent) - set(learned.unlearned(frame.run)):
            learned.note(frame.run, frame.other)
        _table(found, "training", called, t("compare.training_help"), silent)
    _config(changes, called)
    put.subheader(t("compare.itself", run=called[0]), anchor=False)


def _config(changes: Sequence[tuple[str, Any, Any]], called: tuple[str, str]) -> None:
    if not changes:
        put.success(t("compare.same_config"), icon=ICONS["ok"])
        return
    rows = [(k, written(a), written(b)) for k, a, b in changes]
    table(
        pd.DataFrame(rows, columns=[t("overview.key"), *_in(called)]),
        "compare-config",
        title=t("compare.config", n=len(rows)),
        caption=t("compare.config_help"),
        height="content",
    )


def written(value: Any) -> str:
    """A configuration value as the tables show it."""
    return t("compare.unset") if value is None else str(value)
