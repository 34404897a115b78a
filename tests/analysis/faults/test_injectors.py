"""What each injector of the kinds that are not drawn from a check does, and that it does nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.faults.fault import Columns, faults
from analysis.faults.labels import leaking_column
from analysis.faults.rows import in_units
from analysis.faults.units import ONE_COLUMN, SENTINEL, SENTINEL_COLUMN, currency_columns
from ple_model.data.dataset.columns import decode
from ple_model.data.dataset.reader import Dataset
from ple_model.schema import PART_SLICES, load_schema
from ple_model.tasks import TASKS

LABELS = {f"y_{t}" for t in TASKS}
TRAINING = {"training-labels-shifted", "training-labels-inverted", "training-class-missing", "few-rows-no-dropout"}
"""These change the training rows alone."""


def plain(dataset: Dataset, split: str = "train") -> Columns:
    part = next(p for p in dataset.manifest.files if p.split == split)
    return dict(decode(dataset.part_table(part), dataset.path))


def planted(dataset: Dataset, name: str, level: int = 0, split: str = "train") -> tuple[Columns, Columns]:
    """(columns before, columns after)."""
    fault = faults()[name]
    plant = fault.plant(fault.levels[level].strength)
    change = plant.rows or plant.training_rows
    if plant.units is not None:
        change = in_units(dataset.normalizer(), plant.units)
    assert change is not None
    before = plain(dataset, split)
    after = dict(before)
    change(after, np.random.default_rng(0))
    return before, after


def touched(before: Columns, after: Columns) -> set[str]:
    """Names of columns that differ, `features` by its parts."""
    found = {k for k in after if k not in before or not _same(before[k], after[k])}
    if "features" in found:
        found.remove("features")
        differ = ~np.isclose(before["features"], after["features"], equal_nan=True)
        found |= {f"features:{p}" for p, place in PART_SLICES.items() if differ[:, place].any()}
    return found


def _same(a: Any, b: Any) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


CHANGES = {
    "labels-shifted": LABELS,
    "training-labels-shifted": LABELS,
    "rows-shuffled-txn-seq": {"txn_seq"},
    "rows-shuffled-hmm-behavior": {"hmm_behavior"},
    "rows-shuffled-collaborative-features": {"collaborative_features"},
    "rows-shuffled-transaction-stats": {"features:transaction_stats"},
    "rows-shuffled-rfm": {"features:rfm"},
    "columns-permuted-collaborative-features": {"collaborative_features"},
    "columns-permuted-hmm-journey": {"hmm_journey"},
    "columns-permuted-rfm": {"features:rfm"},
    "sequence-reversed-txn-seq": {"txn_seq"},
    "sequence-reversed-session-seq": {"session_seq"},
    "hmm-modes-swapped": {"hmm_journey", "hmm_behavior", "p_hmm_journey", "p_hmm_behavior"},
    "labels-inverted": {"y_churn"},
    "labels-renumbered": {"y_life_stage"},
    "positives-lost": {"y_retention"},
    "columns-displaced": {f"features:{p}" for p, place in PART_SLICES.items() if place.stop > 300},
    "clusters-renumbered": {"cluster_ids", "cluster_probs"},
    "columns-in-two-units": {"features:raw_power_law"},
    "default-value": {"features:rfm"},
    "training-labels-inverted": {"y_churn"},
    "label-in-two-units": {"y_ltv"},
    "training-label-in-two-units": {"y_ltv"},
    "training-label-constant": {"y_ltv", "y_life_stage"},
    "training-class-missing": {"y_life_stage"},
    "training-label-leak": {"features:campaign", "p_features:campaign"},
    "units-in-thousands": {"features:rfm", "features:raw_power_law"},
    "sentinel": {"features:digital", "features:rfm"},
}
ROWS = {"rows-duplicated", "few-rows-no-dropout"}
"""These repeat or drop rows as a whole."""


def test_every_injector_of_rows_is_listed_here() -> None:
    own = {f.name for f in faults().values() if f.family not in ("mechanics", "nan")}
    rows = {n for n in own if (p := faults()[n].plant(faults()[n].levels[0].strength)).rows or p.training_rows or p.units}
    assert rows == set(CHANGES) | ROWS


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("name", sorted(CHANGES))
def test_only_what_is_named_is_changed(name: str, level: int, tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, name, level)
    found = touched(before, after)
    assert found
    assert found <= CHANGES[name]


@pytest.mark.parametrize("name", sorted(TRAINING))
def test_what_is_wrong_with_the_training_alone_leaves_the_other_splits(name: str, tiny_dataset: Dataset) -> None:
    assert not touched(*planted(tiny_dataset, name, split="test"))


def test_the_weak_level_changes_less(tiny_dataset: Dataset) -> None:
    for name in CHANGES:
        strong, weak = (sum(_cells(*planted(tiny_dataset, name, level)).values()) for level in (0, 1))
        assert 0 < weak <= strong, name


def _cells(before: Columns, after: Columns) -> dict[str, int]:
    same = {k: (before[k] == after[k]) | ((before[k] != before[k]) & (after[k] != after[k])) for k in before}
    return {k: int((~v).sum()) for k, v in same.items()}


@pytest.mark.parametrize("field", ["hmm_behavior", "txn_seq", "collaborative_features"])
def test_shuffled_rows_are_the_same_rows_of_other_customers(field: str, tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, f"rows-shuffled-{field.replace('_', '-')}")
    flat = [c[field].reshape(len(c[field]), -1) for c in (before, after)]
    assert np.array_equal(*(np.sort(f.sum(1)) for f in flat))
    there = before.get(f"p_{field}", np.ones(len(flat[0]), dtype=bool)).astype(bool)
    assert (flat[0] != flat[1])[there].any(1).mean() > 0.9
    assert np.array_equal(flat[0][~there], flat[1][~there])


def test_permuted_columns_are_the_same_columns_none_in_its_place(tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, "columns-permuted-collaborative-features")
    there = before["p_collaborative_features"].astype(bool) if "p_collaborative_features" in before else slice(None)
    old, new = (c["collaborative_features"][there] for c in (before, after))
    assert np.array_equal(np.sort(old.sum(0)), np.sort(new.sum(0)))
    assert not any(np.array_equal(old[:, i], new[:, i]) for i in range(old.shape[1]))


def test_a_reversed_sequence_has_its_steps_backwards_and_its_padding_where_it_was(tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, "sequence-reversed-txn-seq")
    for old, new in zip(before["txn_seq"][:20], after["txn_seq"][:20], strict=True):
        filled = old.any(-1)
        assert np.array_equal(filled, new.any(-1))
        assert np.array_equal(old[filled][::-1], new[filled])


def test_shifted_labels_are_those_of_the_row_before(tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, "labels-shifted")
    for label in LABELS & set(before):
        assert np.array_equal(after[label][1:], before[label][:-1], equal_nan=before[label].dtype.kind == "f")


def test_inverted_labels_and_their_gaps(tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, "labels-inverted")
    known = before["y_churn"] >= 0
    assert np.array_equal(after["y_churn"][known], 1 - before["y_churn"][known])
    assert (after["y_churn"][~known] == -1).all()


def test_half_of_the_amounts_are_in_thousands(tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, "label-in-two-units")
    amounts = [np.expm1(c["y_ltv"]) for c in (before, after)]
    moved = amounts[0] != amounts[1]
    assert 0.3 < moved[np.isfinite(before["y_ltv"])].mean() < 0.7
    both = moved & np.isfinite(amounts[0])
    assert np.allclose(amounts[0][both] / 1000, amounts[1][both], rtol=1e-3, atol=1e-6)


def test_the_leaking_column_is_the_label(tiny_dataset: Dataset) -> None:
    _, after = planted(tiny_dataset, "training-label-leak")
    known = after["y_churn"] >= 0
    assert np.array_equal(after["features"][known, leaking_column()], after["y_churn"][known])


def test_units_and_sentinels_are_set_in_the_unit_of_the_source(tiny_dataset: Dataset) -> None:
    values = np.full((400, 734), 50_000.0)
    for name, level in (("units-in-thousands", 0), ("units-in-thousands", 1), ("sentinel", 1)):
        fault = faults()[name]
        change = fault.plant(fault.levels[level].strength).units
        assert change is not None
        copy = values.copy()
        change(copy, np.random.default_rng(0))
        moved = set(np.flatnonzero((copy != values).any(0)).tolist())
        if name == "sentinel":
            assert moved == {load_schema().column(SENTINEL_COLUMN).index}
            hit = copy[:, next(iter(moved))]
            assert set(hit.tolist()) == {50_000.0, SENTINEL}
            assert 0.05 < (hit == SENTINEL).mean() < 0.15
        else:
            assert moved == (set(currency_columns()) if level == 0 else {load_schema().column(ONE_COLUMN).index})
            assert set(copy[:, sorted(moved)].ravel().tolist()) == {50.0}
    assert len(currency_columns()) > 20


def test_an_absent_part_stays_empty_whatever_its_unit(tiny_dataset: Dataset) -> None:
    before = plain(tiny_dataset)
    n = len(before["customer_id"])
    before["p_features:rfm"] = np.arange(n) % 2 == 0
    after = dict(before)
    change = faults()["units-in-thousands"].plant(2.0).units
    assert change is not None
    in_units(tiny_dataset.normalizer(), change)(after, np.random.default_rng(0))
    place = PART_SLICES["rfm"]
    assert np.array_equal(after["features"][1::2, place], before["features"][1::2, place])
    assert not np.array_equal(after["features"][::2, place], before["features"][::2, place])


def test_rows_that_come_twice_are_the_same_rows(tiny_dataset: Dataset) -> None:
    before, after = planted(tiny_dataset, "rows-duplicated")
    keys = [list(zip(c["customer_id"], c["cutoff"], strict=True)) for c in (before, after)]
    assert set(keys[0]) == set(keys[1])
    assert len(keys[1]) == len(keys[0]) + 4 * int((before["y_churn"] == 1).sum())


def test_a_few_hundred_rows_are_left_of_the_training_split(tiny_dataset: Dataset) -> None:
    _, after = planted(tiny_dataset, "few-rows-no-dropout")
    assert len(after["customer_id"]) == 300
