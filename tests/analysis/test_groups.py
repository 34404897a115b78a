"""Rates by group against fairlearn and by hand; skill by group is that of its rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    demographic_parity_ratio,
    selection_rate,
    true_positive_rate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import diagnose
from analysis.groups import group_table, groupings
from analysis.stats.rates import LEAST, group_rates, wilson
from ple_model.run import Run


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(deadline=None, max_examples=25)
def test_rates_and_differences_are_those_of_fairlearn(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat([f"g{i}" for i in range(groups)], 3 * LEAST)
    outcome = (rng.random(len(group)) < rng.uniform(0.4, 0.9)).astype(float)
    chosen = rng.random(len(group)) < rng.uniform(0.2, 0.8)
    found = group_rates(group.tolist(), chosen, outcome)
    frame = MetricFrame(
        metrics={"rate": selection_rate, "hit": true_positive_rate}, y_true=outcome, y_pred=chosen, sensitive_features=group
    )
    for g in found.groups:
        assert g.rate.value == pytest.approx(frame.by_group["rate"][g.group])
        assert g.hit == pytest.approx(frame.by_group["hit"][g.group])
    about = {"y_true": outcome, "y_pred": chosen, "sensitive_features": group}
    assert found.difference == pytest.approx(demographic_parity_difference(**about))
    assert found.ratio == pytest.approx(demographic_parity_ratio(**about))
    if all(g.bore_out >= LEAST for g in found.groups):
        assert found.hit_difference == pytest.approx(frame.difference()["hit"])


def test_an_interval_by_hand_and_at_its_ends() -> None:
    found = wilson(7, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.3968, 0.8922), abs=1e-4)
    assert wilson(0, 10).low == pytest.approx(0, abs=1e-12)
    assert wilson(10, 10).high == pytest.approx(1, abs=1e-12)
    assert np.isnan(wilson(0, 0).value)


def test_small_groups_take_no_part_in_the_differences() -> None:
    group = ["a"] * 40 + ["b"] * 40 + ["c"] * (LEAST - 1)
    chosen = np.array([True] * 20 + [False] * 20 + [True] * 10 + [False] * 30 + [True] * (LEAST - 1))
    found = group_rates(group, chosen, np.full(len(group), np.nan))
    assert (found.difference, found.ratio) == (pytest.approx(0.25), pytest.approx(0.5))
    assert np.isnan(found.hit_difference)
    assert [g.group for g in found.groups] == ["a", "b", "c"]


def test_many_groups_are_counted_as_few_are() -> None:
    group = [f"g{i % 5000}" for i in range(20_000)]
    chosen, outcome = (
        np.arange(20_000) % 3 == 0,
        np.where(np.arange(20_000) % 7 == 0, np.nan, (np.arange(20_000) % 2).astype(float)),
    )
    found = {g.group: g for g in group_rates(group, chosen, outcome).groups}
    here = np.array([g == "g17" for g in group])
    assert len(found) == 5000
    assert (found["g17"].n, found["g17"].rate.value) == (4, chosen[here].mean())
    assert found["g17"].outcome == pytest.approx(np.nanmean(outcome[here]))


def test_the_latest_row_of_each_customer_is_found_whatever_the_cohort(tiny_run: Run) -> None:
    store = diagnose(tiny_run).store
    assert store is not None
    rows = store.rows(["row", "customer_id", "cutoff"])
    last: dict[str, str] = {}
    for c, d in zip(rows["customer_id"], rows["cutoff"], strict=True):
        last[c] = max(last.get(c, ""), d)
    by_row = {int(r): (c, d) for r, c, d in zip(*rows.values(), strict=True)}
    assert sorted(by_row[int(r)] for r in store.latest()) == sorted(last.items())


def test_a_stored_analysis_is_counted_by_group(tiny_run: Run) -> None:
    store = diagnose(tiny_run).store
    assert store is not None
    assert "segment" in groupings(store)
    rows = store.rows(["segment", "c:nba"])
    top = int(np.bincount(rows["c:nba"].astype(int)).argmax())
    found = group_table(store, "nba", "multiclass", top, "segment")
    assert found.rows == sum(g.n for g in found.rates.groups)
    for g in found.rates.groups:
        here = rows["segment"] == g.group
        assert g.rate.value == pytest.approx(float((rows["c:nba"][here] == top).mean()))
    assert found.learned == int((store.rows(["split"])["split"] == "train").sum())
    churn = group_table(store, "churn", "binary", None, "segment")
    assert churn.rows > 0
    assert set(churn.skill) <= {g.group for g in churn.rates.groups}
