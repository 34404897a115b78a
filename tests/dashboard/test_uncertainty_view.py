"""The Uncertainty page shows the chosen customers, not everyone."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import AnalysisStore
from analysis.cohort import CohortFilter, from_url, to_url
from analysis.figures import uncertainty as figures
from analysis.results.uncertainty import Reliability
from analysis.uncertainty import _ranks
from dashboard import state
from dashboard.state import measured


def test_rank_ties_share_their_mean() -> None:
    from scipy.stats import rankdata

    values = np.array([3.0, 1.0, 3.0, 2.0, 3.0])
    assert _ranks(values).tolist() == rankdata(values).tolist()


def test_a_cohort_asks_for_its_own_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    asked: list[tuple[str, tuple[CohortFilter, ...]]] = []
    monkeypatch.setattr(measured, "uncertainty", lambda store, task, filters: asked.append((task, tuple(filters))))
    store = object.__new__(AnalysisStore)
    store.path = tmp_path  # type: ignore[assignment]
    store.meta = {"fingerprint": "f"}
    chosen = (CohortFilter("cluster", "in", (3.0,)), CohortFilter("segment", "in", ("warm_start",)))
    for filters in ((), chosen, chosen):
        state.task_uncertainty(store, "ctr", filters)
    assert asked == [("ctr", ()), ("ctr", from_url(to_url(chosen)))]


def test_a_rare_outcome_fills_the_reliability_figure() -> None:
    one = np.array([0.04])
    found = Reliability(one, one, np.array([600]), one - 0.01, one + 0.02, 0.0, 0.0, 0.0, 0.0)
    assert figures.reliability(found, "binary").layout.xaxis.range[1] < 0.1
    assert figures.reliability(found, "multiclass").layout.xaxis.range[1] == 1
