"""What kind of run a folder holds, as its manifest says: a model (which says nothing) or something trained beside one."""

from __future__ import annotations

from pathlib import Path

from ple_model.errors import UserError
from ple_model.files import read_json
from ple_model.safe_paths import is_file

MODEL, ENCODER = "model", "encoder"


def kind_of(path: Path) -> str:
    """`encoder`, or `model` for every other folder, damaged ones included."""
    try:
        raw = read_json(path / "manifest.json") if is_file(path / "manifest.json") else None
    except UserError:
        return MODEL
    return ENCODER if isinstance(raw, dict) and raw.get("kind") == ENCODER else MODEL
