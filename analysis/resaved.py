"""Does a file of preprocess/ still hold the numbers of training, only at lower precision?

`fingerprint.json` keeps hashes, which know equality alone. What the numbers were is known where the stored customers came with
the very file that training wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.stats.written import ROUNDING
from ple_model.errors import UserError
from ple_model.files import read_json
from ple_model.run_fingerprint import FileMark, file_hash
from ple_model.safe_arrays import read_npz
from ple_model.safe_paths import is_file


def rounded_by(now: Path, kept: Path, mark: FileMark) -> float | None:
    """Largest relative difference between the numbers of a file and of the one that training wrote, where this is `kept` and
    rounding to 32 bits explains all of it; None where it does not, or where it is not known."""
    if not (is_file(kept) and file_hash(kept) == mark.hash):
        return None
    try:
        pairs = _arrays(now, kept) if now.suffix == ".npz" else _leaves(read_json(now), read_json(kept))
    except (UserError, OSError):
        return None
    if pairs is None:
        return None
    largest = 0.0
    for a, b in pairs:
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(all="ignore"):
            apart = np.where(same, 0.0, np.abs(a - b) / np.abs(b))
        largest = max(largest, float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)))
    return largest if largest <= ROUNDING else None


Pairs = list[tuple[Any, Any]]


def _arrays(now: Path, kept: Path) -> Pairs | None:
    a, b = read_npz(now), read_npz(kept)
    if a.keys() != b.keys() or any(a[k].shape != b[k].shape for k in a):
        return None
    pairs: Pairs = []
    for k in a:
        if a[k].dtype.kind == "f" and b[k].dtype.kind == "f":
            pairs.append((a[k].astype(np.float64), b[k].astype(np.float64)))
        elif a[k].dtype.kind != b[k].dtype.kind or not np.array_equal(a[k], b[k]):
            return None
    return pairs


def _leaves(now: object, kept: object) -> Pairs | None:
    """Pairs of the numbers of two JSON values; None where anything else differs."""
    if isinstance(now, Mapping) and isinstance(kept, Mapping):
        return _all([(now[k], kept[k]) for k in now]) if now.keys() == kept.keys() else None
    if isinstance(now, Sequence) and isinstance(kept, Sequence) and not isinstance(now, str) and not isinstance(kept, str):
        return _all(list(zip(now, kept, strict=True))) if len(now) == len(kept) else None
    if isinstance(now, float) and isinstance(kept, float):
        return [(np.array(now), np.array(kept))]
    return [] if type(now) is type(kept) and now == kept else None


def _all(inner: Sequence[tuple[object, object]]) -> Pairs | None:
    pairs: Pairs = []
    for a, b in inner:
        found = _leaves(a, b)
        if found is None:
            return None
        pairs += found
    return pairs
