"""The Data page: its table follows group and search, its figures hold what was counted, a few rows are no drift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import diagnose
from analysis.checks.thresholds import Thresholds
from analysis.column_contents import column_bins, column_rows, label_rows, part_drift
from analysis.figures import data as figures
from analysis.stats.drift import compare
from analysis.stats.run import Statistics
from ple_model.data.dataset.normalize import Normalizer
from ple_model.run import Run
from ple_model.schema import PART_SLICES, load_schema
from tests.dashboard.test_views import opened, text


@pytest.fixture(scope="module")
def statistics(tiny_run: Run) -> Statistics:
    return diagnose(tiny_run).statistics


def test_the_sentences_are_in_the_readers_language(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "data", lang="ko")
    assert load_schema().columns[0].sentence_ko in set(app.dataframe[0].value.iloc[:, 4])


def test_the_columns_follow_group_and_search(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "data")
    assert len(app.dataframe[0].value) == 734
    app.selectbox(key="feature_group").set_value("merchant").run()
    assert len(app.dataframe[0].value) == 21
    app.text_input(key="feature").set_value("radius").run()
    assert [e.message for e in app.exception] == []
    assert len(app.dataframe[0].value) == 1


def test_the_page_says_where_its_numbers_come_from(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(measured, monkeypatch, "data")
    shown = text(app)
    assert "Drift against training" in shown
    assert "Who has which feed" in shown
    tasks = {"ctr", "nba", "brand_prediction", "ltv"}
    assert any(tasks <= set(table.value.iloc[:, 0].astype(str)) for table in app.dataframe)
    assert {m.label: m.value for m in app.metric}["Dataset"] == "planted"


def test_every_column_has_its_presence_and_a_drift_that_is_zero_at_home(statistics: Statistics) -> None:
    assert statistics.drift is not None
    assert statistics.trained is not None
    same = compare(statistics.trained, statistics.trained)
    rows = column_rows(statistics.trained, same, Thresholds().drift_psi)
    assert [r.column.name for r in rows] == list(load_schema().names)
    assert max(r.psi for r in rows) == 0
    assert all(r.present == 1 for r in rows)
    assert not any(r.moved for r in rows)


def test_labels_are_counted_among_the_chosen_rows(measured: Path) -> None:
    found = diagnose(measured / "tiny")
    rows = {r.task: r for r in label_rows(found.store, (), {"nba": ("a", "b")})}
    y = found.store.rows(["y:churn"])["y:churn"]
    known = np.ma.filled(np.ma.asarray(y).astype(float), np.nan)
    assert rows["churn"].n == np.isfinite(known).sum()
    assert rows["churn"].rate == pytest.approx(np.nanmean(known))
    assert rows["nba"].commonest
    assert 0 < rows["nba"].rate <= 1


def test_the_bins_of_a_column_are_in_its_unit_and_add_up(statistics: Statistics) -> None:
    assert statistics.drift is not None
    assert statistics.trained is not None
    n = len(statistics.drift.edges)
    normalizer = replace(Normalizer.identity(n), centre=np.full(n, 100.0), scale=np.full(n, 10.0))
    bins = column_bins(0, statistics.drift, statistics.trained, normalizer)
    assert bins.trained.sum() == pytest.approx(1)
    assert bins.measured.sum() == pytest.approx(1)
    first = 100 + 10 * float(statistics.drift.edges[0][0])
    assert bins.labels[0] == f"< {first:,.4g}"
    assert [t.name for t in figures.column(bins).data] == ["training", "measured"]


def test_parts_come_with_the_most_drifted_first(statistics: Statistics) -> None:
    assert statistics.drift is not None
    assert statistics.trained is not None
    counts = statistics.drift.counts.copy()
    counts[PART_SLICES["radius"], :] = 0
    counts[PART_SLICES["radius"], 0] = statistics.drift.n
    parts = part_drift(compare(replace(statistics.drift, counts=counts), statistics.trained), 0.25)
    assert parts[0][0] == "radius"
    assert parts[0][2] == 1.0
    figure = figures.part_drift(parts, 0.1, 0.25)
    assert figure.data[0].y[0] == "radius"
    assert len(figure.layout.shapes) == 2


def test_too_few_rows_give_no_part(statistics: Statistics) -> None:
    assert statistics.drift is not None
    assert statistics.trained is not None
    assert part_drift(compare(statistics.drift, statistics.trained, min_rows=10**6), 0.25) == []
