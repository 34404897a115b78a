"""Fitted starts that trainings on the same rows share: the trials of a study begin where one of them has fitted.

A fit (`linear_start`) reads columns and labels and nothing of the network, so two trainings that differ in their rates, widths
or dropout begin from the same one. It is kept under a digest of everything that it reads and of what computes it (code,
libraries, number of threads): whatever differs in one bit is fitted anew, and what is taken from here is what would have been
fitted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.answer import Answer
from ple_model.bend_start import Bent
from ple_model.errors import UserError
from ple_model.files import read_tensors, write_tensors
from ple_model.linear_start import LinearStart, Progress, fit_linear_start
from ple_model.provenance import library_versions
from ple_model.safe_paths import is_file, make_folder
from ple_model.sources import source_digest

BENDS = ("columns", "cuts", "weight", "offset")


def fit_once(
    folder: Path, x: Tensor, answers: Sequence[Answer], watch: NDArray[np.bool_], progress: Progress | None,
    bends: tuple[int, int] | None,
) -> LinearStart:  # fmt: skip
    """`fit_linear_start`, or what it gave for the same rows before (`folder`: made where it is missing)."""
    path = folder / f"start-{_key(x, answers, watch, bends)}.safetensors"
    if is_file(path) and (found := _read(path, x, answers, bends)) is not None:
        if progress is not None:
            progress(1.0, "done")
        return found
    found = fit_linear_start(x, answers, watch, progress, bends)
    make_folder(folder)
    write_tensors(path, _tensors(found), {"strengths": json.dumps(_strengths(found))})
    return found


def _key(x: Tensor, answers: Sequence[Answer], watch: NDArray[np.bool_], bends: tuple[int, int] | None) -> str:
    """40 hex digits over all that a fit reads: rows, labels, losses, who is held out, bends, code, libraries, threads."""
    fits = tuple(x.shape), bends, source_digest(fit_linear_start.__module__), library_versions(), torch.get_num_threads()
    h = hashlib.sha256(repr(fits).encode())
    for values in (x.numpy(), watch, *(a.y.numpy() for a in answers)):
        h.update(np.ascontiguousarray(values).tobytes())
    for a in answers:
        h.update(repr((a.task, a.kind, a.where, tuple(a.y.shape), a.delta, a.alpha, a.gamma)).encode())
    return h.hexdigest()[:40]


def _strengths(found: LinearStart) -> dict[str, dict[str, float | None]]:
    return {"map": found.strengths, "bends": {task: bent.strength for task, bent in found.bends.items()}}


def _tensors(found: LinearStart) -> dict[str, Tensor]:
    bent = {f"bends.{task}.{part}": getattr(b, part) for task, b in found.bends.items() for part in BENDS}
    return {"weight": found.weight, "bias": found.bias, **bent}


def _read(path: Path, x: Tensor, answers: Sequence[Answer], bends: tuple[int, int] | None) -> LinearStart | None:
    """None where the file is damaged or does not hold what a fit of these rows would give."""
    try:
        tensors, metadata = read_tensors(path)
        strengths = json.loads(metadata["strengths"])
        bent = {
            task: Bent(strength=strength, **{part: tensors[f"bends.{task}.{part}"] for part in BENDS})
            for task, strength in strengths["bends"].items()
        }
        found = LinearStart(tensors["weight"], tensors["bias"], dict(strengths["map"]), bent)
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return found if _fits(found, x.shape[1], answers, bends) else None


def _fits(found: LinearStart, columns: int, answers: Sequence[Answer], bends: tuple[int, int] | None) -> bool:
    """Whether it holds every task's part in its shape."""
    tasks, width = {a.task for a in answers}, max(a.where.stop for a in answers)
    if found.strengths.keys() != tasks or found.bends.keys() != (tasks if bends else set()):
        return False
    shapes = [(found.weight, (width, columns)), (found.bias, (width,))]
    for a in answers if bends else ():
        bent, (n, pieces), outputs = found.bends[a.task], bends or (0, 0), a.where.stop - a.where.start
        n = min(n, columns)
        shapes += [
            (bent.columns, (n,)),
            (bent.cuts, (n, pieces + 1)),
            (bent.weight, (outputs, n * pieces)),
            (bent.offset, (outputs,)),
        ]
        if bool(((bent.columns < 0) | (bent.columns >= columns)).any()):
            return False
    return all(tuple(tensor.shape) == shape for tensor, shape in shapes)
