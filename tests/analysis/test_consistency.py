"""Which input no longer goes with its row, and what became of it; values that stand in for others; rows twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.checks import checks
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.consistency import measure
from analysis.stats.consistency import ConsistencyStats
from ple_model.consistency import FILE, RIDGES, Consistency, consistency_of, each_from_the_rest
from ple_model.errors import UserError
from ple_model.input_columns import SEQUENCES, THIRDS
from ple_model.repeated_rows import repeated_rows
from tests.analysis.planted import healthy

Rows = NDArray[np.float32]
N = 700
PLAIN = ("hmm_journey", "hmm_behavior", "collaborative_features", "features:rfm", "tda_features")
COLUMNS = [
    *((k, f"{k}[{j}]") for k in PLAIN for j in range(5)),
    *((SEQUENCES[0], f"{SEQUENCES[0]}[{j}] {third} third") for third in THIRDS for j in range(2)),
]
PEOPLE, DATES = [f"c{i // 2}" for i in range(N)], [f"2025-0{4 + i % 2}-01" for i in range(N)]


def rows(n: int, seed: int) -> Rows:
    """Six causes of a customer; every input is a mixture of them with noise of its own, on a scale of its own."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(5)
    mixing, offset, size = (
        fixed.normal(size=(6, len(COLUMNS))),
        fixed.normal(size=len(COLUMNS)),
        fixed.uniform(0.5, 4, len(COLUMNS)),
    )
    cause = rng.normal(size=(n, 6))
    return np.asarray(offset + size * (cause @ mixing + 0.7 * rng.normal(size=(n, len(COLUMNS)))), dtype=np.float32)


@pytest.fixture(scope="module")
def reference() -> Consistency:
    return consistency_of(COLUMNS, rows(2000, 1), ["2025-03-01"] * 2000, rows(900, 2))


@pytest.mark.parametrize("ridge", RIDGES)
def test_every_input_from_the_rest_at_once_is_one_regression_each(reference: Consistency, ridge: float) -> None:
    keys = [k for k, j in zip(reference.directions.keys, reference.judged, strict=True) if j]
    assert len(keys) > 2
    for key, (target, others, weights) in zip(keys, each_from_the_rest(reference, keys, ridge), strict=True):
        assert target.tolist() == reference.used([key]).tolist()
        assert others.tolist() == reference.used([k for k in keys if k != key]).tolist()
        np.testing.assert_allclose(weights, reference.weights(target, others, ridge), rtol=1e-6, atol=1e-9)


def of(key: str) -> NDArray[np.int64]:
    return np.array([j for j, (k, _) in enumerate(COLUMNS) if k == key])


def found(reference: Consistency, change: Callable[[Rows], None], seed: int = 3) -> ConsistencyStats:
    x = rows(N, seed)
    change(x)
    return measure(reference, COLUMNS, x, PEOPLE, DATES)


def lost(stats: ConsistencyStats) -> dict[str, tuple[str, str]]:
    return {k: (s.kind, s.other) for k, s in stats.skill.items() if s.high < 0.6}


@pytest.mark.parametrize("seed", range(3, 8))
def test_healthy_rows_lose_nothing(reference: Consistency, seed: int) -> None:
    stats = found(reference, lambda x: None, seed)
    assert lost(stats) == {}
    assert stats.stand_ins == ()
    assert min(s.kept for s in stats.skill.values()) > 0.85
    assert (stats.repeated, stats.rows) == (0.0, N)


def test_a_population_that_moved_as_a_whole_is_joined_as_before(reference: Consistency) -> None:
    def moved(x: Rows) -> None:
        x[:, of("features:rfm")] = 1.5 * x[:, of("features:rfm")] + 2

    assert lost(found(reference, moved)) == {}


def _shuffled(x: Rows) -> None:
    x[:, of("hmm_behavior")] = x[np.random.default_rng(0).permutation(N)][:, of("hmm_behavior")]


def _swapped(x: Rows) -> None:
    a, b = of("hmm_journey"), of("hmm_behavior")
    x[:, a], x[:, b] = x[:, b].copy(), x[:, a].copy()


def _permuted(x: Rows) -> None:
    x[:, of("collaborative_features")] = x[:, of("collaborative_features")[[2, 4, 1, 0, 3]]]


def _turned(x: Rows) -> None:
    x[:, of("txn_seq")] = x[:, of("txn_seq")[[4, 5, 2, 3, 0, 1]]]


def _off_by_one(x: Rows) -> None:
    x[:, of("tda_features")] = np.roll(x[:, of("tda_features")], 1, axis=0)


def _refitted(x: Rows) -> None:
    x[:, of("tda_features")] = np.random.default_rng(0).normal(3, 9, size=(N, 5))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_shuffled, {"hmm_behavior": ("rows", "")}),
        (_swapped, {"hmm_journey": ("swapped", "hmm_behavior"), "hmm_behavior": ("swapped", "hmm_journey")}),
        (_permuted, {"collaborative_features": ("columns", "")}),
        (_turned, {"txn_seq": ("reversed", "")}),
        (_off_by_one, {"tda_features": ("shifted", "")}),
        (_refitted, {"tda_features": ("changed", "")}),
    ],
)
def test_a_lost_input_is_named_with_what_became_of_it(
    reference: Consistency, change: Callable[[Rows], None], expected: dict[str, tuple[str, str]]
) -> None:
    assert lost(found(reference, change)) == expected


def test_a_stand_in_is_named_and_a_value_that_training_shared_is_not(reference: Consistency) -> None:
    def sentinel(x: Rows) -> None:
        x[::9, of("features:rfm")[3]] = -999

    (one,) = found(reference, sentinel).stand_ins
    assert (one.column, one.value) == ("features:rfm[3]", -999.0)
    assert one.share == pytest.approx(1 / 9, abs=0.01)
    train = rows(2000, 1)
    train[::7, of("features:rfm")[3]] = -999
    shared = consistency_of(COLUMNS, train, ["2025-03-01"] * 2000, rows(900, 2))
    assert found(shared, sentinel).stand_ins == ()


def test_a_value_that_moved_with_its_column_is_no_stand_in() -> None:
    def shared(x: Rows) -> None:
        x[::7, of("collaborative_features")[3]] = x.min()

    def moved(x: Rows) -> None:
        shared(x)
        _permuted(x)

    train = rows(2000, 1)
    shared(train)
    stats = found(consistency_of(COLUMNS, train, ["2025-03-01"] * 2000, rows(900, 2)), moved)
    assert lost(stats) == {"collaborative_features": ("columns", "")}
    assert stats.stand_ins == ()


def test_columns_that_are_cut_off_are_one_finding_and_no_stand_ins(reference: Consistency) -> None:
    def clipped(x: Rows) -> None:
        x[:, :20] = np.clip(x[:, :20], -2.0, 2.0)
        x[::9, of("tda_features")[3]] = -999

    s = replace(healthy(), consistency=found(reference, clipped))
    shown = [f for f in run_check(checks()["INPUT-SENTINEL"], s, Thresholds()) if f.alarm]
    assert [f.subject for f in shown] == ["inputs", "tda_features"]
    assert "are cut off at -2, 2:" in shown[0].verdict
    assert "-999" in shown[1].verdict


def test_a_value_of_a_date_is_no_stand_in(reference: Consistency) -> None:
    def season(x: Rows) -> None:
        x[1::2, of("features:rfm")[3]] = 777.0  # all rows of one cut-off

    assert found(reference, season).stand_ins == ()


def test_rows_that_say_the_same_in_nearly_all_columns_are_found() -> None:
    x = rows(200, 4)
    x[150:160] = x[:10]
    x[150:160, 3] += 1.0  # one column apart
    same = repeated_rows(x, ["2025-04-01"] * 200)
    assert set(np.flatnonzero(same)) == {*range(10), *range(150, 160)}
    assert not repeated_rows(x, ["2025-04-01"] * 150 + ["2025-05-01"] * 50).any()


def test_too_few_rows_an_older_run_and_another_table_are_reasons(reference: Consistency) -> None:
    assert "before" in measure(None, COLUMNS, rows(200, 1), PEOPLE[:200], DATES[:200]).reason
    few = measure(reference, COLUMNS, rows(40, 1), PEOPLE[:40], DATES[:40])
    assert "40 have all inputs" in few.reason
    assert "other columns" in measure(reference, COLUMNS[:5], rows(200, 1)[:, :5], PEOPLE[:200], DATES[:200]).reason
    without = [j for j, (k, _) in enumerate(COLUMNS) if k != "txn_seq"]  # absent from the whole dataset
    some = measure(reference, [COLUMNS[j] for j in without], rows(N, 3)[:, without], PEOPLE, DATES)
    assert (lost(some), "txn_seq" in some.skill, some.reason) == ({}, False, "")


def test_it_is_kept_small_and_read_back(reference: Consistency, tmp_path: Path) -> None:
    reference.save(tmp_path)
    again = Consistency.load(tmp_path)
    assert again is not None
    np.testing.assert_allclose(again.fit, reference.fit, atol=1e-6)
    np.testing.assert_array_equal(again.common, reference.common)
    assert again.directions.columns == reference.directions.columns
    assert lost(found(again, _shuffled)) == lost(found(reference, _shuffled))
    assert Consistency.load(tmp_path / "none") is None
    (tmp_path / FILE).write_bytes(b"PK no")
    with pytest.raises(UserError, match=FILE):
        Consistency.load(tmp_path)
