"""What lies in the folders of runs: runs, studies and their trials, encoders, datasets and their baselines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from analysis.fingerprint import data_mark, files_mark
from analysis.fingerprint import fingerprint as analysis_fingerprint
from analysis.opening import opened_dataset
from dashboard.server import ROOT, RUNS_VARIABLE
from ple_model.baseline_folder import StoredBaselines, stored
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.errors import UserError
from ple_model.run import Run, RunEntry, list_runs, load_run
from ple_model.run_kind import ENCODER, kind_of
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.tuning.report import StudyReport, report

if TYPE_CHECKING:
    pass


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
    return _dataset_manifest(str(path), file_mark(path / "dataset.json"))


@st.cache_data(max_entries=64, show_spinner=False)
def _baselines(path: str, mark: str) -> StoredBaselines | None:
    try:
        return stored(Path(path), DatasetManifest.load(Path(path)))
    except (UserError, OSError):
        return None


def baselines(path: Path) -> StoredBaselines | None:
    """What simple answers reach on a dataset, where it was measured."""
    return _baselines(str(path), file_mark(path / "dataset.json") + file_mark(path / "baselines" / "baselines.json"))


def file_mark(file: Path) -> str:
    """Size and time of a file; empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns};"


Data = tuple[str, str]
"""A dataset's folder and mark; both empty for the run's own sample."""


def data_key(data: Path | None) -> Data:
    return ("" if data is None else str(data), data_mark(data))


def data_folder(data: Data) -> Path | None:
    return Path(data[0]) if data[0] else None


@st.cache_data(max_entries=64, show_spinner=False)
def _analysis_name(path: str, mark: str, data: Data) -> str:
    opened = run(Path(path))
    return analysis_fingerprint(opened, opened_dataset(opened, data_folder(data)), None, 0).name


def analysis_name(path: Path, data: Path | None = None) -> str:
    """The folder that a measurement of the whole run on a dataset (None: its own sample) is kept in. `UserError` for a run
    without weights or sample."""
    return _analysis_name(str(path), files_mark(path), data_key(data))


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
def opened_encoder(path: str, mark: str) -> EncoderRun:
    return load_encoder(path)


def encoder(path: Path) -> EncoderRun:
    """The encoder run at `path`; `UserError` if it cannot be read."""
    return opened_encoder(str(path), file_mark(path / "manifest.json") + file_mark(path / "encoder.safetensors"))
