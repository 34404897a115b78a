"""What other inputs still tell of each input of these rows, and what became of one that they tell no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from analysis.stats.consistency import InputSkill
from ple_model.consistency import Consistency, each_from_the_rest
from ple_model.input_columns import DIRECTIONS, SEQUENCES, Array, Values

FEWEST = 100
TOLD = 0.3
"""Correlation with the truth on held-out customers from which a direction counts as told by other inputs."""
SUSPECT = 0.8
"""Share of the skill below which, interval and all, an input is looked at more closely."""
MOST = 6
"""Inputs that are taken out at most."""
ROUNDS = 100
SAME = 0.7
"""Share of the skill that must come back for an explanation to hold."""
EXACT = 0.9
"""The same of an order of columns that was chosen by the skill it brings back: one that is not the true one, of an input that
was fitted anew, brings back a part."""
MIXED = 0.5
"""Distance of the directions' covariance from that of training from which they are others."""
FLAT = 1e-3
"""Standard deviation of a direction, which is 1 in training, below which it says nothing."""
UNLIKELY = 1e-3
Told = tuple[NDArray[np.int64], Array, Array]
"""Directions of an input, what other inputs say of them in each row [n, t], and the R2 of that at training [t]."""


class InputJudge:
    """The complete rows, and what other inputs tell of each input."""

    def __init__(self, reference: Consistency, values: Values, customers: Sequence[str]) -> None:
        self.reference, d = reference, reference.directions
        with np.errstate(all="ignore"):
            z = d.all(values)
        there = np.asarray(np.isfinite(z).reshape(len(z), len(d.keys), DIRECTIONS).all(2), dtype=bool)
        usable = reference.judged & (there.mean(0) > 0.25 if len(z) else False)
        self.keys = [k for k, u in zip(d.keys, usable, strict=True) if u]
        whole = there[:, usable].all(1)
        self.rows = int(whole.sum())
        self.every, self.every_z = values, z
        self.values, self.z = values[whole], np.nan_to_num(z[whole])
        self.z = self.z - self.z.mean(0) if self.rows else self.z
        self.customers = np.unique(np.asarray(customers, dtype=str)[whole], return_inverse=True)[1]
        self.reason = ""
        if not reference.judged.any():
            self.reason = "Too few training rows have all inputs: how they go together was not kept."
        elif self.rows < FEWEST or len(self.keys) < 2:
            self.reason = f"Not enough rows to say: {self.rows} have all inputs, {FEWEST} needed."

    def all(self) -> dict[str, InputSkill]:
        """By input; the lost ones first, in the order in which they were found."""
        lost = {k: InputSkill(0.0, 0.0, 0.0, 1.0, 0.0, "constant") for k in self.keys if self.constant(k)}
        left = [k for k in self.keys if k not in lost]
        while True:
            told = self._each(left)
            found = {k: s for k in left if (s := self.skill(told[k])) is not None}
            suspect = {k: s for k, s in found.items() if s.high < SUSPECT}
            taken = sum(v.kind != "constant" for v in lost.values())
            if not suspect or taken >= MOST or len(left) <= 2:
                return {**lost, **{k: v for k, v in found.items() if k not in lost}}
            worst = min(suspect, key=lambda k: (suspect[k].kept - 0.2 * suspect[k].then, k))
            left.remove(worst)
            kind, other = self.kind(worst, left)
            lost[worst] = replace(suspect[worst], kind=kind, other=other)

    def constant(self, key: str) -> bool:
        """Whether it says the same of all rows: in training its directions have a variance of 1."""
        used = self.reference.used([key])
        if not len(used) or float(self.z[:, used].std(0).max()) >= FLAT:
            return False
        # of an input that is nearly always the same, so few rows may be so by chance
        common = float(self.reference.covered[self.reference.directions.of(key)].min())
        return common ** len(np.unique(self.customers)) < UNLIKELY

    def told(self, key: str, others: Sequence[str]) -> Told | None:
        """(directions that others tell, what they tell of them [n, t], their R2 at training [t]); None where they tell none."""
        target, rest = self.reference.used([key]), self.reference.used(others)
        if not len(target) or not len(rest):
            return None
        weights = self.reference.weights(target, rest)
        known = self.reference.known(target, rest, weights)
        clear = known > TOLD
        return (target[clear], self.z[:, rest] @ weights[:, clear], known[clear] ** 2) if clear.any() else None

    def _each(self, keys: Sequence[str]) -> dict[str, Told | None]:
        """`told` of every input by all others of these, from one inverse."""
        found: dict[str, Told | None] = dict.fromkeys(keys)
        if len(keys) < 2 or not len(self.reference.used(keys)):
            return found
        weights = np.zeros((self.z.shape[1], self.z.shape[1]))
        clear: dict[str, tuple[NDArray[np.int64], Array]] = {}
        for key, (target, rest, some) in zip(keys, each_from_the_rest(self.reference, keys, self.reference.ridge), strict=True):
            known = self.reference.known(target, rest, some) if len(target) and len(rest) else np.zeros(len(target))
            if (known > TOLD).any():
                weights[np.ix_(rest, target)] = some
                clear[key] = target[known > TOLD], known[known > TOLD]
        if clear:
            every = np.concatenate([target for target, _ in clear.values()])
            guess = np.zeros_like(self.z)
            guess[:, every] = self.z @ weights[:, every]
            found.update({k: (target, guess[:, target], known**2) for k, (target, known) in clear.items()})
        return found

    def skill(self, told: Told | None) -> InputSkill | None:
        if told is None:
            return None
        target, guess, then = told
        truth = self.z[:, target]
        now = _signed(truth, guess, np.ones((1, self.rows)))[0]
        kept = float(now.sum() / then.sum())
        low = high = kept
        if kept < SUSPECT:
            count = int(self.customers.max()) + 1
            rng = np.random.default_rng(0)
            drawn = np.stack([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(ROUNDS)])
            spread = _signed(truth, guess, drawn[:, self.customers].astype(np.float64)).sum(1) / then.sum()
            half = 2.576 * float(spread.std())
            low, high = kept - half, kept + half
        return InputSkill(kept, low, high, float(then.mean()), float(now.mean()))

    def kind(self, key: str, others: Sequence[str]) -> tuple[str, str]:
        """What became of an input: the first explanation that brings its skill back, else what its own values say."""
        told = self.told(key, others)
        if told is None:
            return "changed", ""
        target, guess, then = told
        local = target - self.reference.directions.slice(key).start
        left = float(_signed(self.z[:, target], guess, np.ones((1, self.rows)))[0].sum())
        wanted = max(SAME * float(then.sum()), (left + float(then.sum())) / 2)

        def back(z: Array) -> bool:
            z = np.nan_to_num(z[:, local])
            return bool(_signed(z - z.mean(0), guess, np.ones((1, len(z))))[0].sum() >= wanted)

        d = self.reference.directions
        own = self.values[:, d.of(key)]
        for other in self._alike(key):
            if back(d.project(key, self.values[:, d.of(other)])):
                return "swapped", other
        if key in SEQUENCES and back(d.project(key, own[:, self._turned(key)])):
            return "reversed", ""
        if key not in SEQUENCES and any(back(d.project(key, own[:, order])) for order in self._orders(key, own)):
            return "columns", ""
        wanted = max(wanted, EXACT * float(then.sum()))  # found by what it must bring back, an order has to bring back all
        # of many columns that are alike some order always brings back much: asked where the columns' numbers are arbitrary
        for order in self._told_orders(key, own, local, guess) if key == "cluster_probs" else ():
            z = d.project(key, own[:, order])
            if back(z) and _apart(np.nan_to_num(z[:, local])) < MIXED:
                return "columns", ""
        if any(back(np.roll(d.project(key, own), by, axis=0)) for by in (-1, 1)):
            return "shifted", ""
        return self._by_itself(key), ""

    def _alike(self, key: str) -> Iterator[str]:
        """Other inputs of the same width and kind of name."""
        d = self.reference.directions
        for other in d.keys:
            if other != key and len(d.of(other)) == len(d.of(key)) and other.split("_")[0] == key.split("_")[0]:
                yield other

    def _orders(self, key: str, own: Values) -> Iterable[NDArray[np.int64]]:
        """Orders that may have been lost: turned round, and the one in which the columns' middles and scales fit best."""
        d = self.reference.directions
        width = own.shape[1]
        yield np.arange(width)[::-1]
        columns = d.of(key)
        low, middle, high = np.quantile(own, (0.1, 0.5, 0.9), axis=0)
        now = np.stack([middle, (high - low) / 2, own.mean(0)], 1)
        then = np.stack([d.middle[columns], d.scale[columns], d.middle[columns]], 1)
        size = np.abs(then).mean(0) + 1e-9
        cost = (np.abs(np.log1p(np.abs(now[None] - then[:, None]) / size))).sum(2)
        yield linear_sum_assignment(cost)[1]

    def _told_orders(self, key: str, own: Values, local: NDArray[np.int64], guess: Array) -> Iterator[NDArray[np.int64]]:
        """The order in which the columns go best with what the other inputs tell of each of them."""
        d = self.reference.directions
        basis = d.basis[d.of(key)][:, local].astype(np.float64)
        if own.shape[1] < 3:
            return
        told = guess @ np.linalg.pinv(basis)  # [n, columns], as far as the directions hold them
        told, x = told - told.mean(0), own - own.mean(0)
        size = np.outer(np.linalg.norm(told, axis=0), np.linalg.norm(x, axis=0))
        together = (told.T @ x) / np.maximum(size, 1e-9)
        yield linear_sum_assignment(-together)[1]

    def _turned(self, key: str) -> NDArray[np.int64]:
        """The columns of a sequence with its first and last third exchanged."""
        d = self.reference.directions
        names = [d.columns[j] for j in d.of(key)]
        place = {n: i for i, n in enumerate(names)}

        def other(name: str) -> str:
            if name.endswith("first third"):
                return name.replace("first third", "last third")
            return name.replace("last third", "first third") if name.endswith("last third") else name

        return np.array([place[other(n)] for n in names])

    def _by_itself(self, key: str) -> str:
        """Whether its columns look as in training one by one and among themselves, over all rows that have it: then they are
        other customers'. Directions are uncorrelated among the training rows by their making."""
        d = self.reference.directions
        columns, z = d.of(key), self.every_z[:, d.slice(key)]
        there = np.isfinite(z).all(1)
        low, middle, high = np.quantile(self.every[there][:, columns], (0.1, 0.5, 0.9), axis=0)
        moved = np.abs(middle - d.middle[columns]) > 0.5 * d.scale[columns] + 1e-6
        stretched = np.abs(np.log((high - low + 1e-6) / (2 * d.scale[columns] + 1e-6))) > np.log(2)
        if float((moved | (stretched & (high > low))).mean()) > 0.2:
            return "changed"
        z = z[there][:, self.reference.used([key]) - d.slice(key).start]
        if _apart(z) < MIXED:
            return "rows"
        return "mixed" if len(columns) > 1 else "changed"


def _apart(z: Array) -> float:
    """How far directions [n, d] are from having unit variance and no correlation, as they had in training."""
    return float(np.linalg.norm(np.cov(z.T).reshape(z.shape[1], -1) - np.eye(z.shape[1])) / np.sqrt(z.shape[1]))


def _signed(truth: Array, guess: Array, weight: Array) -> Array:
    """[rounds, t] squared correlations with their sign, rows weighted [rounds, n]."""
    total = weight.sum(1, keepdims=True)
    a, b = weight @ truth / total, weight @ guess / total
    cross = weight @ (truth * guess) / total - a * b
    va, vb = weight @ (truth * truth) / total - a * a, weight @ (guess * guess) / total - b * b
    with np.errstate(divide="ignore", invalid="ignore"):  # what does not vary goes with nothing
        return np.asarray(np.nan_to_num(cross * np.abs(cross) / (va * vb), posinf=0.0, neginf=0.0))
