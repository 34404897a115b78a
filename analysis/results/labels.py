"""The labels that people gave to latents, kept beside a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.safe_paths import is_file, make_folder
from ple_model.stored import Stored

if TYPE_CHECKING:
    from ple_model.run import Run

LABEL_CHARACTERS = 200


def _labels_path(run: Run | Path | str) -> Path:
    return (Path(run) if isinstance(run, str | Path) else run.path) / "analysis" / "latent_labels.json"


def load_labels(run: Run | Path | str) -> dict[int, str]:
    """The labels people gave to latents of this run."""
    path = _labels_path(run)
    if not is_file(path):
        return {}
    try:
        found = Stored.of(path, read_json(path))
        return {int(k): found.text(k, LABEL_CHARACTERS) for k in found.values}
    except ValueError as e:
        raise UserError(f"{path} is damaged: a latent is named by its number") from e


def save_label(run: Run | Path | str, latent: int, text: str) -> dict[int, str]:
    """Keep a label (an empty one removes it) and return all."""
    labels = load_labels(run)
    labels.pop(latent, None)
    if text.strip():
        labels[latent] = text.strip()[:LABEL_CHARACTERS]
    path = _labels_path(run)
    make_folder(path.parent)
    write_json(path, {str(k): labels[k] for k in sorted(labels)})
    return labels
