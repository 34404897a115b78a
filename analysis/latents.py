"""What each latent of the sparse autoencoder means: when it fires, for whom, what is raised there, what it moves.

`latents(run)` measures all latents in one pass over a bounded sample and stores the result beside the run; `Latents.page` is
one latent's page, from the stored arrays alone. No torch is imported until something is measured.
"""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.fingerprint import fingerprint
from analysis.opening import opened_dataset, opened_run
from analysis.results.latents import Latents
from analysis.results.progress import Progress
from ple_model.errors import UserError
from ple_model.parts_folder import parts_of, sweep_parts
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.safe_paths import is_file, make_folder, write_bytes
from ple_model.safe_text import read_object

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.engine import ShardEngine
    from ple_model.run import Run


def latents(
    run: Run | Path | str,
    dataset: Dataset | Path | str | None = None,
    *,
    rows: int = 4096,
    seed: int = 0,
    progress: Progress | None = None,
    force: bool = False,
    engine: ShardEngine | None = None,
) -> Latents:
    """All latents over up to `rows` rows of the run's sample (or `dataset`), read back where they are stored already. `engine`:
    the rows go through the experts in its processes; None: in this one.

    `UserError` for a run without an SAE.
    """
    opened = opened_run(run)
    if not opened.config.sae.enabled:
        raise UserError(f"{opened.name} has no sparse autoencoder: sae.enabled is false in its config")
    data = opened_dataset(opened, dataset)
    made_of = fingerprint(opened, data, rows, seed, __name__)
    folder = opened.path / "analysis" / f"latents-{made_of.name}"
    if not force and is_file(folder / "latents.json"):
        return replace(_load(folder), unlearned=_unlearned(opened), why="reused")
    why = "forced" if force else made_of.why(_older(folder.parent))
    make_folder(folder.parent)
    with _parts(folder, engine) as parts:
        measured = _measured(opened, data, rows, seed, progress, engine, parts)
        found = replace(measured, unlearned=_unlearned(opened), made_of=made_of.to_dict(), why=why)
        _save(found, folder)
        if parts is not None:
            shutil.rmtree(parts, ignore_errors=True)
    return found


def _parts(folder: Path, engine: ShardEngine | None) -> AbstractContextManager[Path | None]:
    """Where shards leave their rows; what was left of others that are not gone on with is swept."""
    if engine is None:
        sweep_parts(folder.parent, "latents-*")
        return nullcontext()
    return parts_of(folder, "another process measures the same", outdated="latents-*")


def _measured(
    run: Run, data: Dataset, rows: int, seed: int, progress: Progress | None, engine: ShardEngine | None, parts: Path | None
) -> Latents:
    from analysis.engine.concept_shards import read_shards  # late: torch
    from analysis.engine.concepts import measure, read_rows  # late: torch
    from analysis.engine.explainer import private  # late: torch

    if engine is not None and parts is not None:
        read = read_shards(run, data, data.drawn(rows, seed), parts, engine, progress)
    else:
        tick: Progress = progress if progress is not None else (lambda share, what: None)
        read = read_rows(private(run.model()), data, data.load(None, limit=rows, seed=seed), tick)
    return measure(run, data, read, progress)


def _older(analyses: Path) -> list[dict[str, Any]]:
    """What the stored ones of the run were made of; a damaged one is as good as none."""
    found = []
    for file in analyses.glob("latents-*/latents.json"):
        with suppress(UserError, OSError):
            made_of = read_object(file).get("made_of")
            found.append(made_of if isinstance(made_of, dict) else {})
    return found


def _unlearned(run: Run) -> tuple[str, ...]:
    return tuple(t for t in run.config.tasks if not run.context().learned(t))


def clamp(run: Run | Path | str, latent: int, *, rows: int = 512) -> dict[str, tuple[float, float]]:
    """task -> (mean change of the shown prediction with the latent silenced, with it at its largest), exact through the
    model."""
    from analysis.engine.concepts import clamp as measured  # late: torch

    return measured(opened_run(run), latent, rows)


# --- the store


def _save(found: Latents, folder: Path) -> None:
    """Arrays in one npz, the rest in JSON, which is written last and marks the folder as whole."""
    make_folder(folder.parent)
    make_folder(folder)
    (folder / "latents.json").unlink(missing_ok=True)  # until the arrays are the new ones too
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for f in fields(found):
        value = getattr(found, f.name)
        if isinstance(value, np.ndarray):
            arrays[f.name] = value.astype(str) if value.dtype.kind == "O" else value
        else:
            plain[f.name] = value
    write_npz(folder / "latents.npz", arrays, packed=True)
    write_bytes(folder / "latents.json", json.dumps(plain).encode())


def _load(folder: Path) -> Latents:
    try:
        plain = read_object(folder / "latents.json")
        arrays = read_npz(folder / "latents.npz")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()} | arrays
        return Latents(**values)
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise UserError(f"{folder} is damaged ({e}); remove it and measure again") from e
