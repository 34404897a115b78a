"""Causes that rows tell themselves: classes numbered anew, positives lost, two units in a column, columns in other places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from analysis.checks.delivery import _mixed
from analysis.checks.joined import joined
from analysis.checks.labels import constant_factor
from analysis.checks.renumbered import numbered_otherwise, other_order
from analysis.checks.thresholds import Thresholds
from analysis.consistency import measure
from analysis.consistency.stand_ins import of_still_columns, stand_ins
from analysis.label_rate import missing
from analysis.relabelled import agreement, relabelled
from analysis.stats.consistency import ConsistencyStats
from analysis.stats.labels import Relabelled, TaskLabels
from analysis.units import other_units
from ple_model.consistency import Consistency, consistency_of
from ple_model.profile import Profile, bin_counts, quantile_edges
from tests.analysis.planted import healthy

T = Thresholds()
K, N = 6, 700
Labels = NDArray[np.int64]
Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def told(seed: int, sharp: float = 1.5) -> tuple[Labels, NDArray[np.float64], tuple[int, ...]]:
    """Classes [N] drawn from what a calibrated model says [N, K], and the training rows by class."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(N, K)) + np.array([1.5, 1.0, 0.5, 0.0, -0.5, -1.0])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (rng.random(N)[:, None] > p.cumsum(1)).sum(1)
    return np.minimum(y, K - 1), p, tuple(int(v) for v in 1000 * p.mean(0))


def order_of(y: Labels, p: NDArray[np.float64], trained: tuple[int, ...], found: float = 0.3) -> Relabelled | None:
    r = relabelled(agreement(y, p), trained, 1.0)
    return None if r is None else Relabelled(r.order, r.n, r.deviations, r.skill, r.again, found)


@pytest.mark.parametrize("seed", range(6))
def test_labels_as_they_were_trained_on_and_labels_of_others_are_not_numbered_anew(seed: int) -> None:
    y, p, trained = told(seed)
    for labels in (y, np.random.default_rng(seed).permutation(y)):
        r = order_of(labels, p, trained)
        assert r is None or not other_order(r, T)


@pytest.mark.parametrize(
    ("order", "cause"),
    [
        ((5, 0, 1, 2, 3, 4), "each is one place on"),
        ((2, 3, 4, 5, 0, 1), "from another start."),
        ((3, 1, 0, 5, 4, 2), "in the order of their names"),
        ((4, 1, 2, 3, 0, 5), "two classes were exchanged"),
    ],
)
def test_another_numbering_is_found_and_said(order: tuple[int, ...], cause: str) -> None:
    y, p, trained = told(3)
    r = order_of(np.argsort(order)[y], p, trained)  # label k now means class order[k]
    assert r is not None
    assert r.order == order
    assert other_order(r, T)
    names = ("c", "b", "f", "a", "e", "d")  # sorted: a b c d e f, the classes 3 1 0 5 4 2
    counts = tuple(np.bincount(np.argsort(order)[y], minlength=K).tolist())
    said = numbered_otherwise("life_stage", TaskLabels("multiclass", N, N, K, counts, trained=trained, names=names), r, T)
    assert cause in said.cause
    assert f"{next(k for k in range(K) if order[k] != k)} = " in said.verdict


def test_classes_counted_from_one_are_told_though_the_last_two_run_together() -> None:
    y, p, trained = told(4)
    moved = np.minimum(y + 1, K - 1)
    r = order_of(moved, p, trained)
    assert r is not None
    assert other_order(r, T)
    counts = tuple(np.bincount(moved, minlength=K).tolist())
    said = numbered_otherwise("timing", TaskLabels("multiclass", N, N, K, counts, trained=trained), r, T)
    assert "one place on" in said.cause


def lost_positives(regions: tuple[str, ...], seed: int = 0, field: str = "raw:region") -> dict[str, tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.1, 0.6, 1200)
    y = (rng.random(1200) < p).astype(float)
    where = rng.choice(["North/1", "North/2", "East/1", "East/2", "South/1", "West/1"], 1200)
    y[np.isin(where, regions)] = 0
    with duckdb.connect(":memory:") as c:
        told = {"split": ["test"] * 1200 + ["train"], field: [*where.tolist(), "Moon"]}
        told |= {"y:retention": [*y.tolist(), 0.0], "p:retention": [*p.tolist(), 0.9]}
        c.register("rows", pa.table(told))
        found = missing(c, [field], ["retention"], fresh=True)
    return {task: m.values for task, m in found.items()}


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        (("North/1", "North/2", "East/1", "East/2"), ("East", "North")),
        (("South/1",), ("South/1",)),
        ((), None),
    ],
)
def test_where_positives_are_missing_is_named(regions: tuple[str, ...], said: tuple[str, ...] | None) -> None:
    assert lost_positives(regions).get("retention") == said


@pytest.mark.parametrize("seed", range(1, 9))
def test_no_group_is_named_by_chance(seed: int) -> None:
    assert lost_positives((), seed) == {}


PARTS = {f"part{i}": slice(8 * i, 8 * i + 8) for i in range(6)}
NAMES = [f"x{j}" for j in range(48)]
COLUMNS = [(f"features:{part}", NAMES[j]) for part, c in PARTS.items() for j in range(c.start, c.stop)]


def amounts(n: int, seed: int) -> NDArray[np.float32]:
    """[n, 48] columns of their own middles and scales, all of the same eight causes."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(7)
    mixing, middle, scale = fixed.normal(size=(8, 48)), fixed.normal(scale=2, size=48), fixed.uniform(0.3, 1.5, 48)
    x = rng.normal(size=(n, 8)) @ mixing / np.sqrt(8) + 0.4 * rng.normal(size=(n, 48))
    return np.asarray(middle + scale * x, dtype=np.float32)


def profiled(x: NDArray[np.float32]) -> Profile:
    edges = np.stack([quantile_edges(c) for c in x.T])
    extremes = np.stack([x.min(0), x.max(0)], 1)
    every = np.ones(x.shape, dtype=bool)
    return Profile(len(x), edges, bin_counts(x, every, edges), {}, {}, np.zeros(5), extremes)


def logs(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """What is kept as a logarithm, in its own units."""
    return np.asarray(np.exp(x.astype(np.float64)))


def in_two_units(share: float, times: float, seed: int = 2, n: int = 1500) -> dict[str, tuple[float, float]]:
    x = amounts(n, seed)
    hit = np.random.default_rng(seed).random(n) < share
    x[hit, 8:12] += np.float32(np.log(times))
    found = other_units(x, NAMES, PARTS, profiled(amounts(5000, 1)), logs)
    return {
        u.column: (u.factor.times, u.share) for u in found if (_mixed(u, T) if u.share < 1 else constant_factor(u.factor, T))
    }


@pytest.mark.parametrize("times", [100.0, 0.01, 1000.0, 1e-3])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_share_of_a_column_in_another_unit_is_told_with_factor_and_share(share: float, times: float) -> None:
    found = in_two_units(share, times)
    assert set(found) == set(NAMES[8:12])
    for factor, part in found.values():
        assert factor == pytest.approx(times, rel=0.4)
        assert part == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("seed", range(2, 7))
def test_columns_of_one_unit_are_silent(seed: int) -> None:
    assert in_two_units(0.0, 100.0, seed) == {}


def test_a_season_that_raises_the_amounts_of_some_is_no_unit() -> None:
    assert in_two_units(0.4, 3.0) == {}


@pytest.fixture(scope="module")
def reference() -> tuple[Consistency, Profile]:
    train = amounts(3000, 1)
    return consistency_of(COLUMNS, train, ["2025-03-01"] * 3000, amounts(900, 2)), profiled(train)


def judged(
    reference: tuple[Consistency, Profile], change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> ConsistencyStats:
    x = change(amounts(800, 3))
    people = [f"c{i}" for i in range(800)]
    return measure(reference[0], COLUMNS, x, people, ["2025-04-01"] * 800, reference[1])


def _zero_and_more(n: int, seed: int) -> NDArray[np.float32]:
    """[n, 48] columns a fifth of whose rows are 0."""
    x = amounts(n, seed)
    x[np.random.default_rng(seed).random(x.shape) < 0.2] = 0
    return x


def _all_moved(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x + np.float32(2.5)


def _moved_by_one(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x + x.std(0)


def _upper_third(x: NDArray[np.float32]) -> NDArray[np.float32]:
    x[x[:, 3] > np.quantile(x[:, 3], 2 / 3), 3] = -99
    return x


def _permuted(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first part holds the columns of the second, in other units."""
    return np.concatenate([5 + 3 * x[:, 8:16], x[:, 8:]], axis=1)


def _zero_as(value: float) -> Change:
    def change(x: NDArray[np.float32]) -> NDArray[np.float32]:
        x[x == 0] = value
        return x

    return change


def _default(x: NDArray[np.float32]) -> NDArray[np.float32]:
    x[:160, 3] = -99
    return x


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (_all_moved, set()),
        (_moved_by_one, set()),
        (_upper_third, {"features:part0"}),
        (_permuted, set()),
        (_zero_as(-9.0), {f"features:{part}" for part in PARTS}),
        (_default, {"features:part0"}),
    ],
)
def test_a_value_that_moved_with_its_column_stands_in_for_nothing(change: Change, kept: set[str]) -> None:
    train = _zero_and_more(3000, 1)
    known = consistency_of(COLUMNS, train, ["2025-03-01"] * 3000, _zero_and_more(900, 2))
    x = change(_zero_and_more(800, 3))
    found = tuple(stand_ins(known, COLUMNS, x, ["2025-04-01"] * 800))
    assert {one.input for one in found} >= (kept or {"features:part0"})  # told without a look at the rest of the column
    assert {one.input for one in of_still_columns(found, x, NAMES, profiled(train))} == kept


def _on_by_one(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([x[:, :10], x[:, 11:], np.zeros((len(x), 1), np.float32)], axis=1)


def _back_by_two(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([x[:, :10], x[:, :2], x[:, 10:46]], axis=1)


def _exchanged(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([x[:, 30:42], x[:, 12:30], x[:, :12], x[:, 42:]], axis=1)


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (_on_by_one, {(10, 46, 1)}),
        (_back_by_two, {(12, 47, -2)}),
    ],
)
def test_columns_in_other_places_are_one_finding(
    reference: tuple[Consistency, Profile],
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    runs: set[tuple[int, int, int]],
) -> None:
    x = judged(reference, change)
    assert {(d.first, d.last, d.by) for d in x.displaced} == runs
    found = list(joined(replace(healthy(), consistency=x), T))
    assert [f.subject for f in found] == ["features"]
    assert "hold the values of columns" in found[0].verdict


def _sorted(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x[:, np.random.default_rng(1).permutation(48)]


@pytest.mark.parametrize("change", [_exchanged, _sorted])
def test_columns_sorted_otherwise_and_blocks_exchanged_are_one_finding_too(
    reference: tuple[Consistency, Profile], change: Change
) -> None:
    x = judged(reference, change)
    assert x.displaced
    assert max(v.high for v in x.skill.values()) >= T.join_kept
    s = replace(healthy(), consistency=x)
    assert [f.subject for f in joined(s, T)] == ["features"]


@pytest.mark.parametrize("part", [0, 3])
def test_a_part_of_other_customers_is_no_displacement(reference: tuple[Consistency, Profile], part: int) -> None:
    def shuffle(x: NDArray[np.float32]) -> NDArray[np.float32]:
        own = slice(8 * part, 8 * part + 8)
        x[:, own] = x[np.random.default_rng(0).permutation(len(x)), own]
        return x

    x = judged(reference, shuffle)
    assert x.displaced == ()
    assert [k for k, v in x.skill.items() if v.high < T.join_kept] == [f"features:part{part}"]


@pytest.mark.parametrize("seed", range(3))
def test_a_part_that_was_fitted_anew_is_no_other_order_of_its_columns(
    reference: tuple[Consistency, Profile], seed: int
) -> None:
    def rotate(x: NDArray[np.float32]) -> NDArray[np.float32]:
        own = slice(24, 32)
        turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 8)))
        middle = x[:, own].mean(0)
        x[:, own] = middle + (x[:, own] - middle) @ turn
        return x

    x = judged(reference, rotate)
    assert [k for k, v in x.skill.items() if v.high < T.join_kept] in ([], ["features:part3"])
    assert x.skill["features:part3"].kind in ("", "changed")


def test_a_part_that_says_the_same_of_all_is_told_and_blames_no_other(reference: tuple[Consistency, Profile]) -> None:
    def empty(x: NDArray[np.float32]) -> NDArray[np.float32]:
        x[:, 16:24] = 0
        return x

    x = judged(reference, empty)
    assert [(k, v.kind) for k, v in x.skill.items() if v.high < T.join_kept] == [("features:part2", "constant")]
    assert x.stand_ins == ()


@pytest.mark.parametrize(
    ("share", "value", "beyond"), [(0.2, 60.0, True), (0.1, 60.0, True), (0.2, None, False), (0.1, None, False)]
)
def test_a_default_of_many_rows_is_a_stand_in_beyond_the_range_and_within(
    reference: tuple[Consistency, Profile], share: float, value: float | None, beyond: bool
) -> None:
    def default(x: NDArray[np.float32]) -> NDArray[np.float32]:
        hit = np.random.default_rng(4).random(len(x)) < share
        x[hit, 5] = np.median(x[:, 5]) if value is None else value
        return x

    x = judged(reference, default)
    assert [(s.column, s.beyond) for s in x.stand_ins] == [("x5", beyond)]
