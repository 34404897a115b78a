"""Datasets that a training may use: those near the runs and in the allowed folders, and no other."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from dashboard import places, state
from ple_model.arguments import folder_in
from ple_model.errors import UserError
from ple_model.run import RunEntry


def datasets() -> list[str]:
    """Dataset folders near the runs: in or beside the folders of runs, in `data` beside them, and the runs' own samples."""
    found: dict[str, None] = {}
    for folder in state.folders():
        for place in (folder.parent / "data", folder.parent / "datasets", folder.parent, folder):
            found |= _below(place)
    for place in places.allowed():
        found |= _below(place)
    samples = [str(e.path / "sample") for e in state.entries() if _has_sample(e)]
    return [*found, *samples]


def _has_sample(entry: RunEntry) -> bool:
    return not state.is_trial(entry) and (entry.path / "sample" / "dataset.json").exists()


def _below(place: Path) -> dict[str, None]:
    return {str(path.parent): None for path in sorted(place.glob("*/dataset.json"))} if place.is_dir() else {}


def short(path: str) -> str:
    """A dataset as selectors call it."""
    p = Path(path)
    return f"{p.parent.name} / {p.name}" if p.name == "sample" else p.name or path


def place_of(typed: str) -> Path | None:
    """Where a dataset is that is listed, or lies in an allowed folder; a typed path is no way to any other."""
    if typed in datasets():
        return Path(typed).absolute()
    try:
        return places.inside(typed)
    except UserError:
        return None


def is_dataset(typed: str) -> bool:
    try:
        return (folder_in(typed) / "dataset.json").exists()
    except (ArgumentTypeError, OSError):  # text that is no path: a null byte, 5,000 characters
        return False
