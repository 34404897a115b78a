"""What `ple bench reasons` found, as rows: shares of customers whose true cause is among the first reasons, by method over all
tasks, by task, by cause; each method's difference from what pages show; and how faithful each is.

Over all tasks: the mean of the tasks' shares, so that each task counts alike; its interval resamples customers with all of
their tasks. Of one task: Wilson's interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.bench.planted import expressible
from analysis.engine.paired import PairedBootstrap
from ple_model.bench.measure import Row, Target
from ple_model.wilson import wilson

Array = NDArray[np.float64]
FIRST = (1, 3, 5)
WANTED = Target(0.9)
CHANCE = "chance"
ROUNDS = 1000


@dataclass(frozen=True)
class Places:
    """Where the true cause was said, by task and method: [customers] ranks from 1 among the reasons shown and among those of
    either side (0: not among the first five), and the chance of the first k [customers, k] of all that could be said in random
    order."""

    customers: list[str] = field(default_factory=list)
    causes: list[frozenset[str]] = field(default_factory=list)
    shown: dict[str, list[int]] = field(default_factory=dict)
    either: dict[str, list[int]] = field(default_factory=dict)
    counted: dict[str, list[int]] = field(default_factory=dict)
    """As `shown`, where one of all the columns whose contributions are in the reason counts."""
    chance: list[tuple[float, ...]] = field(default_factory=list)
    weighs: list[bool] = field(default_factory=list)
    """[customers] whether all inputs of the true causes together move the prediction by as much as the third reason shown."""
    named: list[list[tuple[str, ...]]] = field(default_factory=list)
    """[customers] the inputs of the first three reasons that pages show."""
    tests: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    """method -> by customer (deletion, insertion, infidelity, sensitivity, likeness)."""

    def hits(self, method: str, k: int, of: Literal["shown", "either", "counted"] = "shown") -> Array:
        """[customers] 1 where the true cause is among the first `k`; the chance of it for `CHANCE`."""
        if method == CHANCE:
            return np.array([c[FIRST.index(k)] for c in self.chance])
        found: dict[str, list[int]] = getattr(self, of)
        places = np.array(found[method])
        return ((places > 0) & (places <= k)).astype(np.float64)


TESTS = ("deletion", "insertion", "infidelity", "sensitivity", "randomisation")


def rows(places: Mapping[str, Places]) -> list[Row]:
    """Over all tasks by method, by task and method, each method's difference from the first, faithfulness, and by cause."""
    used = {t: p for t, p in places.items() if p.customers}
    if not used:
        return []
    methods = list(next(iter(used.values())).shown)
    found = [
        share_row(f"all tasks, {m}", list(used.values()), m, WANTED if m == methods[0] else None) for m in (*methods, CHANCE)
    ]
    for task, p in used.items():
        found += [share_row(f"{task}, {m}", [p], m, WANTED if m == methods[0] else None) for m in (*methods, CHANCE)]
    found += [_against(list(used.values()), m, methods[0]) for m in methods[1:]]
    found += [_faith(list(used.values()), m) for m in methods if any(p.tests.get(m) for p in used.values())]
    found += [_cause(c, task, p, methods[0]) for task, p in used.items() for c in sorted({x for cs in p.causes for x in cs})]
    return found


def share_row(measure: str, places: Sequence[Places], method: str, target: Target | None) -> Row:
    """The share of questions whose true cause is among the first reasons by this method, of one task or of several."""
    first: dict[int, tuple[float, float, float]] = {}
    for k in FIRST:
        hits = [p.hits(method, k) for p in places]
        if len(places) == 1:
            low, high = (float(x) for x in wilson(hits[0].sum(), len(hits[0])))
            first[k] = float(hits[0].mean()), low, high
        else:
            first[k] = _mean_of_tasks(places, hits)
    detail = {f"first {k}": first[k][0] for k in FIRST}
    if method != CHANCE:
        for of, said in (("either", "first 3, either side"), ("counted", "first 3, counted in it")):
            detail[said] = float(np.mean([p.hits(method, 3, of).mean() for p in places]))  # type: ignore[arg-type]
    detail["no input says it"] = float(np.mean([np.mean([not expressible(c) for c in p.causes]) for p in places]))
    detail["customers"] = float(len({c for p in places for c in p.customers}))
    value, low, high = first[3]
    what = f"{measure}: true cause in the first 3"
    return Row("reasons", what, value, target, unit="share", low=low, high=high, detail=detail)


def _mean_of_tasks(places: Sequence[Places], hits: Sequence[Array]) -> tuple[float, float, float]:
    weight = np.concatenate([np.full(len(h), 1 / len(h)) for h in hits])
    customers = [c for p in places for c in p.customers]
    scaled = np.concatenate(hits) * weight * len(weight) / len(places)
    found = PairedBootstrap.of_means(scaled, scaled, customers).run(ROUNDS)[0]
    return found.value, found.low, found.high


def _against(places: Sequence[Places], method: str, other: str) -> Row:
    hits = [[p.hits(m, 3) for p in places] for m in (other, method)]
    weight = np.concatenate([np.full(len(h), 1 / len(h)) for h in hits[0]])
    scaled = [np.concatenate(h) * weight * len(weight) / len(places) for h in hits]
    difference = PairedBootstrap.of_means(scaled[0], scaled[1], [c for p in places for c in p.customers]).run(ROUNDS)[2]
    return Row("reasons", f"all tasks, {method} less {other}: first 3", difference.value, unit="share", low=difference.low,
               high=difference.high)  # fmt: skip


def _faith(places: Sequence[Places], method: str) -> Row:
    tests = np.concatenate([np.array(p.tests[method]) for p in places if p.tests.get(method)])
    detail = {name: float(np.nanmedian(tests[:, i])) for i, name in enumerate(TESTS)} | {"questions": float(len(tests))}
    both = tests[:, :2].mean(1)
    low, high = np.percentile(np.random.default_rng(0).choice(both, (ROUNDS, len(both))).mean(1), (2.5, 97.5))
    measure = f"all tasks, {method}: random orders that deletion and insertion beat"
    return Row("reasons", measure, float(both.mean()), unit="share", low=float(low), high=float(high), detail=detail)


def _cause(cause: str, task: str, places: Places, method: str) -> Row:
    own = np.array([cause in c for c in places.causes])
    hits = {m: places.hits(m, 3)[own] for m in (method, CHANCE)}
    low, high = (float(x) for x in wilson(hits[method].sum(), own.sum()))
    detail = {"chance": float(hits[CHANCE].mean()), "customers": float(own.sum())}
    if not expressible([cause]):
        detail["no input says it"] = 1.0
    measure = f"{task}, {method}, where {cause} is a true cause: any true one in the first 3"
    return Row("reasons", measure, float(hits[method].mean()), unit="share", low=low, high=high, detail=detail)
