"""What runs beside the pages, for all sessions of the server: trainings, measurements in threads, maps in processes.

Nothing here is a cache: `_measurements`, `_drawings`, `_encodings`, `_countings`, `_fittings` and `_askings` list the work that
was asked for, so that any tab can follow and stop it.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from pathlib import Path

import streamlit as st

from analysis.fingerprint import data_mark, files_mark
from dashboard import access, state
from dashboard.data_jobs import DataStore
from dashboard.jobs import JobStore, jobs_root
from dashboard.running import Asking, CarriedCounting, CarriedWanted, Drawing, Fitting, Measuring, Wanted
from dashboard.server import ROOT, read_only
from dashboard.tune_jobs import TuneStore
from ple_model.baseline_folder import why_not
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.errors import UserError


def jobs() -> JobStore:
    """The training jobs of the folder that takes new runs."""
    return JobStore(jobs_root(state.folders()[-1]))


def data_jobs() -> DataStore:
    """The jobs that make data for that folder."""
    return DataStore(jobs_root(state.folders()[-1]))


def tune_jobs() -> TuneStore:
    """The studies of that folder."""
    return TuneStore(jobs_root(state.folders()[-1]))


def stores() -> tuple[JobStore, DataStore, TuneStore]:
    """All that may have the machine."""
    return jobs(), data_jobs(), tune_jobs()


@st.cache_resource(show_spinner=False)
def _measurements() -> dict[str, Measuring]:
    return {}


@st.cache_resource(show_spinner=False)
def model_side() -> threading.Thread:
    """Import what asks the model, once a server, while the first reader looks at a page of numbers that did without it."""
    names = ("ple_model.model", "analysis.engine.explainer", "analysis.record")
    thread = threading.Thread(target=lambda: [importlib.import_module(n) for n in names], name="the model's side", daemon=True)
    thread.start()
    return thread


READ_SECONDS = 20.0
"""A stored measurement is waited for: on a busy machine reading it takes seconds, and no page should say that it measures."""


def _mark(path: Path, data: Path | None) -> str:
    return files_mark(path) + data_mark(data)


def measurement(path: Path, data: Path | None = None) -> Measuring:
    """The measurement of the run as it is on disk now, on a dataset or its own sample; started if there is none. Stored results
    come back at once."""
    mark = _mark(path, data)
    known = _measurements()
    done = known[mark].result if mark in known else None
    if mark not in known or (done is not None and done.store.replaced):
        for old in [k for k, m in known.items() if (m.path, m.data) == (path, data) and not m.alive]:
            del known[old]
        task = known[mark] = Measuring(path, data)
        task.thread = threading.Thread(target=task.work, name=f"measure {path.name}", daemon=True)
        task.thread.start()
        task.thread.join(READ_SECONDS if _is_stored(path, data) else 0.7)  # what is stored needs no progress bar
    return known[mark]


def known_measurement(path: Path, data: Path | None = None) -> Measuring | None:
    """The run's measurement if it is stored, was asked for or is on its way; nothing is started."""
    return measurement(path, data) if _mark(path, data) in _measurements() or _is_stored(path, data) else None


def _is_stored(path: Path, data: Path | None) -> bool:
    """Whether a measurement of the run as it is can be read back. A run without weights or sample has none; asking to measure
    it says why."""
    try:
        return (path / "analysis" / state.analysis_name(path, data) / "meta.json").exists()
    except UserError:
        return False


def measure_again(path: Path, data: Path | None = None) -> None:
    """Forget a measurement that failed or was stopped."""
    _measurements().pop(_mark(path, data), None)


@st.cache_resource(show_spinner=False)
def _drawings() -> dict[tuple[str, int], Drawing]:
    return {}


def drawing(folder: Path, seed: int) -> Drawing | None:
    """The map of this analysis that was asked for last, if any."""
    return _drawings().get((str(folder), seed))


def draw(folder: Path, seed: int) -> None:
    """Start to draw the map of an analysis (a callback); nothing if it is being drawn already."""
    known = drawing(folder, seed)
    if known is not None and known.alive:
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis.embedding", str(folder), str(seed)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    task = _drawings()[str(folder), seed] = Drawing(process)
    threading.Thread(target=task.follow, name=f"map {folder.name}", daemon=True).start()


@st.cache_resource(show_spinner=False)
def _encodings() -> dict[Wanted, Drawing]:
    return {}


def encoding(wanted: Wanted) -> Drawing | None:
    """What an encoder says of a run's customers, as it was asked for last, if it was."""
    return _encodings().get(wanted)


def encode(wanted: Wanted) -> None:
    """Start to work it out (a callback); nothing if that is being done already, or where nothing may be written."""
    known = encoding(wanted)
    if read_only() or (known is not None and known.alive):
        return
    data = "" if wanted.data is None else str(wanted.data)
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis.sequences.learned", str(wanted.encoder), str(wanted.run), data],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    task = _encodings()[wanted] = Drawing(process)
    threading.Thread(target=task.follow, name=f"encode {wanted.encoder.name}", daemon=True).start()


MOST_COUNTS = 32


@st.cache_resource(show_spinner=False)
def _countings() -> dict[CarriedWanted, CarriedCounting]:
    return {}


def counting(wanted: CarriedWanted) -> CarriedCounting | None:
    """The count of reasons that was asked for last, if it was."""
    return _countings().get(wanted)


def another_counting(wanted: CarriedWanted) -> CarriedCounting | None:
    """Another count that is under way: one at a time, since each may have the machine for minutes."""
    return next((c for w, c in _countings().items() if w != wanted and c.alive), None)


def count_reasons(wanted: CarriedWanted) -> None:
    """Start to count (a callback); nothing if a count is under way. It writes nothing, so that anybody may ask."""
    known = _countings()
    if any(c.alive for c in known.values()):
        return
    for old in list(known)[:-MOST_COUNTS]:
        del known[old]
    known.pop(wanted, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis.explain.carried", *wanted.words],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    task = known[wanted] = CarriedCounting(process)
    task.thread = threading.Thread(target=task.follow, name=f"reasons {wanted.run.name}", daemon=True)
    task.thread.start()


@st.cache_resource(show_spinner=False)
def _fittings() -> dict[str, Fitting]:
    return {}


def fitting(path: Path) -> Fitting | None:
    """The baselines of this run that were asked for last, if any were since the server started."""
    return _fittings().get(str(path))


def fit_baselines(path: Path) -> None:
    """Start to measure a run's baselines (a callback); nothing if they are being measured already. When they are there, the
    run's own measurement is of other files than before, and is made anew."""
    access.require()
    known = fitting(path)
    if known is not None and known.alive:
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "ple_model", "baselines", str(path)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    task = _fittings()[str(path)] = Fitting(process)
    threading.Thread(target=task.follow, name=f"baselines {path.name}", daemon=True).start()


def no_baselines(path: Path) -> str:
    """Why the customers stored with a run have no baselines beside their predictions; empty where they have."""
    folder = path / "sample"
    try:
        return why_not(folder, DatasetManifest.load(folder))
    except UserError as e:
        return str(e)


MOST_ANSWERS = 64


@st.cache_resource(show_spinner=False)
def _askings() -> dict[tuple[tuple[str, ...], str], Asking]:
    return {}


def ask(words: tuple[str, ...], mark: str) -> Asking:
    """The answer of `ple WORDS --json`, asked once for what `mark` says of the files that it reads."""
    known = _askings()
    found = known.get((words, mark))
    if found is None:
        access.require()
        for old in [k for k, a in known.items() if not a.alive][:-MOST_ANSWERS]:
            del known[old]
        process = subprocess.Popen(
            [sys.executable, "-m", "ple_model", *words, "--json"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        found = known[words, mark] = Asking(process)
        found.thread = threading.Thread(target=found.follow, name=f"ple {words[0]}", daemon=True)
        found.thread.start()
    return found


def ask_again(words: tuple[str, ...], mark: str) -> None:
    """Forget an answer that failed or was stopped (a callback)."""
    _askings().pop((words, mark), None)
