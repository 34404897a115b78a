"""The map of the experts' outputs, and vector statistics of a cohort."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from analysis import diagnose, embedding
from analysis.cohort import CohortFilter
from analysis.store import AnalysisStore
from analysis.vectors import expert_statistics, hmm_statistics, sampled
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


def test_vector_statistics_of_everyone_are_those_of_the_whole_pass(store: AnalysisStore) -> None:
    found, whole = expert_statistics(store), store.statistics.experts
    assert found is not None
    assert whole is not None
    assert len(store.vectors["row"]) == whole.n
    assert np.array_equal(found.present, whole.present)
    assert np.allclose(found.cka(), whole.cka(), atol=2e-3, equal_nan=True)
    for name in whole.names:
        assert found.effective_rank(name) == pytest.approx(whole.effective_rank(name), rel=2e-3)


def test_vector_statistics_of_a_segment_agree_with_its_stored_norms(store: AnalysisStore) -> None:
    """Rows of this segment are mixed with cold-start features before the gates; the experts' own outputs are not."""
    chosen = [CohortFilter("segment", "in", ("cold_start",))]
    columns = [c for e in store.statistics.facts.experts for c in (f"n:{e}", f"f:{e}")]
    rows = store.rows([*columns, "aux"], chosen, limit=100_000)
    assert rows["aux"].any()
    found = expert_statistics(store, chosen)
    assert found is not None
    for i, name in enumerate(found.names):
        there = ~rows[f"f:{name}"].astype(bool)
        assert found.counted[i] == there.sum()
        assert found.norm_mean[i] == pytest.approx(rows[f"n:{name}"][there].mean(), rel=2e-3)


def test_hmm_vectors_of_everyone_give_the_statistics_of_the_whole_pass(store: AnalysisStore) -> None:
    found, whole = hmm_statistics(store), store.statistics.hmm
    assert found is not None
    assert whole is not None
    assert np.array_equal(found.default, whole.default)
    for ours, theirs in ((found.real_norm, whole.real_norm), (found.spread, whole.spread), (found.cosine, whole.cosine)):
        assert np.allclose(ours, theirs, rtol=2e-3, atol=2e-3, equal_nan=True)
