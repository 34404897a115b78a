"""What held-out customers did, counted by where they stand: in each column of the features below, at or above its middle, in
which group, in which hidden state, among which that buy at similar merchants. Kept with the run, so that a reason can be held
against what the bank's customers did without the rows that a run does not carry.

Of every customer the model did not learn from, the latest row counts, 50,000 customers at most. It holds sums, no customer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ple_model.config import Config
from ple_model.data.dataset.columns import EMPTY, decode_column
from ple_model.data.derived.hmm import N_STATES
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.presence import part_key
from ple_model.profile import column_use
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.tasks import HMM_MODES, TaskSpec

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput
    from ple_model.data.dataset.manifest import PartFile
    from ple_model.data.dataset.reader import Dataset

Array = NDArray[np.float64]
FILE = "outcomes.npz"
CUSTOMERS = 50_000
"""Drawn by a seed where there are more."""
CHUNK = 2048
WIDEST = 64
"""Classes of a task at most, but for groups by merchants: of hundreds of brands nearly all other counts are too few."""
BELOW, AT, ABOVE = range(3)
CLUSTER = "cluster"
MERCHANTS = "merchants"
"""Groups of customers who buy at similar merchants: k-means on the directions of their graph embeddings."""
GROUPS = 32
GROUPED = 20
"""Customers a group at least, on average: fewer customers make fewer groups. By judgement: of 20,000 some hundreds a group, and
no group of a handful."""


@dataclass(frozen=True)
class Moments:
    """Of n customers whose outcome is known: the sum of the outcomes (1 and 0, or the number itself) and of their squares."""

    n: int
    total: float
    squares: float

    @staticmethod
    def of(values: NDArray[np.floating[Any]]) -> Moments:
        x = np.asarray(values, dtype=np.float64)
        return Moments(len(x), float(x.sum()), float((x * x).sum()))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else float("nan")

    @property
    def variance(self) -> float:
        """Of the sample; infinite where one value says nothing of it."""
        return max(self.squares - self.total * self.total / self.n, 0.0) / (self.n - 1) if self.n > 1 else float("inf")


@dataclass(frozen=True, eq=False)
class StandingCounts:
    """n [standings] customers with a known outcome; total [standings, outputs]; squares, the same, of a number alone: of a
    share it is the total."""

    n: NDArray[np.int32]
    total: Array
    squares: Array | None = None

    def moments(self, standing: int, output: int) -> Moments:
        total = float(self.total[standing, output])
        squares = total if self.squares is None else float(self.squares[standing, output])
        return Moments(int(self.n[standing]), total, squares)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """middles [columns] as the model reads them, NaN where no customer has a value; tallies {task: {standing: counts}}, where a
    standing is `columns` (three a column: below, at, above its middle), `cluster`, `merchants` or the field of a hidden Markov
    model; customers: all that were counted."""

    customers: int
    middles: NDArray[np.float32]
    tallies: dict[str, dict[str, StandingCounts]]
    centres: NDArray[np.float32] | None = None
    """[groups, 64] unit directions of the groups of `merchants`; None where no customer has a graph embedding"""

    def merchants(self, embedding: NDArray[np.floating[Any]]) -> int:
        """The group of those who buy at the merchants most similar to a customer's; -1 where that is not known."""
        return -1 if self.centres is None else int(_nearest(embedding[None], self.centres)[0])

    def sides(self, task: str, output: int, column: int) -> tuple[Moments, Moments, Moments] | None:
        """(below, at, above) the middle of a column; None where the task was not counted."""
        found = self._tally(task, output, "columns")
        if found is None or not np.isfinite(self.middles[column]):
            return None
        below, at, above = (found.moments(3 * column + side, output) for side in (BELOW, AT, ABOVE))
        return below, at, above

    def members(self, task: str, output: int, standing: str, member: int) -> tuple[Moments, Moments] | None:
        """(those of a group or state, all others); None where that was not counted."""
        found = self._tally(task, output, standing)
        if found is None or not 0 <= member < len(found.n):
            return None
        others = Moments(0, 0.0, 0.0)
        for i in range(len(found.n)):
            if i != member:
                others += found.moments(i, output)
        return found.moments(member, output), others

    def _tally(self, task: str, output: int, standing: str) -> StandingCounts | None:
        found = self.tallies.get(task, {}).get(standing)
        return None if found is None or output >= found.total.shape[1] else found

    def save(self, folder: Path) -> None:
        """Write `outcomes.npz` (temporary file, then rename)."""
        arrays: dict[str, Any] = {"middles": self.middles, "customers": np.array(self.customers)}
        arrays |= {} if self.centres is None else {"centres": self.centres}
        for task, by in self.tallies.items():
            for standing, t in by.items():
                whole = t.squares is None
                arrays[f"n|{task}|{standing}"] = t.n
                arrays[f"total|{task}|{standing}"] = t.total.astype(np.int32) if whole else t.total
                if t.squares is not None:
                    arrays[f"squares|{task}|{standing}"] = t.squares
        write_npz(folder / FILE, arrays, packed=True)

    @staticmethod
    def load(folder: Path, columns: int) -> Outcomes | None:
        """What `save` wrote for so many columns; None where a run has none (it is older). `UserError` names a damaged file."""
        path = folder / FILE
        try:
            z = read_npz(path)
        except FileNotFoundError:
            return None
        if z.get("middles", np.zeros(0)).shape != (columns,) or z.get("customers", np.zeros(0)).size != 1:
            raise UserError(f"{path} is damaged: 'middles' or 'customers' does not fit {columns} columns")
        centres = z.get("centres")
        if centres is not None and (centres.ndim != 2 or not np.isfinite(centres).all()):
            raise UserError(f"{path} is damaged: the array 'centres' of shape {centres.shape} holds no directions")
        tallies: dict[str, dict[str, StandingCounts]] = {}
        for name in z:
            kind, _, rest = name.partition("|")
            if kind == "n":
                task, _, standing = rest.partition("|")
                tallies.setdefault(task, {})[standing] = _tally(z, rest, path, 3 * columns if standing == "columns" else None)
        return Outcomes(int(z["customers"].reshape(-1)[0]), z["middles"].astype(np.float32), tallies, centres)


def _tally(z: dict[str, NDArray[Any]], key: str, path: Path, rows: int | None) -> StandingCounts:
    n, total, squares = z[f"n|{key}"], z.get(f"total|{key}"), z.get(f"squares|{key}")
    fits = total is not None and n.ndim == 1 and total.ndim == 2 and len(total) == len(n) == (len(n) if rows is None else rows)
    if total is None or not fits or (squares is not None and squares.shape != total.shape):
        raise UserError(f"{path} is damaged: the counts of '{key[:80]}' do not fit one another")
    if not (np.isfinite(n).all() and np.isfinite(total).all() and (squares is None or np.isfinite(squares).all())):
        raise UserError(f"{path} is damaged: the counts of '{key[:80]}' hold a value that is no number")
    return StandingCounts(n.astype(np.int32), total.astype(np.float64), None if squares is None else squares.astype(np.float64))


def write_outcomes(run: Path, dataset: Dataset, config: Config) -> None:
    """Write `preprocess/outcomes.npz` of a run; nothing where no row was held out."""
    found = count_outcomes(dataset, config)
    if found is not None:
        found.save(run / "preprocess")


def count_outcomes(dataset: Dataset, config: Config, customers: int = CUSTOMERS, seed: int = 0) -> Outcomes | None:
    """Of the latest held-out row of each of at most `customers` customers; None where there is none."""
    rows = held_out(dataset, customers, seed)
    if not len(rows):
        return None
    pieces = list(_pieces(dataset, rows))
    features, said = (np.concatenate([getattr(p, x) for p in pieces]) for x in ("features", "said"))
    middles = _middles(features, said)
    with np.errstate(invalid="ignore"):
        sides = np.stack([features < middles, features == middles, features > middles], 2) & said[:, :, None]
    standings: dict[str, NDArray[np.bool_]] = {"columns": sides.reshape(len(rows), -1)}
    for name, width in (CLUSTER, FIELD_SHAPES["cluster_probs"][0]), *((f"hmm_{m}", N_STATES) for m in HMM_MODES):
        member = np.concatenate([p.members[name] for p in pieces])
        standings[name] = member[:, None] == np.arange(max(width, int(member.max(initial=0)) + 1))
    embeddings = np.concatenate([p.embedding for p in pieces])
    centres = _centres(embeddings, seed)
    if centres is not None:
        standings[MERCHANTS] = _nearest(embeddings, centres)[:, None] == np.arange(len(centres))
    tallies = {}
    for name, spec in config.tasks.items():
        if all(name in p.labels for p in pieces):
            values = outcome_values(spec, np.concatenate([p.labels[name] for p in pieces]))
            wanted = [k for k in standings if k == MERCHANTS or values.shape[1] <= WIDEST]
            if np.isfinite(values).any() and wanted:
                tallies[name] = {k: _tallied(standings[k], values, spec) for k in wanted}
    return Outcomes(len(rows), middles, tallies, centres)


def held_out(dataset: Dataset, customers: int, seed: int = 0) -> NDArray[np.int64]:
    """Ascending positions (file order) of the latest validation or test row of each of at most so many customers."""
    table = dataset.table(["customer_id", "cutoff", "split"])
    who, when, split = (np.asarray(table.column(c)).astype(str) for c in ("customer_id", "cutoff", "split"))
    mine = np.flatnonzero(split != "train")
    order = mine[np.lexsort((when[mine], who[mine]))]
    last = np.append(who[order][1:] != who[order][:-1], True) if len(order) else np.zeros(0, dtype=bool)
    found = np.sort(order[last])
    if len(found) > customers:
        found = np.sort(np.random.default_rng(seed).choice(found, customers, replace=False))
    return found.astype(np.int64)


def outcome_values(spec: TaskSpec, labels: NDArray[Any]) -> Array:
    """[n, outputs]: 1 or 0 of a class or a yes or no, else the number in the task's unit; NaN where it is not known."""
    y = np.asarray(labels, dtype=np.float64)
    if spec.kind == "regression":
        return np.expm1(y)[:, None] if spec.log_scale else y[:, None]
    if spec.kind == "binary":
        return np.where(y >= 0, y, np.nan)[:, None]
    classes = int(y.max(initial=-1)) + 1 if spec.kind == "contrastive" else spec.out_dim  # brands are numbered by the data
    return np.where(y[:, None] >= 0, y[:, None] == np.arange(max(classes, 1)), np.nan)


def _centres(embeddings: NDArray[np.float32], seed: int) -> NDArray[np.float32] | None:
    """[groups, d] unit directions; None where too few customers have an embedding."""
    from sklearn.cluster import KMeans  # late: scikit-learn

    size = np.linalg.norm(embeddings, axis=1)
    known = embeddings[size > 0] / size[size > 0, None]
    groups = min(GROUPS, len(known) // GROUPED)
    if groups < 2:
        return None
    found = KMeans(groups, n_init=10, random_state=seed).fit(known).cluster_centers_
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9), dtype=np.float32)


def _nearest(embeddings: NDArray[np.floating[Any]], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """[n] the nearest direction by cosine; -1 without an embedding."""
    return np.where((embeddings != 0).any(1), (embeddings @ centres.T).argmax(1), -1)


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some rows: features [n, columns], said [n, columns] cells that say anything, members {standing: [n]} (-1 where it has
    none), embedding [n, d] of the graph (0 where it has none), labels {task: [n]}."""

    features: NDArray[np.float32]
    said: NDArray[np.bool_]
    members: dict[str, NDArray[np.int64]]
    embedding: NDArray[np.float32]
    labels: dict[str, NDArray[Any]]

    @staticmethod
    def of(inputs: PLEClusterInput, empty: NDArray[np.bool_] | None) -> _Piece:
        features = inputs.features.float().numpy()
        present = {part_key(p): inputs.present(part_key(p)).numpy() for p in inputs.parts}
        said = column_use(present, len(features), features.shape[1], inputs.parts)
        members = {CLUSTER: inputs.cluster_ids.numpy().astype(np.int64)}
        for mode in HMM_MODES:
            states = getattr(inputs, f"hmm_{mode}")
            members[f"hmm_{mode}"] = np.full(len(inputs), -1, dtype=np.int64) if states is None else np.where(
                inputs.present(f"hmm_{mode}").numpy(), states[:, :N_STATES].argmax(1).numpy(), -1
            )  # fmt: skip
        graph = inputs.collaborative_features
        embedding = np.zeros((len(inputs), FIELD_SHAPES["collaborative_features"][0]), dtype=np.float32)
        if graph is not None:
            embedding = np.where(inputs.present("collaborative_features").numpy()[:, None], graph.float().numpy(), embedding)
        labels = {k: v.numpy() for k, v in (inputs.targets or {}).items() if v.dim() == 1}
        return _Piece(features, said if empty is None else said & ~empty, members, embedding, labels)


def _middles(features: NDArray[np.float32], said: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[columns] the (lower) median of those who have a value, itself one of the values; NaN where nobody has."""
    found = np.full(features.shape[1], np.nan, dtype=np.float32)
    for j in range(features.shape[1]):
        x = np.sort(features[said[:, j] & np.isfinite(features[:, j]), j])
        found[j] = x[(len(x) - 1) // 2] if len(x) else np.nan
    return found


def _tallied(standings: NDArray[np.bool_], values: Array, spec: TaskSpec) -> StandingCounts:
    """Of who stands where [n, standings] and what is known of them [n, outputs]."""
    known = np.isfinite(values[:, 0])
    where, y = standings[known], values[known]
    total, squares = np.zeros((where.shape[1], y.shape[1])), np.zeros((where.shape[1], y.shape[1]))
    for at in range(0, len(y), CHUNK):
        there, some = where[at : at + CHUNK].astype(np.float64).T, y[at : at + CHUNK]
        total += there @ some
        squares += there @ (some * some) if spec.kind == "regression" else 0.0
    return StandingCounts(where.sum(0).astype(np.int32), total, squares if spec.kind == "regression" else None)


def _pieces(dataset: Dataset, rows: NDArray[np.int64]) -> Iterator[_Piece]:
    """The rows, some thousands at a time."""
    first = 0
    for part in dataset.manifest.files:
        mine = rows[(rows >= first) & (rows < first + part.rows)]
        empty = _empty(dataset, part) if len(mine) else None
        for at in range(0, len(mine), CHUNK):
            chosen = mine[at : at + CHUNK]
            yield _Piece.of(dataset.take(chosen).inputs, None if empty is None else empty[chosen - first])
        first += part.rows


def _empty(dataset: Dataset, part: PartFile) -> NDArray[np.bool_] | None:
    """[rows of the part, columns] cells that say nothing; None where the dataset does not keep that."""
    if dataset.own is not None:
        return None
    try:
        column = dataset.part_table(part, [EMPTY]).column(EMPTY)
    except UserError:
        return None
    return np.asarray(decode_column(column, EMPTY, dataset.path, dataset.width), dtype=bool)
