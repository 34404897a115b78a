"""Columns that repeat others, were stored in too few bits or lost an end; codes that were numbered anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.checks import run_checks
from analysis.checks.recoded import other_order
from analysis.consistency import silences
from analysis.copied import copies
from analysis.selected import selections
from analysis.stats.consistency import Selected
from analysis.wrapped import wraps
from ple_model.profile import Profile, bin_counts, quantile_edges
from tests.analysis.planted import healthy, with_codes

NAMES = ("spend_28d", "spend_84d", "recency", "balance", "visits")
PARTS = {"rfm": slice(0, 3), "deposit": slice(3, 5)}
INPUTS = ["features:rfm"] * 3 + ["features:deposit"] * 2


def people(n: int, seed: int) -> np.ndarray:
    """[n, 5] amounts of two windows, days, a balance and a count; the longer window is the shorter one and more."""
    rng = np.random.default_rng(seed)
    short = np.exp(rng.normal(5, 1.5, n))
    return np.stack(
        [short, short + np.exp(rng.normal(5, 1.5, n)), rng.exponential(20, n), rng.normal(3000, 900, n), rng.poisson(8, n)],
        axis=1,
    ).astype(np.float32)


def profile(x: np.ndarray) -> Profile:
    edges = np.stack([quantile_edges(x[:, j]) for j in range(x.shape[1])])
    there = np.ones(x.shape, dtype=bool)
    extremes = np.stack([x.min(0), x.max(0)], axis=1)
    return Profile(len(x), edges, bin_counts(x, there, edges), {}, {}, np.zeros(5), extremes, len(x))


TRAINED = profile(people(8000, 1))


def same(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


@given(seed=st.integers(2, 10_000), n=st.integers(100, 1500))
@settings(max_examples=25, deadline=None)
def test_other_customers_of_the_same_bank_are_silent(seed: int, n: int) -> None:
    x = people(n, seed)
    assert copies(x, NAMES, INPUTS, TRAINED, n) == ()
    assert wraps(x, NAMES, PARTS, TRAINED, same, n) == ()
    assert selections(x, NAMES, PARTS, TRAINED, same, n) == ()


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_column_that_holds_anothers_values_is_the_one_that_moved(scale: float) -> None:
    x = people(600, 2)
    x[:, 3] = scale * x[:, 0] + 5
    (one,) = copies(x, NAMES, INPUTS, TRAINED, 600)
    assert (one.input, one.column, one.source) == ("features:deposit", "balance", "spend_28d")
    assert one.apart > 0.1


def test_columns_that_always_agreed_and_few_values_that_agree_by_chance_are_no_copies() -> None:
    before = people(8000, 1)
    before[:, 1] = 7 * before[:, 0]
    x = people(600, 2)
    x[:, 1] = 7 * x[:, 0]
    assert copies(x, NAMES, INPUTS, profile(before), 600) == ()
    x = people(600, 2)
    x[:, 3] = 9000 - x[:, 0]  # what is left of a whole
    assert copies(x, NAMES, INPUTS, TRAINED, 600) == ()
    x = people(600, 2)
    x[:, 2] = x[:, 4] = x[:, 4] > 8  # two values
    assert copies(x, NAMES, INPUTS, TRAINED, 600) == ()


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (8, True), (16, False)])
def test_numbers_that_wrapped_round_are_told_from_small_ones(bits: int, signed: bool) -> None:
    grown = people(8000, 1)
    grown[:, 3] *= 100
    known = profile(grown)
    x = people(800, 3)
    x[:, 3] *= 100
    kind = np.dtype(f"{'' if signed else 'u'}int{bits}")
    x[:, 3] = x[:, 3].astype(np.int64).astype(kind)
    (one,) = wraps(x, NAMES, PARTS, known, same, 800)
    assert (one.column, one.bits, one.signed) == ("balance", bits, signed)
    assert one.beyond > 0.5
    assert one.edge < 0.02
    x = people(800, 3)  # a count that never was beyond
    assert wraps(x, NAMES, PARTS, TRAINED, same, 800) == ()


def test_numbers_that_stopped_at_the_largest_one_are_found_there() -> None:
    x = people(800, 3)
    x[:, 0] = np.minimum(np.floor(x[:, 0]), 255)
    (one,) = wraps(x, NAMES, PARTS, TRAINED, same, 800)
    assert (one.column, one.bits) == ("spend_28d", 8)
    assert one.edge > one.beyond / 2


@pytest.mark.parametrize(("column", "above"), [(2, True), (3, False), (0, True)])
def test_rows_that_a_filter_left_out_are_told_by_the_column_it_read(column: int, above: bool) -> None:
    x = people(2000, 4)
    cut = float(np.quantile(x[:, column], 0.65 if above else 0.35))
    x = x[x[:, column] <= cut] if above else x[x[:, column] >= cut]
    first = selections(x, NAMES, PARTS, TRAINED, same, len(x))[0]
    assert (first.column, first.above) == (NAMES[column], above)
    assert first.value == pytest.approx(cut, rel=0.02)
    assert 0.2 < first.gone < 0.4


def test_what_moved_as_a_whole_or_is_heaped_at_a_limit_was_not_chosen() -> None:
    x = people(2000, 4)
    assert selections(x * np.float32(0.2), NAMES, PARTS, TRAINED, same, 2000) == ()
    x[:, 2] = np.minimum(x[:, 2], np.quantile(x[:, 2], 0.6))
    assert [s.column for s in selections(x, NAMES, PARTS, TRAINED, same, 2000)] == []


@pytest.mark.parametrize("order", [(1, 2, 0), (0, 2, 1), (2, 1, 0)])
def test_codes_in_another_order_are_found_by_what_their_rows_have(order: tuple[int, ...]) -> None:
    s = with_codes(order)
    assert s.unseen is not None
    assert s.trained is not None
    found, apart, as_they_are = other_order(next(iter(s.unseen.groups.values())), s.trained)
    assert found[:3] == order
    assert apart == 0
    assert as_they_are > 0.1
    (finding,) = [f for f in run_checks(s) if f.id == "INPUT-CODES"]
    assert finding.severity == "error"
    assert [f.severity for f in run_checks(with_codes((0, 1, 2))) if f.id == "INPUT-CODES"] == ["ok"]


def test_steps_that_were_moved_towards_the_cut_off_leave_the_oldest_empty() -> None:
    rng = np.random.default_rng(0)
    usual = rng.binomial(400, 0.25, 180).astype(float)
    moved = np.concatenate([np.zeros(90), usual[:90]])
    x = healthy()
    assert x.consistency is not None
    trained = {"txn_seq": usual / 400}
    for count, ids in ((moved, ["DATA-SHORT"]), (usual, [])):
        stats = silences({("txn_seq", "2025-05-01"): (400, count)}, trained)
        said = run_checks(replace(x, consistency=replace(x.consistency, silent=stats)))
        assert [f.id for f in said if f.alarm and f.id in ("DATA-SHORT", "DATA-STALE")] == ids


def test_one_input_that_lost_an_end_may_have_moved_two_were_filtered() -> None:
    x = healthy()
    assert x.consistency is not None
    ends = [Selected(f"features:{part}", f"{part}_days", 7.0, True, 0.3, 0.3, 0.01, 600) for part in ("rfm", "temporal")]
    for selected, alarms in ((ends, 1), (ends[:1], 0)):
        said = run_checks(replace(x, consistency=replace(x.consistency, selected=tuple(selected))))
        assert sum(f.id == "DATA-SELECTED" and f.alarm for f in said) == alarms


@pytest.mark.parametrize("id", ["INPUT-COPY", "INPUT-WRAPPED", "DATA-SELECTED"])
def test_columns_that_were_not_asked_are_unknown_and_not_right(id: str) -> None:
    x = healthy()
    assert x.consistency is not None
    said = run_checks(replace(x, consistency=replace(x.consistency, each_column=False)))
    assert [f.severity for f in said if f.id == id] == ["unknown"]
