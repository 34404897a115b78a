"""The profile of training rows: bins that hold what they say, a round trip, and what a run keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.profile import FILE, PIECE, Profile, bin_counts, profile_of, quantile_edges
from ple_model.run import Run


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=200))
def test_edges_ascend_and_every_value_falls_into_one_bin(values: list[float]) -> None:
    x = np.array(values, dtype=np.float32)
    edges = quantile_edges(x)
    finite = edges[np.isfinite(edges)]
    assert (np.diff(finite) > 0).all()
    counts = bin_counts(x[:, None], np.ones((len(x), 1), bool), edges[None])
    assert counts.sum() == len(x)


def test_the_deciles_of_a_continuous_column_hold_a_tenth_each() -> None:
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    counts = bin_counts(x[:, None], np.ones((1000, 1), bool), quantile_edges(x)[None])[0]
    assert (np.abs(counts[:10] - 100) <= 1).all()
    assert counts[10:].sum() == 0


def test_a_value_that_many_rows_share_has_a_bin_of_its_own() -> None:
    x = np.concatenate([np.zeros(700), np.random.default_rng(0).uniform(1, 2, 300)]).astype(np.float32)
    counts = bin_counts(x[:, None], np.ones((1000, 1), bool), quantile_edges(x)[None])[0]
    assert 700 in counts
    above = bin_counts(np.full((5, 1), 1e-3, np.float32), np.ones((5, 1), bool), quantile_edges(np.zeros(50, np.float32))[None])
    below = bin_counts(
        np.full((5, 1), -1e-3, np.float32), np.ones((5, 1), bool), quantile_edges(np.zeros(50, np.float32))[None]
    )
    assert above.argmax() != below.argmax()


def test_rows_without_the_part_are_not_counted(tiny_dataset: Dataset) -> None:
    profile = profile_of(tiny_dataset)
    assert profile is not None
    assert profile.rows == 320
    assert (profile.counts.sum(1) <= 320).all()
    assert profile.classes["cluster_ids"].sum() == 320
    assert profile.segments.sum() == 320
    assert profile.present["txn_seq"].sum() == 320
    assert profile.present["features:rfm"].sum() == 320


def test_a_finished_run_keeps_a_profile_of_its_training_rows(tiny_run: Run, tiny_dataset: Dataset) -> None:
    kept, made = Profile.load(tiny_run.preprocess), profile_of(tiny_dataset)
    assert kept is not None
    assert made is not None
    np.testing.assert_array_equal(kept.edges, made.edges)
    np.testing.assert_array_equal(kept.counts, made.counts)
    trained = set(tiny_dataset.table(["customer_id"], "train").column("customer_id").to_pylist())
    assert kept.customers == made.customers == len(trained)
    assert kept.present.keys() == made.present.keys()
    assert (tiny_run.preprocess / FILE).stat().st_size < 400_000


def test_no_profile_is_none_and_a_damaged_one_is_one_sentence(tmp_path: Path) -> None:
    assert Profile.load(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"not an archive")
    with pytest.raises(UserError, match=r"profile\.npz is damaged"):
        Profile.load(tmp_path)


def test_counts_are_those_of_a_search_in_every_column() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2 * PIECE + 88, 5)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.05] = np.inf
    edges = np.stack([quantile_edges(column) for column in x.T])
    x[:7] = edges[:, 3]  # on an edge: of the bin above it
    use = rng.random(x.shape) < 0.8
    counts = bin_counts(x, use, edges)
    for j, cuts in enumerate(edges):
        mine = x[use[:, j] & np.isfinite(x[:, j]), j]
        plain = np.bincount(np.searchsorted(cuts, mine, side="right"), minlength=len(cuts) + 1)
        np.testing.assert_array_equal(counts[j], plain)
