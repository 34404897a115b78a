"""What would have to differ: at most three facts of this customer, as a similar customer with another result has them.

For each of the nearest customers of the sample with another result (nearest unlike neighbours; Keane and Smyth 2020) facts are
taken over one by one, the most useful first, until the result turns. Immutable, held and barred facts stay, what only time
moves goes one way, and all that is counted over the same events is one fact (`linked`). The model answers to the whole changed
customer, its cluster computed again. A change is given only where it is plausible: within the parts of the input
that it touches it must lie as near to a customer with that result as such customers lie to one another, all but the loneliest
twentieth of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.engine.score import distribution
from analysis.explain.linked import IMMUTABLE_PARTS, RISING, LinkedFacts, Rechecked, held_columns
from analysis.explain.origin.alike import fact_of
from analysis.explain.origin.fitted import clusters_of
from analysis.explain.origin.told import Columns, pair_of
from analysis.explain.sayable import ABSTRACT, sayable
from analysis.results.explanation_parts import Counterfactual, FeatureChange, Kind
from ple_model.numerals import LANGUAGES
from ple_model.presence import part_key

if TYPE_CHECKING:
    from analysis.engine.explainer import Explainer
    from analysis.engine.reference import Path
    from analysis.engine.score import Score
    from ple_model.data.dataset.normalize import Normalizer
    from ple_model.output import PLEClusterOutput

FACTS = 3
"""At most so many facts differ: what a person can keep in mind at once."""
NEIGHBOURS = 6
TRIED = 12
"""Facts that are tried for a neighbour, those that should help most by the gradient first."""
SHOWN = 3
"""Columns by which a fact is told: those that count most."""
WHOLE = re.compile(r"^channel_(store|app|web|contact)_share_365d$")
"""Few shares of one whole: where one is told, all that differ are, so that nothing is left unsaid."""
LONELY = 0.05
"""The share of real customers who are farther from all others than what still counts as plausible: one in twenty, as a 95 %
interval leaves out."""
Array = NDArray[np.float64]


def counterfactual(
    explainer: Explainer, path: Path, score: Score, gradient: Array, columns: Columns, normalizer: Normalizer,
    names: list[str], customer: str, barred: NDArray[np.bool_], held: Sequence[str] = (),
    sensitive: Mapping[str, Kind] | None = None,
) -> Counterfactual | None:  # fmt: skip
    """None where the sample has nobody with another result.

    `gradient` [columns]: mean gradient of the score on the way to the customer; `columns`: the customer's in real units. The
    result is the most probable class; for binary and regression tasks, the side of the population's mean prediction. `flips`
    False and no changes: no plausible change of at most `FACTS` facts was found. `sensitive`: columns that are marked.
    """
    return _Search(
        explainer, path, score, gradient, columns, normalizer, names, customer, barred, held, sensitive or {}
    ).found()  # fmt: skip


@dataclass(frozen=True)
class _Turn:
    """A change that turns the result: its facts, whose they are, the answer after it, and how near it is to real ones."""

    facts: tuple[int, ...]
    row: int
    after: float
    label: int | None
    nearness: float
    top: float
    """Probability of the class that comes first then; NaN without classes."""


class _Search:
    def __init__(
        self, explainer: Explainer, path: Path, score: Score, gradient: Array, columns: Columns, normalizer: Normalizer,
        names: list[str], customer: str, barred: NDArray[np.bool_], held: Sequence[str], sensitive: Mapping[str, Kind],
    ) -> None:  # fmt: skip
        self.e, self.path, self.score, self.gradient, self.columns = explainer, path, score, gradient, columns
        self.normalizer, self.names, self.customer = normalizer, names, customer
        self.schema, self.peers = explainer.model.context.schema, explainer.peers
        self.at = path.fields.index("features")
        self.own = path.ends[self.at][0].numpy()
        has = np.zeros(len(self.own), dtype=bool)
        for part, where in path.customer.parts.items():
            has[where] = part_key(part) not in path.absent
        self.sensitive = sensitive
        stays = held_columns(self.schema, barred, held, sensitive) | ~has
        self.facts = LinkedFacts.grouped(self.schema, self.peers, stays)
        self.tried = 0
        clusters = None if self.schema.own else clusters_of(explainer)
        self.rechecked = Rechecked.of(clusters, customer, path.customer)

    def found(self) -> Counterfactual | None:
        with torch.no_grad():
            before = self.e.model(self.path.customer)
            everyone = self.e.model.decode(self.e.encoded, sae=False, evidential=False)
        self.line = float(self.score(everyone).mean())
        self.value = float(self.score(before)[0])
        own, results = self._results(before)[0], self._results(everyone)
        other = np.flatnonzero(results != own)
        if not len(other):
            return None
        self.result = own
        distance = np.sqrt(((self.peers.features[other] - self.own) ** 2).mean(1))
        nearest = other[np.argsort(distance, kind="stable")[:NEIGHBOURS]]
        turns = [t for row in nearest for t in self._turns(int(row), results)]
        turns = [t for t in turns if t.nearness >= LONELY]
        held = tuple(p for p in self.e.model.context.parts if p in IMMUTABLE_PARTS)
        if not turns:
            return Counterfactual((), self.value, self.value, "", False, held, tried=self.tried)
        best = min(turns, key=lambda t: (len(t.facts), -t.nearness))
        return self._said(best, held)

    def _results(self, output: PLEClusterOutput) -> NDArray[Any]:
        """[n] the class, or which side of the mean."""
        if self.score.spec.kind in ("multiclass", "contrastive"):
            return np.asarray(distribution(self.e.model, output, self.score.task).argmax(1).numpy())
        return np.asarray(self.score(output).double().numpy() >= self.line)

    def _tops(self, output: PLEClusterOutput) -> Array:
        if self.score.spec.kind in ("multiclass", "contrastive"):
            return np.asarray(distribution(self.e.model, output, self.score.task).amax(1).double().numpy())
        return np.full(len(self.score(output)), np.nan)

    def _turns(self, row: int, results: NDArray[Any]) -> list[_Turn]:
        """Facts of one neighbour taken over, one more at a time, until the result turns."""
        theirs, chosen = self.peers.features[row], tuple[int, ...]()
        open_ = self._useful(theirs, self.normalizer.inverse(theirs[None])[0], row)
        for _ in range(FACTS):
            if not open_:
                return []
            tried = [(*chosen, f) for f in open_]
            after, result, tops = self._answers(tried, theirs)
            self.tried += len(tried)
            turned = [i for i in range(len(tried)) if result[i] != self.result]
            if turned:
                labels = [int(result[i]) if self.names else None for i in turned]
                return [
                    _Turn(
                        tried[i],
                        row,
                        float(after[i]),
                        label,
                        self._nearness(tried[i], theirs, results == result[i]),
                        float(tops[i]),
                    )
                    for i, label in zip(turned, labels, strict=True)
                ]
            best = int(np.argmin(self._sign * after))
            chosen = tried[best]
            open_ = [f for f in open_ if f != open_[best]]
        return []

    @property
    def _sign(self) -> float:
        """The score has to fall for a class, and towards the mean for a number."""
        return 1.0 if self.names or self.value >= self.line else -1.0

    def _useful(self, theirs: NDArray[np.float32], after: Array, row: int) -> list[int]:
        """The facts whose taking over should help most, by the mean gradient; only such as both have, as can go that way, and
        as can be told."""
        difference = (theirs - self.own).astype(np.float64)
        moved = (self.facts.of >= 0) & (np.abs(difference) > 0)
        gain = np.bincount(self.facts.of[moved], (-self._sign * self.gradient * difference)[moved], self.facts.n)
        order = [int(f) for f in np.argsort(-gain, kind="stable")[: 2 * TRIED] if gain[f] > 0]
        return [f for f in order if self._possible(f, theirs, after, row)][:TRIED]

    def _possible(self, fact: int, theirs: NDArray[np.float32], after: Array, row: int) -> bool:
        where = self.facts.columns(fact)
        if not any(self._readable(int(i), after) for i in where):
            return False
        there = all(self.peers.parts[self.schema.columns[int(i)].part][row] for i in where)
        rising = [int(i) for i in where if RISING.search(self.schema.columns[int(i)].name)]
        return there and all(theirs[i] >= self.own[i] for i in rising)

    def _changed(self, facts: tuple[int, ...], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(np.isin(self.facts.of, facts), theirs, self.own).astype(np.float32)

    def _answers(self, tried: list[tuple[int, ...]], theirs: NDArray[np.float32]) -> tuple[Array, NDArray[Any], Array]:
        """(score, result, probability of the first class) [n] of the whole changed customers."""
        rows = torch.from_numpy(np.stack([self._changed(t, theirs) for t in tried]))
        tensors = tuple(
            rows.to(t.dtype) if i == self.at else t.expand(len(tried), *t.shape[1:]) for i, t in enumerate(self.path.ends)
        )
        with torch.no_grad():
            output = self.e.model(self.rechecked.inputs(self.path.inputs(tensors)))
            return self.score(output).double().numpy(), self._results(output), self._tops(output)

    def _nearness(self, facts: tuple[int, ...], theirs: NDArray[np.float32], alike: NDArray[np.bool_]) -> float:
        """Share of the real customers with that result who lie farther from the nearest other one than the changed customer
        does, in the parts that are touched; 0 where there are too few to compare with."""
        touched = {self.schema.columns[int(i)].part for f in facts for i in self.facts.columns(f)}
        where = np.concatenate([np.arange(self.schema.parts[p].start, self.schema.parts[p].stop) for p in sorted(touched)])
        mine = np.array([c == self.customer for c in self.e.customers])
        rows = np.flatnonzero(alike & ~mine & np.all([self.peers.parts[p] for p in touched], axis=0))
        if len(rows) < 1 / LONELY:
            return 0.0
        real = self.peers.features[rows][:, where].astype(np.float64)
        changed = self._changed(facts, theirs)[where].astype(np.float64)
        own = float(((real - changed) ** 2).sum(1).min())
        squares = (real**2).sum(1)
        between = squares[:, None] + squares[None] - 2 * real @ real.T
        np.fill_diagonal(between, np.inf)
        return float((between.min(1) >= own - 1e-9).mean())

    def _said(self, turn: _Turn, held: tuple[str, ...]) -> Counterfactual:
        """In real units: each fact by one of its columns, the others along with it."""
        theirs = self.peers.features[turn.row]
        after = self.normalizer.inverse(self._changed(turn.facts, theirs)[None])[0]
        changes = [c for f in turn.facts for c in self._fact(f, theirs, after)]
        moved = np.concatenate([self.facts.columns(f) for f in turn.facts])
        name = "" if turn.label is None else self.names[turn.label] if turn.label < len(self.names) else f"class {turn.label}"
        return Counterfactual(
            tuple(changes), self.value, turn.after, name, True, held, facts=len(turn.facts), nearness=turn.nearness,
            rechecked=self.rechecked.matters(self.schema, moved), tried=self.tried,
            value_after=None if np.isnan(turn.top) else turn.top,
        )  # fmt: skip

    def _fact(self, fact: int, theirs: NDArray[np.float32], after: Array) -> list[FeatureChange]:
        """By the columns that count most among those whose difference can be read; of a category both values."""
        moved = [int(i) for i in self.facts.columns(fact) if theirs[i] != self.own[i]]
        told = [i for i in moved if self._readable(i, after)]
        if self.schema.own and self.schema.columns[moved[0]].unit == "flag" and len(self.facts.columns(fact)) > 1:
            return [self._change(i, after, ()) for i in told]
        order = sorted(told, key=lambda i: -abs(self.gradient[i] * (theirs[i] - self.own[i])))
        alike: dict[object, int] = {}
        for i in order:  # of the windows of one amount the one that counts most
            alike.setdefault(i if self.schema.own else fact_of(self.schema.columns[i]), i)
        chosen = list(alike.values())[: 1 if self.schema.own else SHOWN]
        if not self.schema.own and any(self._of_whole(i) for i in chosen):
            whole = [i for i in order if self._of_whole(i)]
            chosen = [*whole, *(i for i in chosen if i not in whole)][: max(SHOWN, len(whole))]
        lead, *more = chosen
        along = tuple((self.schema.columns[i].name, float(after[i])) for i in moved if i != lead and i not in more)
        shares = self._shares([i for i in chosen if not self.schema.own and self._of_whole(i)], after)
        return [self._change(i, after, along if i == lead else (), shares.get(i)) for i in chosen]

    def _shares(self, chosen: list[int], after: Array) -> dict[int, tuple[tuple[str, str], ...]]:
        """(now, then), alike in both languages, of shares of one whole, which add up to no more than it as they are written;
        empty where fewer than two are told."""
        if len(chosen) < 2:
            return {}
        written = ([f"{n / 10:.1f}%" for n in tenths(values[chosen])] for values in (self.columns.own, after))
        return {i: (pair,) * len(LANGUAGES) for i, pair in zip(chosen, zip(*written, strict=True), strict=True)}

    def _of_whole(self, column: int) -> bool:
        return WHOLE.search(self.schema.columns[column].name) is not None

    def _readable(self, i: int, after: Array) -> bool:
        """Whether the column's number tells a reader something, and is another one as it is written."""
        column = self.schema.columns[i]
        now, then = pair_of(column, float(self.columns.own[i]), float(after[i]), "en")
        return column.unit not in ABSTRACT and sayable(self.schema, column.name) and now != then

    def _change(
        self, i: int, after: Array, along: tuple[tuple[str, float], ...], shares: tuple[tuple[str, str], ...] | None = None
    ) -> FeatureChange:  # fmt: skip
        c = self.schema.columns[i]
        own = float(self.columns.own[i])
        mark = self.sensitive.get(c.name)
        words = shares or tuple(pair_of(c, own, float(after[i]), x) for x in LANGUAGES)
        return FeatureChange(
            c.name, own, float(after[i]), c.unit, c.sentence_en, c.sentence_ko, along, sensitive=mark, words=words
        )  # fmt: skip


def tenths(shares: Array) -> list[int]:
    """Shares of one whole as tenths of a percent that add up to no more than their sum: each rounded down, then the largest
    remainders go one up."""
    exact = np.asarray(shares, dtype=np.float64) * 1000
    found = np.floor(exact + 1e-6).astype(int)
    left = int(np.floor(exact.sum() + 1e-3)) - int(found.sum())  # columns are kept in single precision
    for i in np.argsort(found - exact, kind="stable")[: max(left, 0)]:
        found[i] += 1
    return [int(n) for n in found]
