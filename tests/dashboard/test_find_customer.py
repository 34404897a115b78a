"""Customers are chosen by the row that is explained, and nothing that was filtered out comes back with a list."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analysis import AnalysisStore, diagnose
from analysis.cohort import CohortFilter
from dashboard.components.find_customer import customers, first
from ple_model.run import Run


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> AnalysisStore:
    found = diagnose(tiny_run).store
    assert found is not None
    return found


def frame(store: AnalysisStore, *filters: CohortFilter) -> Any:
    return SimpleNamespace(store=store, filters=filters)


def latest(store: AnalysisStore, column: str) -> dict[str, Any]:
    """By customer, at their latest cut-off."""
    rows = store.rows(["customer_id", "cutoff", column])
    found: dict[str, tuple[str, Any]] = {}
    for c, d, value in zip(*rows.values(), strict=True):
        if d > found.get(c, ("", None))[0]:
            found[c] = d, value
    return {c: value for c, (_, value) in found.items()}


def test_a_filter_is_held_against_the_row_that_is_explained(store: AnalysisStore) -> None:
    segments = latest(store, "segment")
    one = next(iter(segments.values()))
    found = customers(frame(store, CohortFilter("segment", "in", (one,))), "nba", "file", None, ())
    assert set(found) == {c for c, s in segments.items() if s == one}


def test_a_list_is_filtered_like_everybody(store: AnalysisStore) -> None:
    segments = latest(store, "segment")
    one = next(iter(segments.values()))
    wanted = (*segments, "elsewhere")
    found = customers(frame(store, CohortFilter("segment", "in", (one,))), "nba", "file", None, wanted)
    assert set(found) == {c for c, s in segments.items() if s == one}
    assert set(customers(frame(store), "nba", "file", None, wanted)) == set(wanted)
    top = latest(store, "c:nba")
    picked = customers(frame(store), "nba", "file", int(top[wanted[0]]), wanted)
    assert set(picked) == {c for c, k in top.items() if k == top[wanted[0]]}


def test_the_page_opens_on_somebody_who_is_known(store: AnalysisStore) -> None:
    segments = latest(store, "segment")
    known, new = (next(c for c, s in segments.items() if (s == "warm_start") == w) for w in (True, False))
    assert first(frame(store), [new, known]) == known
    assert first(frame(store), [new]) == new
