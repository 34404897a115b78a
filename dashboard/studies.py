"""The studies at hand, and what a page does with their trials: open one, train with one."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import state, train_form
from ple_model.config import PRESETS, config_from_dict
from ple_model.tuning.record import TrialRecord, is_study, trial_name
from ple_model.tuning.report import StudyReport


def folders() -> dict[str, Path]:
    """By name, the folders that hold a study or a finder's curve, the one changed last first."""
    found: dict[str, Path] = {}
    for folder in state.folders():
        if folder.is_dir():
            for path in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
                if is_study(path) or (path / "finder.json").is_file():
                    found.setdefault(path.name, path)
    return dict(sorted(found.items(), key=lambda item: -_changed(item[1])))


def _changed(folder: Path) -> float:
    try:
        return max(p.stat().st_mtime for p in (folder / "results", folder / "study.json", folder / "finder.json") if p.exists())
    except (OSError, ValueError):
        return 0.0


def _mark(folder: Path) -> str:
    """Size and time of all that a report is read from."""
    files = [folder / n for n in ("study.json", "finder.json", "importance.json")]
    results = folder / "results"
    files += sorted(results.iterdir()) if results.is_dir() and not results.is_symlink() else []
    out = []
    for file in files:
        try:
            found = file.lstat()
            out.append(f"{file.name}:{found.st_size}:{found.st_mtime_ns}")
        except OSError:
            continue
    return ";".join(out)


def read(folder: Path) -> StudyReport | str:
    """A study as it stands, or why it cannot be read in one sentence."""
    return state.study(folder, _mark(folder))


def run_name(study: StudyReport, trial: TrialRecord) -> str | None:
    """What the run picker calls the trial's run; None where it has none that can be opened."""
    wanted = (study.folder / "trials" / trial_name(trial.number)).absolute()
    return next((e.name for e in state.entries() if e.path.absolute() == wanted and e.error is None), None)


def open_trial(name: str, page: str = "training") -> None:
    """Show a trial's run on another page (a callback)."""
    state.refresh_entries()
    st.session_state["run"] = name
    state.go_to(page)


def train_with(study: StudyReport, trial: TrialRecord) -> None:
    """Open the training form with a trial's configuration in it (a callback)."""
    spec = study.spec
    preset = spec.preset if spec.preset in PRESETS else "small"
    yaml = config_from_dict(spec.config).to_yaml() if spec.config_file else ""
    settings = [] if yaml else list(spec.settings)  # a configuration laid on the preset by a file holds them already
    train_form.fill(preset, [*settings, *trial.settings], spec.dataset, yaml)
    st.session_state["train_name"] = f"{study.folder.name}-{trial.number}"
