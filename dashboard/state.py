"""The only caching of the dashboard: runs and analyses by path and fingerprint, and the lock around a run's model.

A cached value is keyed by the size and time of the files it was read from, so a run that is trained again, or one that has just
finished, is read anew without any clearing.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import streamlit as st


from dashboard.jobs import JobStore
from dashboard.server import ROOT, RUNS_VARIABLE
from ple_model.errors import UserError
from ple_model.run import Run, RunEntry, list_runs, load_run

READ_FILES = ("manifest.json", "config.yaml", "model.safetensors", "metrics.json", "progress.jsonl")


def folders() -> tuple[Path, ...]:
    """The folders of runs this server shows; the last one takes new runs."""
    given = os.environ.get(RUNS_VARIABLE)
    if given:
        return tuple(Path(p) for p in given.split(os.pathsep) if p)
    return (ROOT / "sample_runs", Path.cwd() / "runs")


def jobs() -> JobStore:
    """The training jobs beside the newest folder of runs."""
    return JobStore(folders()[-1] / ".jobs")


@st.cache_data(ttl=3, max_entries=4, show_spinner=False)
def _entries(where: tuple[str, ...]) -> list[RunEntry]:
    found: dict[str, RunEntry] = {}
    for folder in map(Path, where):
        if folder.is_dir():
            for entry in list_runs(folder):
                name = entry.name if entry.name not in found else f"{folder.name}/{entry.name}"
                found[name] = RunEntry(entry.path, name, entry.manifest, entry.state, entry.error)
    return sorted(found.values(), key=lambda e: e.manifest.created if e.manifest else "", reverse=True)


def entries() -> list[RunEntry]:
    """Every run folder, the newest first; one that cannot be read carries its error. Names are unique."""
    return _entries(tuple(map(str, folders())))


def refresh_entries() -> None:
    """Look for runs again at once: a job has just ended."""
    _entries.clear()


def fingerprint(path: Path, names: tuple[str, ...] = READ_FILES) -> str:
    """Changes whenever one of the run's files does."""
    digest = hashlib.sha256(str(path).encode())
    for name in names:
        try:
            stat = (path / name).stat()
            digest.update(f"{name}:{stat.st_size}:{stat.st_mtime_ns}".encode())
        except OSError:
            digest.update(f"{name}:-".encode())
    return digest.hexdigest()[:16]


@st.cache_resource(max_entries=16, show_spinner=False)
def _run(path: str, mark: str) -> Run:
    return load_run(path)


def run(path: Path) -> Run:
    """The run at `path`; `UserError` if it cannot be read."""
    return _run(str(path), fingerprint(path))


@st.cache_resource(show_spinner=False)
def _locks() -> dict[str, threading.Lock]:
    return {}


def model_lock(path: Path) -> threading.Lock:
    """Held around every use of a run's model: interventions on a model shared by two sessions give wrong numbers."""
    return _locks().setdefault(str(path), threading.Lock())


def readable(path: Path) -> str | None:
    """Why the run at `path` cannot be read, in one sentence, or None."""
    try:
        run(path)
    except UserError as e:
        return str(e)
    return None
