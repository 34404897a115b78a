"""`ModelContext`: what a model must know of the data it was built for, beside its config.

Column positions come from the schema; the hierarchy tree, the raw columns' statistics, label scalers, constant-predictor
losses and brand names come from the training split. It is stored in the run folder under `preprocess/` and never changes after
training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ple_model.errors import UserError
from ple_model.fields import N_FEATURES, N_NORMALIZED
from ple_model.money import UNKNOWN, require_currency
from ple_model.own_schema import load_own, save_own
from ple_model.safe_arrays import read_npz, take, write_npz
from ple_model.safe_paths import write_bytes
from ple_model.safe_text import read_json
from ple_model.schema import PART_SLICES, FeatureSchema, load_schema
from ple_model.stored import Stored
from ple_model.tasks import TaskSpec

ARRAYS_BYTES = 1 << 30
DEEPEST = 64
"""Levels of a hierarchy; a product tree has five."""
BALLS = ("mcc", "product", "region")
BALL_DIMS: dict[str, int] = {"mcc": 8, "product": 8, "region": 4}


@dataclass(frozen=True)
class HierarchyTree:
    """Nodes of the three trees with their Poincare coordinates (curvature 1).

    names: n node names; ball: [n] int in 0..2 (mcc, product, region); parent: [n] int, -1 at a root;
    coords: [n, 8] float, the region ball uses the first 4 and is zero beyond.
    """

    names: tuple[str, ...]
    ball: NDArray[np.int64]
    parent: NDArray[np.int64]
    coords: NDArray[np.float32]

    @staticmethod
    def roots() -> HierarchyTree:
        """The smallest tree, one root a ball: for data without any hierarchy."""
        return HierarchyTree(
            names=tuple(f"{b} root" for b in BALLS),
            ball=np.arange(3, dtype=np.int64),
            parent=np.full(3, -1, dtype=np.int64),
            coords=np.zeros((3, 8), dtype=np.float32),
        )


@dataclass(frozen=True)
class LabelScaler:
    """Standardisation of a regression label: `(y - mean) / std`."""

    mean: float
    std: float


@dataclass(frozen=True)
class OwnLabel:
    """What a task's label is in a table of one's own."""

    title: str
    unit: str = ""


@dataclass(frozen=True)
class ModelContext:
    """See the module docstring. Every default is usable, so that a model can be built without data."""

    hierarchy: HierarchyTree = field(default_factory=HierarchyTree.roots)
    raw_mean: tuple[float, ...] = ()
    """Mean of sign(x) log(1+|x|) of the raw power-law columns on the training split; empty: zeros."""
    raw_std: tuple[float, ...] = ()
    brands: tuple[str, ...] = ()
    """Brand names; the label of brand_prediction is an index into them."""
    brand_counts: tuple[int, ...] = ()
    """Training frequency of each brand, for the logQ correction."""
    label_scalers: dict[str, LabelScaler] = field(default_factory=dict)
    constant_loss: dict[str, float] = field(default_factory=dict)
    """Loss of the best constant predictor on the training split, by task (regression: on the standardised label)."""
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names by multiclass task where the dataset has its own."""
    own: FeatureSchema | None = None
    """The columns of `features` where they are those of a table of one's own; None: the package's."""
    own_labels: dict[str, OwnLabel] = field(default_factory=dict)
    """By task, what its label is there."""
    currency: str = ""
    """ISO 4217 code of all amounts; empty where it is not known."""

    def named(self, tasks: Mapping[str, TaskSpec]) -> dict[str, TaskSpec]:
        """The tasks under the names of the labels that they learned from, amounts in their currency."""
        out = dict(tasks)
        for task, label in self.own_labels.items():
            if task in out:
                out[task] = replace(out[task], title=label.title, unit=label.unit, question=f"{label.title}?")
        return {t: replace(s, unit=self.unit(s.unit)) if s.unit == UNKNOWN else s for t, s in out.items()}

    def unit(self, unit: str) -> str:
        """A unit as it is here: that of an amount is the currency, where it is known."""
        return self.currency if self.currency and unit == UNKNOWN else unit

    @cached_property
    def schema(self) -> FeatureSchema:
        """The columns of `features`, amounts in their currency."""
        plain = self.own if self.own is not None else load_schema()
        if not self.currency:
            return plain
        return replace(plain, columns=tuple(replace(c, unit=self.unit(c.unit)) for c in plain.columns))

    @property
    def n_features(self) -> int:
        return N_FEATURES if self.own is None else len(self.own.columns)

    @property
    def n_normalized(self) -> int:
        """Columns that the normaliser scales; the raw ones follow."""
        return N_NORMALIZED if self.own is None else self.own.normalized.stop

    @property
    def parts(self) -> Mapping[str, slice]:
        """Columns of each part of `features`."""
        return PART_SLICES if self.own is None else self.own.parts

    @property
    def nonfinite(self) -> tuple[str, ...]:
        """Names of what holds a NaN or Inf; a run with any of them is not to be trusted with a number."""
        named: dict[str, ArrayLike] = {
            "hierarchy.coords": self.hierarchy.coords, "raw_mean": self.raw_mean, "raw_std": self.raw_std,
            **{f"label_scalers.{t}": (s.mean, s.std) for t, s in self.label_scalers.items()},
            **{f"constant_loss.{t}": v for t, v in self.constant_loss.items()},
        }  # fmt: skip
        return tuple(name for name, value in named.items() if not np.isfinite(value).all())

    def learned(self, task: str) -> bool:
        """Whether the task had labels to learn from; True for all where the context was made without training data."""
        return not self.constant_loss or task in self.constant_loss

    def save(self, folder: Path) -> None:
        """Write `context.json` and `hierarchy.npz` (temporary file, then rename)."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.own is not None:
            save_own(self.own, folder)
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("hierarchy", "own")}
        if not self.currency:
            del plain["currency"]
        if not self.own_labels:
            del plain["own_labels"]
        else:
            plain["own_labels"] = {task: asdict(label) for task, label in self.own_labels.items()}
        plain["label_scalers"] = {task: asdict(scaler) for task, scaler in self.label_scalers.items()}
        plain["hierarchy_names"] = list(self.hierarchy.names)
        write_bytes(folder / "context.json", json.dumps(plain, indent=1, ensure_ascii=False).encode())
        tree = {"ball": self.hierarchy.ball, "parent": self.hierarchy.parent, "coords": self.hierarchy.coords}
        write_npz(folder / "hierarchy.npz", tree)

    @staticmethod
    def load(folder: Path) -> ModelContext:
        """Read what `save` wrote; `UserError` names the file that is missing or damaged."""
        path, trees = folder / "context.json", folder / "hierarchy.npz"
        try:
            found = Stored.of(path, read_json(path))
            arrays = read_npz(trees, ARRAYS_BYTES)
        except FileNotFoundError as e:
            raise UserError(str(e) if str(e).endswith("is missing") else f"{path} is missing") from e
        scalers, losses, classes = (found.mapping(k) for k in ("label_scalers", "constant_loss", "class_names"))
        numbers = {t: scalers.mapping(t) for t in scalers.values}
        context = ModelContext(
            own=load_own(folder),
            own_labels=_own_labels(found.mapping("own_labels")) if "own_labels" in found.values else {},
            hierarchy=_tree(found.texts("hierarchy_names"), arrays, path, trees),
            raw_mean=found.numbers("raw_mean"),
            raw_std=found.numbers("raw_std"),
            brands=found.texts("brands"),
            brand_counts=found.wholes("brand_counts"),
            label_scalers={
                t: LabelScaler(v.number("mean", finite=False), v.number("std", finite=False)) for t, v in numbers.items()
            },
            constant_loss={t: losses.number(t, finite=False) for t in losses.values},
            class_names={t: classes.texts(t) for t in classes.values},
            currency=require_currency(f"{path}: currency", found.values.get("currency")),
        )
        if len(context.brand_counts) not in (0, len(context.brands)):
            raise UserError(f"{path} is damaged: {len(context.brands)} brands and {len(context.brand_counts)} brand_counts")
        if len(context.raw_mean) != len(context.raw_std):
            raise UserError(f"{path} is damaged: {len(context.raw_mean)} values of raw_mean, {len(context.raw_std)} of raw_std")
        return context


def _own_labels(found: Stored) -> dict[str, OwnLabel]:
    return {t: OwnLabel(found.mapping(t).text("title"), found.mapping(t).text("unit")) for t in found.values}


def _tree(names: tuple[str, ...], arrays: dict[str, NDArray[Any]], source: Path, path: Path) -> HierarchyTree:
    """The trees, if they are trees: every parent is a node before or after, and no node is its own ancestor."""
    ball, parent, coords = take(arrays, path, "ball", "parent", "coords")
    n = len(ball)
    if ball.shape != (n,) or parent.shape != (n,) or coords.shape != (n, 8):
        raise UserError(f"{path} is damaged: arrays of the shapes {ball.shape}, {parent.shape} and {coords.shape}")
    if ball.dtype.kind not in "iu" or parent.dtype.kind not in "iu" or coords.dtype.kind != "f":
        raise UserError(f"{path} is damaged: arrays of the types {ball.dtype}, {parent.dtype} and {coords.dtype}")
    if len(names) != n:
        raise UserError(f"{source} does not fit {path.name}: {len(names)} hierarchy_names, {n} nodes")
    if n and (ball.min() < 0 or ball.max() >= len(BALLS) or parent.min() < -1 or parent.max() >= n):
        raise UserError(f"{path} is damaged: a node lies in no ball, or its parent is none")
    up = parent.astype(np.int64)
    for _ in range(DEEPEST):
        if not n or (up < 0).all():
            break
        up = np.where(up >= 0, parent[np.maximum(up, 0)], -1)
    else:
        raise UserError(f"{path} is damaged: its nodes are nested more than {DEEPEST} deep, or in a circle")
    return HierarchyTree(names, ball.astype(np.int64), parent.astype(np.int64), coords.astype(np.float32))
