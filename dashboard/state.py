"""The caches of the dashboard: runs and what was computed of them, by path and fingerprint. What runs is in `background`.

A cached value is keyed by the size and time of the files it was read from, so a run that is trained again, or one that has just
finished, is read anew without any clearing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from analysis import AnalysisStore, CohortFilter, CustomerWhatIf, WhatIfResult, whatif, whatif_customer
from analysis.cohort import from_url, to_url
from analysis.compare import RunNumbers
from analysis.engine.effects import Engine
from analysis.engine.strengths import sweep
from analysis.explain.customer import explain
from analysis.explain.customer_edit import columns
from analysis.fingerprint import data_mark, files_mark
from analysis.fingerprint import fingerprint as analysis_fingerprint
from analysis.groups import GroupTable, group_table
from analysis.latents import latents
from analysis.opening import opened_dataset
from analysis.performance import performance
from analysis.replicates import profile
from analysis.results.explanation import Explanation
from analysis.results.latents import Latents
from analysis.results.sequences import CustomerSteps, LearnedMap, MovedAlike
from analysis.results.uncertainty import TaskUncertainty
from analysis.results.whatif import StrengthSweep
from analysis.review.id_file import ids_of
from analysis.sequences.alike import moved_alike as moved_alike_in
from analysis.sequences.customer import customer_steps
from analysis.sequences.learned import load as load_learned
from analysis.skill import skill
from analysis.stats.expert import ExpertStats
from analysis.stats.hmm import HmmStats
from analysis.stats.run import SplitPerformance
from analysis.stats.skill import TaskSkill
from analysis.uncertainty import uncertainty
from analysis.vectors import expert_statistics, hmm_statistics
from dashboard.model_lock import model_lock
from dashboard.server import ROOT, RUNS_VARIABLE
from ple_model.baseline_folder import StoredBaselines, stored
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.errors import UserError
from ple_model.run import Run, RunEntry, list_runs, load_run
from ple_model.run_kind import ENCODER, kind_of
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.tuning.report import StudyReport, report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analysis.explain.customer_edit import ColumnNow


GO_TO = "go_to"
"""Session key: the name of the page that a button asked for; the entry script goes there."""


ALONE = "page_alone"
"""Session key: whether the page that was drawn last is about no run."""


def go_to(name: str) -> None:
    """Open a page (a callback)."""
    st.session_state[GO_TO] = name


def folders() -> tuple[Path, ...]:
    """The folders of runs this server shows; the last one takes new runs."""
    given = os.environ.get(RUNS_VARIABLE)
    if given:
        return tuple(Path(p) for p in given.split(os.pathsep) if p)
    return (ROOT / "sample_runs", Path.cwd() / "runs")


@st.cache_data(ttl=3, max_entries=4, show_spinner=False)
def _entries(where: tuple[str, ...]) -> list[RunEntry]:
    found: dict[str, RunEntry] = {}
    tried: dict[str, RunEntry] = {}
    for folder in map(Path, where):
        if folder.is_dir():
            for entry in list_runs(folder):
                name = entry.name if entry.name not in found else f"{folder.name}/{entry.name}"
                found[name] = RunEntry(entry.path, name, entry.manifest, entry.state, entry.error)
            for entry in _trials(folder):
                tried.setdefault(entry.name, entry)
    runs = sorted(found.values(), key=lambda e: e.manifest.created if e.manifest else "", reverse=True)
    return [*runs, *(e for name, e in tried.items() if name not in found)]


def _trials(folder: Path) -> list[RunEntry]:
    """The runs of the studies in a folder of runs, called `study/trial-0001`; of cross-validation the last fold's."""
    out = []
    for study in sorted(p for p in folder.iterdir() if (p / "study.json").is_file() and not p.is_symlink()):
        trials = study / "trials"
        if trials.is_dir() and not trials.is_symlink():
            kept = sorted((e for e in list_runs(trials) if ".fold-" not in e.path.name), key=lambda e: e.path.name)
            out += [RunEntry(e.path, f"{study.name}/{e.path.name}", e.manifest, e.state, e.error) for e in kept]
    return out


def is_trial(entry: RunEntry) -> bool:
    """Whether a run is a trial of a study."""
    return entry.path.parent.name == "trials" and "/" in entry.name


@st.cache_resource(max_entries=16, show_spinner=False)
def _study(path: str, mark: str) -> StudyReport | str:
    try:
        return report(Path(path))
    except (UserError, OSError) as e:
        return str(e)


def study(path: Path, mark: str) -> StudyReport | str:
    """A study as it stands, or why it cannot be read; `mark` says of which files."""
    return _study(str(path), mark)


def entries() -> list[RunEntry]:
    """Every run folder, the newest first, then the trials of studies; one that cannot be read carries its error. Names are
    unique."""
    return _entries(tuple(map(str, folders())))


def refresh_entries() -> None:
    """Look for runs again at once: a job has just ended."""
    _entries.clear()
    _encoders.clear()


@st.cache_resource(max_entries=16, show_spinner=False)
def _run(path: str, mark: str) -> Run:
    return load_run(path)


def run(path: Path) -> Run:
    """The run at `path`; `UserError` if it cannot be read."""
    return _run(str(path), files_mark(path))


def readable(path: Path) -> str | None:
    """Why the run at `path` cannot be read, in one sentence, or None."""
    try:
        run(path)
    except UserError as e:
        return str(e)
    return None


@st.cache_data(max_entries=64, show_spinner=False)
def _dataset_manifest(path: str, mark: str) -> DatasetManifest | str:
    try:
        return DatasetManifest.load(Path(path))
    except (UserError, OSError) as e:
        return str(e)


def dataset_manifest(path: Path) -> DatasetManifest | str:
    """What a dataset folder says of itself, or why it cannot be read."""
    return _dataset_manifest(str(path), _mark(path / "dataset.json"))


@st.cache_data(max_entries=64, show_spinner=False)
def _baselines(path: str, mark: str) -> StoredBaselines | None:
    try:
        return stored(Path(path), DatasetManifest.load(Path(path)))
    except (UserError, OSError):
        return None


def baselines(path: Path) -> StoredBaselines | None:
    """What simple answers reach on a dataset, where it was measured."""
    return _baselines(str(path), _mark(path / "dataset.json") + _mark(path / "baselines" / "baselines.json"))


def _mark(file: Path) -> str:
    """Size and time of a file; empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns};"


Data = tuple[str, str]
"""A dataset's folder and mark; both empty for the run's own sample."""


def _data(data: Path | None) -> Data:
    return ("" if data is None else str(data), data_mark(data))


def _folder(data: Data) -> Path | None:
    return Path(data[0]) if data[0] else None


@st.cache_data(max_entries=64, show_spinner=False)
def _analysis_name(path: str, mark: str, data: Data) -> str:
    opened = run(Path(path))
    return analysis_fingerprint(opened, opened_dataset(opened, _folder(data)), None, 0).name


def analysis_name(path: Path, data: Path | None = None) -> str:
    """The folder that a measurement of the whole run on a dataset (None: its own sample) is kept in. `UserError` for a run
    without weights or sample."""
    return _analysis_name(str(path), files_mark(path), _data(data))


@st.cache_resource(max_entries=16, show_spinner=False)
def _cohort_experts(mark: str, cohort: str, _store: AnalysisStore) -> ExpertStats | None:
    return expert_statistics(_store, from_url(cohort))


def cohort_experts(store: AnalysisStore, filters: Sequence[CohortFilter]) -> ExpertStats | None:
    """The experts' statistics: of everyone as measured, of a cohort from the sampled vectors."""
    return _cohort_experts(store.mark, to_url(filters), store) if filters else store.statistics.experts


@st.cache_resource(max_entries=16, show_spinner=False)
def _cohort_hmm(mark: str, cohort: str, _store: AnalysisStore) -> HmmStats | None:
    return hmm_statistics(_store, from_url(cohort))


def cohort_hmm(store: AnalysisStore, filters: Sequence[CohortFilter]) -> HmmStats | None:
    """The HMM projections' statistics: of everyone as measured, of a cohort from the sampled vectors."""
    return _cohort_hmm(store.mark, to_url(filters), store) if filters else store.statistics.hmm


@st.cache_resource(max_entries=32, show_spinner=False)
def _compared(mark: str, area: str, cohort: str, _store: AnalysisStore) -> RunNumbers:
    return profile(_store, area, from_url(cohort))


def compared(store: AnalysisStore, area: str, filters: Sequence[CohortFilter]) -> RunNumbers:
    """One run's numbers of a page, to be set beside another run's; `area` is a key of `PROFILES`."""
    return _compared(store.mark, area, to_url(filters), store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _group_rates(
    mark: str, task: str, kind: str, target: int | None, by: str, cohort: str, _store: AnalysisStore
) -> GroupTable:
    return group_table(_store, task, kind, target, by, from_url(cohort))


def group_rates(
    store: AnalysisStore, task: str, kind: str, target: int | None, by: str, filters: Sequence[CohortFilter]
) -> GroupTable:
    """How often each group of a cohort is recommended something, and how well it is predicted."""
    return _group_rates(store.mark, task, kind, target, by, to_url(filters), store)


@st.cache_data(max_entries=2, show_spinner=False, scope="session")
def listed_ids(name: str, data: bytes) -> tuple[str, ...]:
    """Ids in a file of the reader's own, which stays in this session. `UserError` for a file without any."""
    return ids_of(name, data)


@st.cache_resource(max_entries=8, show_spinner=False)
def _latest_rows(mark: str, _store: AnalysisStore) -> NDArray[np.int64]:
    return _store.latest()


def latest_rows(store: AnalysisStore) -> NDArray[np.int64]:
    """Numbers of the rows that are their customer's latest: the ones that are explained."""
    return _latest_rows(store.mark, store)


@st.cache_data(max_entries=64, show_spinner=False)
def _whatif(path: str, mark: str, data: Data, arguments: tuple[str, ...]) -> WhatIfResult:
    with model_lock(Path(path)):
        return whatif(run(Path(path)), arguments, dataset=_folder(data))


def what_if(path: Path, arguments: tuple[str, ...], data: Path | None = None) -> WhatIfResult:
    """Before and after of one intervention, given as arguments of `ple whatif`. `UserError` if it names something unknown."""
    return _whatif(str(path), files_mark(path), _data(data), arguments)


@st.cache_resource(max_entries=64, show_spinner=False)
def _explanation(path: str, mark: str, data: Data, customer: str, task: str) -> Explanation:
    with model_lock(Path(path)):
        return explain(run(Path(path)), customer, task, dataset=_folder(data))


def explanation(path: Path, customer: str, task: str, data: Path | None = None) -> Explanation:
    """Why this run predicts what it predicts for one customer. `UserError` for an unknown customer or task."""
    return _explanation(str(path), files_mark(path), _data(data), customer, task)


@st.cache_resource(max_entries=64, show_spinner=False)
def _customer_columns(path: str, mark: str, data: Data, customer: str, names: tuple[str, ...]) -> tuple[ColumnNow, ...]:
    return columns(run(Path(path)), customer, names, dataset=_folder(data))


def customer_columns(path: Path, customer: str, names: tuple[str, ...], data: Path | None = None) -> tuple[ColumnNow, ...]:
    """What these columns of a customer are, and where they stand among the training customers."""
    return _customer_columns(str(path), files_mark(path), _data(data), customer, names)


@st.cache_data(max_entries=64, show_spinner=False)
def _customer_what_if(
    path: str, mark: str, data: Data, customer: str, task: str, target: int | None, arguments: tuple[str, ...]
) -> CustomerWhatIf:
    with model_lock(Path(path)):
        return whatif_customer(run(Path(path)), customer, arguments, task, dataset=_folder(data), target=target)


def customer_what_if(
    path: Path, customer: str, task: str, target: int | None, arguments: tuple[str, ...], data: Path | None = None
) -> CustomerWhatIf:
    """One customer's predictions before and after. `UserError` if anything named is unknown."""
    return _customer_what_if(str(path), files_mark(path), _data(data), customer, task, target, arguments)


@st.cache_data(max_entries=64, show_spinner=False)
def _strength_sweep(path: str, mark: str, data: Data, edge: str) -> StrengthSweep:
    with model_lock(Path(path)):
        return sweep(Engine.cached(run(Path(path)), dataset=_folder(data)), edge)


def strength_sweep(path: Path, edge: str, data: Path | None = None) -> StrengthSweep:
    """What an edge's target does while the edge's strength goes from nothing to twice the configured one."""
    return _strength_sweep(str(path), files_mark(path), _data(data), edge)


@st.cache_resource(max_entries=64, show_spinner=False)
def _uncertainty(mark: str, task: str, cohort: str, _store: AnalysisStore) -> TaskUncertainty:
    return uncertainty(_store, task, from_url(cohort))


def task_uncertainty(store: AnalysisStore, task: str, filters: Sequence[CohortFilter]) -> TaskUncertainty:
    """The uncertainty of one task in one cohort."""
    return _uncertainty(store.mark, task, to_url(filters), store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _split_performance(mark: str, split: str, cohort: str, _store: AnalysisStore) -> SplitPerformance:
    return performance(_store, split, from_url(cohort))


def split_performance(store: AnalysisStore, split: str, filters: Sequence[CohortFilter]) -> SplitPerformance:
    """How well the run predicts on one split of one cohort, as it was measured here."""
    return _split_performance(store.mark, split, to_url(filters), store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _split_skill(mark: str, split: str, cohort: str, _store: AnalysisStore) -> dict[str, TaskSkill]:
    return skill(_store, split, from_url(cohort))


def split_skill(store: AnalysisStore, split: str, filters: Sequence[CohortFilter]) -> dict[str, TaskSkill]:
    """How good the run is on one split of one cohort, by task, beside a constant and simpler models."""
    return _split_skill(store.mark, split, to_url(filters), store)


@st.cache_resource(max_entries=4, show_spinner=False)
def _latents(path: str, mark: str, data: Data) -> Latents:
    with model_lock(Path(path)):
        return latents(run(Path(path)), _folder(data))


def dictionary(path: Path, data: Path | None = None) -> Latents:
    """Every latent of the run's autoencoder, read back where it is stored. `UserError` for a run without one."""
    return _latents(str(path), files_mark(path), _data(data))


@st.cache_data(ttl=3, max_entries=4, show_spinner=False)
def _encoders(where: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (f for f in map(Path, where) if f.is_dir()):
        for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")):
            if kind_of(path) == ENCODER:
                found[path.name if path.name not in found else f"{folder.name}/{path.name}"] = path
    return found


def encoders() -> dict[str, Path]:
    """Every encoder run in the folders of runs, by a name of its own."""
    return _encoders(tuple(map(str, folders())))


@st.cache_resource(max_entries=8, show_spinner=False)
def _encoder(path: str, mark: str) -> EncoderRun:
    return load_encoder(path)


def encoder(path: Path) -> EncoderRun:
    """The encoder run at `path`; `UserError` if it cannot be read."""
    return _encoder(str(path), _mark(path / "manifest.json") + _mark(path / "encoder.safetensors"))


@st.cache_resource(max_entries=8, show_spinner=False)
def _learned(file: str, mark: str) -> LearnedMap | None:
    return load_learned(Path(file))


def learned(file: Path) -> LearnedMap | None:
    """What was worked out of an encoder and a run's customers before, if it was."""
    return _learned(str(file), _mark(file))


@st.cache_resource(max_entries=64, show_spinner=False)
def _steps(encoder: str, encoder_mark: str, path: str, mark: str, data: Data, customer: str) -> CustomerSteps:
    opened = _encoder(encoder, encoder_mark)
    with model_lock(Path(encoder)):
        return customer_steps(opened, run(Path(path)), customer, dataset=_folder(data))


def steps_of(encoder: Path, path: Path, customer: str, data: Path | None = None) -> CustomerSteps:
    """One customer's series as an encoder sees it. `UserError` for an unknown customer or data without the sequence."""
    mark = _mark(encoder / "manifest.json") + _mark(encoder / "encoder.safetensors")
    return _steps(str(encoder), mark, str(path), files_mark(path), _data(data), customer)


@st.cache_resource(max_entries=64, show_spinner=False)
def _moved_alike(mark: str, row: int, _learned: LearnedMap, _customers: dict[int, str]) -> MovedAlike:
    return moved_alike_in(_learned, row, _customers)


def moved_alike(file: Path, learned: LearnedMap, row: int, customers: dict[int, str]) -> MovedAlike:
    """The customers of a map who moved most like the one at a row of its dataset; `customers` by row."""
    return _moved_alike(str(file) + _mark(file), row, learned, customers)
