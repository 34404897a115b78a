"""Do the inputs of a row go together? What the training rows' inputs say of each other, kept as moments.

Of every input (a field, or a part of `features`) a few directions are kept (`input_columns`), and of all directions the
covariance on training rows and on held-out customers. From these any direction's ridge regression on those of the other inputs
follows, whatever inputs are left out of it, and so does the correlation it has with the truth on customers it was not fitted
on. Rows at hand whose input no longer goes with the rest of the row show no such correlation.

Beside it, of every single column, the values that many training rows share: a later value shared by many that is none of them
is a stand-in. About 300 kB; it holds no customer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.input_columns import DIRECTIONS, SEQUENCES, Array, Directions, Values, activity, fit_directions, input_columns
from ple_model.repeated_rows import repeated_share
from ple_model.safe_arrays import fit_shapes, read_npz, write_npz

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset

FILE = "consistency.npz"
ROWS, HELD = 6_000, 3_000
"""Training and held-out rows at most."""
FEWEST = 100
"""Complete rows of either that are needed."""
PRESENT = 0.5
"""Share of training rows that must have an input for it to be held against others."""
RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Ridge strengths, in variances of a direction, of which the best on held-out customers is kept."""
COMMON = 24
"""Shared values kept of a column."""
SHARED = 0.005
"""Share of the training rows from which a value counts as shared."""


@dataclass(frozen=True, eq=False)
class Consistency:
    """See the module docstring."""

    directions: Directions
    judged: NDArray[np.bool_]
    """[K] inputs that enough training rows have"""
    fit: Array
    """[P, P] covariance on training rows that have all judged inputs"""
    held: Array
    """[P, P] the same of held-out customers"""
    rows: tuple[int, int]
    """that both are drawn from"""
    ridge: float
    common: Values
    """[c, COMMON] values that a share of at least SHARED of the training rows have, the commonest first; NaN-padded"""
    bound: Values
    """[c] largest share of a value that is not in `common`"""
    covered: Values
    """[c] share of the rows whose value is in it"""
    extremes: Values
    """[c, 2]"""
    repeated: float
    """Share of training rows of one cut-off that say the same as another customer's"""
    active: dict[str, Array] = field(default_factory=dict)
    """sequence -> [steps] share of the training rows that have it with an event in each step; empty in an older run"""

    def save(self, folder: Path) -> None:
        """Write `consistency.npz` (temporary file, then rename)."""
        d, p = self.directions, self.fit.shape[0]
        names = json.dumps({"keys": d.keys, "columns": d.columns}, ensure_ascii=False)
        upper = np.triu_indices(p)
        write_npz(folder / FILE, {
            **d.arrays(), "names": np.frombuffer(names.encode(), dtype=np.uint8), "judged": self.judged.astype(np.uint8),
            "fit": self.fit[upper].astype(np.float32), "held": self.held[upper].astype(np.float32),
            "rows": np.array(self.rows), "ridge": np.array(self.ridge), "common": self.common, "bound": self.bound,
            "covered": self.covered, "extremes": self.extremes, "repeated": np.array(self.repeated),
            **{f"active|{k}": v.astype(np.float32) for k, v in self.active.items()},
        }, packed=True)  # fmt: skip

    @staticmethod
    def load(folder: Path) -> Consistency | None:
        """What `save` wrote; None where a run has none (it is older). `UserError` names a damaged file."""
        path = folder / FILE
        try:
            z = read_npz(path)
        except FileNotFoundError:
            return None
        try:
            names = json.loads(bytes(z["names"]))
            keys, columns = [str(k) for k in names["keys"]], [str(c) for c in names["columns"]]
        except (KeyError, ValueError, TypeError, UnicodeDecodeError, RecursionError) as e:
            raise UserError(f"{path} is damaged: its names cannot be read") from e
        p = len(keys) * DIRECTIONS
        fit_shapes(
            z, path,
            {"column_key": "c", "middle": "c", "scale": "c", "mean": "c", "deviation": "c", "basis": "cd", "judged": "k",
             "fit": "u", "held": "u", "rows": "t", "bound": "c", "covered": "c"},
            c=len(columns), k=len(keys), d=DIRECTIONS, u=p * (p + 1) // 2, t=2,
        )  # fmt: skip
        if "common" not in z or "extremes" not in z or z["common"].shape != (len(columns), COMMON):
            raise UserError(f"{path} is damaged: the array 'common' or 'extremes' does not fit")
        if z["extremes"].shape != (len(columns), 2) or (len(z["column_key"]) and not 0 <= z["column_key"].max() < len(keys)):
            raise UserError(f"{path} is damaged: the array 'extremes' or 'column_key' does not fit")
        if not {"ridge", "repeated"} <= set(z) or z["ridge"].size != 1 or z["repeated"].size != 1:
            raise UserError(f"{path} is damaged: 'ridge' or 'repeated' is no number")
        return Consistency(
            Directions.from_arrays(z, keys, columns), z["judged"].astype(bool), _square(z["fit"], p), _square(z["held"], p),
            (int(z["rows"][0]), int(z["rows"][1])), max(float(z["ridge"]), 1e-6), z["common"].astype(np.float32),
            z["bound"].astype(np.float32), z["covered"].astype(np.float32), z["extremes"].astype(np.float32),
            float(z["repeated"]),
            {k.split("|")[1]: z[k].astype(np.float64) for k in z if k.startswith("active|") and z[k].ndim == 1},
        )  # fmt: skip

    def weights(self, target: NDArray[np.int64], others: NDArray[np.int64], ridge: float | None = None) -> Array:
        """[others, target] ridge regression of directions on others, by their numbers."""
        strength = self.ridge if ridge is None else ridge
        left = self.fit[np.ix_(others, others)] + strength * np.eye(len(others))
        return np.asarray(np.linalg.solve(left, self.fit[np.ix_(others, target)]))

    def known(self, target: NDArray[np.int64], others: NDArray[np.int64], weights: Array) -> Array:
        """[target] correlation of the regression with the truth on held-out customers."""
        cross = (weights * self.held[np.ix_(others, target)]).sum(0)
        told = (weights * (self.held[np.ix_(others, others)] @ weights)).sum(0)
        truth = np.diag(self.held)[target]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.nan_to_num(cross / np.sqrt(told * truth)))

    def used(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of the directions of these inputs, those of no variance left out."""
        some = [np.arange(self.directions.slice(k).start, self.directions.slice(k).stop) for k in keys]
        every = np.concatenate(some) if some else np.zeros(0, dtype=np.int64)
        return np.asarray(every[np.diag(self.fit)[every] > 1e-6], dtype=np.int64)


def _square(upper: NDArray[Any], p: int) -> Array:
    out = np.zeros((p, p))
    out[np.triu_indices(p)] = upper
    return out + np.triu(out, 1).T


def fit_consistency(dataset: Dataset) -> Consistency | None:
    """Of at most `ROWS` training rows and `HELD` rows of other splits; None where there are no training rows."""
    names = [c.name for c in dataset.schema.columns]
    columns, train, dates = _rows(dataset, ("train",), ROWS, names)
    if not len(train):
        return None
    _, others, _ = _rows(dataset, ("validation", "test"), HELD, names)
    return replace(consistency_of(columns, train, dates, others), active=_activity(dataset))


def _activity(dataset: Dataset) -> dict[str, Array]:
    """[steps] of each sequence, of the newest rows of at most `HELD` training rows."""
    held: dict[str, list[Array]] = {}
    rows = 0
    fields = [f for f in SEQUENCES if f in dataset.manifest.fields]
    for batch in dataset.batches("train", 1024, shuffle=True, fields=fields):
        for key, steps in activity(batch.inputs).items():
            held.setdefault(key, []).append(steps)
        rows += len(batch)
        if rows >= HELD:
            break
    joined = {k: np.concatenate(v) for k, v in held.items()}
    return {k: v.mean(0) for k, v in joined.items() if len(v)}


def consistency_of(columns: Sequence[tuple[str, str]], train: Values, dates: Sequence[str], others: Values) -> Consistency:
    """Of training rows [n, c] with their cut-offs and held-out rows [m, c] of columns [c] of (input, name)."""
    directions = fit_directions(columns, train)
    z, held = directions.all(train), directions.all(others) if len(others) else np.zeros((0, len(directions.keys) * DIRECTIONS))
    there = _there(directions, z)
    judged = there.mean(0) > PRESENT
    p = z.shape[1]
    empty = np.zeros((p, p))
    whole, apart = z[there[:, judged].all(1)], held[_there(directions, held)[:, judged].all(1)]
    enough = min(len(whole), len(apart)) >= FEWEST and judged.sum() > 1
    keep = np.repeat(judged, DIRECTIONS)
    result = Consistency(
        directions, judged if enough else np.zeros_like(judged), _covariance(whole, keep) if enough else empty,
        _covariance(apart, keep) if enough else empty, (len(whole), len(apart)), RIDGES[2], *_common(train),
        repeated=repeated_share(train, dates),
    )  # fmt: skip
    return result if not enough else _with_ridge(result)


def write_consistency(run: Path, dataset: Dataset) -> None:
    """Write `preprocess/consistency.npz` of a run from its dataset."""
    found = fit_consistency(dataset)
    if found is not None:
        found.save(run / "preprocess")


def _with_ridge(found: Consistency) -> Consistency:
    """The strength that tells held-out customers' inputs best, over all inputs."""
    keys = [k for k, j in zip(found.directions.keys, found.judged, strict=True) if j]

    def skill(ridge: float) -> float:
        told = (found.known(*regression) for regression in each_from_the_rest(found, keys, ridge))
        return float(sum((np.abs(r) * r).sum() for r in told))

    return replace(found, ridge=max(RIDGES, key=skill))


def each_from_the_rest(
    found: Consistency, keys: Sequence[str], ridge: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
    """For each input (its directions, those of all others, `Consistency.weights` of them), from one inverse P of the covariance
    of all: the regression of a block on the rest is -P[rest, block] P[block, block]^-1."""
    every = found.used(keys)
    inverse = np.linalg.inv(found.fit[np.ix_(every, every)] + ridge * np.eye(len(every)))
    for key in keys:
        target = found.used([key])
        mine = np.isin(every, target)
        weights = -np.linalg.solve(inverse[np.ix_(mine, mine)], inverse[np.ix_(mine, ~mine)]).T
        yield target, every[~mine], weights


def _there(directions: Directions, z: Array) -> NDArray[np.bool_]:
    """[n, K] rows that have an input, with numbers in all of its columns."""
    return np.asarray(np.isfinite(z).reshape(len(z), len(directions.keys), DIRECTIONS).all(2), dtype=bool)


def _covariance(z: Array, keep: NDArray[np.bool_]) -> Array:
    x = np.where(keep, np.nan_to_num(z), 0.0)
    x = x - x.mean(0)
    return np.asarray(x.T @ x / len(x))


def _rows(dataset: Dataset, splits: Sequence[str], most: int, names: Sequence[str]) -> tuple[Any, Values, list[str]]:
    columns: list[tuple[str, str]] = []
    held: list[Values] = []
    dates: list[str] = []
    for split in splits:
        if not dataset.rows(split):
            continue
        for batch in dataset.batches(split, 1024, shuffle=True):
            columns, values = input_columns(batch.inputs, names)
            held.append(values)
            dates += batch.cutoff
            if sum(map(len, held)) >= most * (1 + splits.index(split)) / len(splits):
                break
    return columns, np.concatenate(held) if held else np.zeros((0, 0), dtype=np.float32), dates


def _common(values: Values) -> tuple[Values, Values, Values, Values]:
    """(common, bound, covered, extremes) of training rows [n, c]."""
    width = values.shape[1]
    common = np.full((width, COMMON), np.nan, dtype=np.float32)
    bound, covered = np.zeros(width, dtype=np.float32), np.zeros(width, dtype=np.float32)
    extremes = np.full((width, 2), np.nan, dtype=np.float32)
    for j in range(width):
        x = values[:, j]
        x = x[np.isfinite(x)]
        if not len(x):
            continue
        distinct, count = np.unique(x, return_counts=True)
        extremes[j] = distinct[0], distinct[-1]
        order = np.argsort(-count, kind="stable")
        top = [k for k in order[:COMMON] if count[k] / len(x) >= SHARED]
        common[j, : len(top)] = distinct[top]
        covered[j] = count[top].sum() / len(x)
        rest = count[order[len(top)]] / len(x) if len(order) > len(top) else 0.0
        bound[j] = rest
    return common, bound, covered, extremes
