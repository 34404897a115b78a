"""A map of the experts' outputs in two dimensions: UMAP (McInnes et al. 2018) of the sampled outputs, all experts side by side.

`python -m analysis.embedding FOLDER SEED` draws it in a process of its own, which may be ended at any time: UMAP takes ten
seconds to import and cannot be interrupted. Coordinates are kept beside the analysis they belong to, under its fingerprint and
the seed, and read back in a moment. PCA to 50 directions and exact neighbours come first, so that a seed gives the same map
every time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.store import AnalysisStore
from ple_model.errors import UserError
from ple_model.safe_arrays import read_npz, take, write_npz
from ple_model.sources import source_digest

NEIGHBOURS = 15
DIRECTIONS = 50
MAP_BYTES = 1 << 26
STAGES = ("reading", "neighbours", "loading", "drawing")
"""What the process writes, one a line, as it gets there."""


def path(folder: Path, seed: int) -> Path:
    """Where the map of the analysis in `folder` is kept: beside it, because an analysis is replaced whole or not at all. The
    name holds a digest of the source files that draw it."""
    return folder.parent / f"umap-{folder.name}-{source_digest('analysis.embedding')[:8]}-{seed}.npz"


def load(store: AnalysisStore, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """(row [n], xy [n, 2]) of a map drawn before of this very measurement, or None."""
    file = path(store.path, seed)
    try:
        if file.stat().st_mtime < float(store.meta.get("created") or 0):
            return None  # of one whose place this one took
        found = read_npz(file, MAP_BYTES)
        row, xy = take(found, store.path, "row", "xy")
    except (OSError, UserError):  # what is damaged is drawn anew
        return None
    numbers = row.dtype.kind == "i" and xy.dtype.kind == "f"
    return (row, xy) if numbers and row.ndim == 1 and xy.shape == (len(row), 2) else None


def principal(vectors: NDArray[Any], directions: int = DIRECTIONS) -> NDArray[np.float32]:
    """[n, k] coordinates along the leading directions of variance."""
    x = vectors.astype(np.float64)
    x = np.where(np.isfinite(x), x, 0.0)
    x -= x.mean(0)
    _, axes = np.linalg.eigh(x.T @ x)
    return np.asarray(x @ axes[:, ::-1][:, : min(directions, x.shape[1], len(x))], dtype=np.float32)


def draw(store: AnalysisStore, seed: int, note: Callable[[str], None] = lambda stage: None) -> NDArray[np.float32]:
    """Compute and store the map. `UserError` where too few vectors were kept."""
    note("reading")
    vectors = store.vectors.get("experts")
    if vectors is None or len(vectors) <= 2 * NEIGHBOURS:
        n = 0 if vectors is None else len(vectors)
        raise UserError(f"{store.path.name}: a map needs more than {2 * NEIGHBOURS} sampled customers, this analysis has {n}")
    x = principal(vectors)
    note("neighbours")
    from sklearn.neighbors import NearestNeighbors  # late: as slow to load as to use

    distances, nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors(x)
    note("loading")
    import umap  # late: as slow to load as to use

    note("drawing")
    mapper = umap.UMAP(
        n_neighbors=NEIGHBOURS, random_state=seed, n_jobs=1, init="pca", precomputed_knn=(nearest, distances.astype(np.float32))
    )
    xy = np.asarray(mapper.fit_transform(x), dtype=np.float32)
    _write(path(store.path, seed), store.vectors["row"], xy)
    return xy


def _write(file: Path, row: NDArray[Any], xy: NDArray[np.float32]) -> None:
    write_npz(file, {"row": row.astype(np.int64), "xy": xy})


def main(folder: str, seed: str) -> int:
    """The worker: stages on stdout, a sentence on stderr if it fails."""
    try:
        draw(AnalysisStore(Path(folder)), int(seed), lambda stage: print(stage, flush=True))
    except UserError as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
