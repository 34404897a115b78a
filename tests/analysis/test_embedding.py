"""The map of the experts' outputs, and vector statistics of a cohort."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from analysis import diagnose, embedding
from analysis.cohort import CohortFilter
from analysis.store import AnalysisStore
from analysis.vectors import expert_statistics, sampled
from ple_model.run import Run


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> AnalysisStore:
    return diagnose(tiny_run).store


def test_principal_directions_are_those_of_an_independent_pca() -> None:
    x = np.random.default_rng(0).normal(size=(80, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    ours, theirs = embedding.principal(x, 5), PCA(5).fit_transform(x)
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-4)


def test_a_map_that_was_never_drawn_or_is_damaged_is_none(store: AnalysisStore) -> None:
    assert embedding.load(store, 12345) is None
    file = embedding.path(store.path, 54321)
    file.write_bytes(b"not a map")
    assert embedding.load(store, 54321) is None
    file.unlink()


def test_a_written_map_is_read_back_row_by_row(store: AnalysisStore) -> None:
    row = store.vectors["row"]
    xy = np.random.default_rng(0).normal(size=(len(row), 2)).astype(np.float32)
    file = embedding.path(store.path, 777)
    embedding._write(file, row, xy)
    found = embedding.load(store, 777)
    file.unlink()
    assert found is not None
    assert np.array_equal(found[0], row)
    assert np.array_equal(found[1], xy)


def test_sampled_rows_of_a_cohort_carry_their_own_columns(store: AnalysisStore) -> None:
    every = sampled(store, ["segment"])
    assert len(every) == len(store.vectors["row"])
    one = str(every.columns["segment"][0])
    some = sampled(store, ["segment"], [CohortFilter("segment", "in", (one,))])
    assert set(map(str, some.columns["segment"])) == {one}
    assert len(some) == int(np.sum(every.columns["segment"] == one))


def test_statistics_of_a_cohort_are_those_of_its_sampled_rows(store: AnalysisStore) -> None:
    one = str(sampled(store, ["segment"]).columns["segment"][0])
    chosen = [CohortFilter("segment", "in", (one,))]
    found, whole = expert_statistics(store, chosen), store.statistics.experts
    assert found is not None
    assert whole is not None
    for name, where in whole.slices().items():
        rows = sampled(store, [f"f:{name}"], chosen)
        there = rows.index[~rows.columns[f"f:{name}"].astype(bool)]
        if len(there) > 1:
            expected = store.vectors["shared"][there][:, where].astype(np.float64).var(0)
            assert np.allclose(found.variance(name), expected, rtol=1e-3, atol=1e-6)
