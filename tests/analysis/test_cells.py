"""Sums by segment and cluster that stand for the rows of a cohort."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import CohortFilter
from analysis.cells import FILE
from analysis.cohort_statistics import CohortStatistics, keep_cells
from analysis.store import AnalysisStore, stored
from ple_model.errors import UserError
from ple_model.run import Run

COHORTS = {
    "one segment": (CohortFilter("segment", "in", ("warm_start",)),),
    "not one": (CohortFilter("segment", "not_in", ("warm_start",)),),
    "clusters": (CohortFilter("cluster", "in", (0.0, 1.0, 2.0)),),
    "both": (CohortFilter("segment", "eq", ("warm_start",)), CohortFilter("cluster", "ge", (3.0,))),
    "nobody": (CohortFilter("cluster", "gt", (1e6,)),),
}


@pytest.fixture(scope="module")
def stores(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[AnalysisStore, AnalysisStore]:
    """The same analysis with cells and without."""
    folder = tmp_path_factory.mktemp("cells")
    paths = [Path(shutil.copytree(tiny_run.path, folder / name)) for name in ("with", "without")]
    with_cells, without = (stored(path)[0] for path in paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.cells.FROM_ROWS", 1)
        keep_cells(with_cells)
    assert (with_cells.path / FILE).exists()
    assert not (without.path / FILE).exists()
    return with_cells, without


def close(a: Any, b: Any, where: str) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            close(a[key], b[key], f"{where} {key}")
    elif hasattr(a, "__dataclass_fields__"):
        for f in fields(a):
            close(getattr(a, f.name), getattr(b, f.name), f"{where} {f.name}")
    elif isinstance(a, (float, np.ndarray, tuple)) and not isinstance(a, str) and np.asarray(a).dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=where)
    else:
        assert a == b, where


@pytest.mark.parametrize("which", COHORTS)
def test_a_cohort_of_cells_is_that_of_its_rows(stores: tuple[AnalysisStore, AnalysisStore], which: str) -> None:
    ours, rows = (store.cohort(COHORTS[which]) for store in stores)
    assert isinstance(ours, CohortStatistics)
    close(ours, rows, which)


def test_no_row_is_asked_for_sums(stores: tuple[AnalysisStore, AnalysisStore], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    query = AnalysisStore.query

    def noted(self: AnalysisStore, select: Any, *given: Any, **more: Any) -> Any:
        asked.extend(select)
        return query(self, select, *given, **more)

    monkeypatch.setattr(AnalysisStore, "query", noted)
    for store, expected in zip(stores, (False, True), strict=True):
        asked.clear()
        store.cohort((CohortFilter("cluster", "in", (1.0,)),))
        assert any(sql.startswith("sum(") for sql in asked) is expected


def test_what_no_cell_tells_is_asked_of_the_rows(stores: tuple[AnalysisStore, AnalysisStore]) -> None:
    mixed = (CohortFilter("segment", "eq", ("warm_start",)), CohortFilter("raw:spend_28d", "ge", (1.0,)))
    ours, rows = (store.cohort(mixed) for store in stores)
    assert 0 < ours.n < stores[0].n
    close(ours, rows, "mixed")


@pytest.mark.parametrize("wrong", [CohortFilter("segmnt", "eq", ("x",)), CohortFilter("cluster", "eq", ("many",))])
def test_a_wrong_filter_is_one_sentence_as_without(stores: tuple[AnalysisStore, AnalysisStore], wrong: CohortFilter) -> None:
    with pytest.raises(UserError, match=r"did you mean 'segment'|does not fit"):
        stores[0].cohort((wrong,))


def test_a_small_analysis_has_none(tiny_run: Run) -> None:
    (store,) = stored(tiny_run.path)[:1]
    keep_cells(store)
    assert not (store.path / FILE).exists()
