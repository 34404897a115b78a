"""Holes in time: found where they were dug, nowhere else, and what they cost is said from the import to the diagnosis."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.data.build.build import build
from ple_model.data.build.spine import suggest_cutoffs
from ple_model.data.checking.validation import validate
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.find_holes import Span, distinct, span_of, table_spans
from ple_model.data.events.holes import Hole, costs, stored_costs
from ple_model.errors import UserError

pytestmark = pytest.mark.slow

FIRST = date(2022, 1, 1)
WEEKDAYS = np.array([1.0, 1.1, 1.0, 1.2, 1.4, 0.6, 0.0])
"""A week in which Sunday is closed."""


def days_of(counts: np.ndarray) -> tuple[list[date], list[int]]:
    there = np.flatnonzero(counts)
    return [FIRST + timedelta(days=int(d)) for d in there], [int(counts[d]) for d in there]


def daily(rate: float, days: int = 730, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rate * WEEKDAYS[np.arange(days) % 7])


def found(counts: np.ndarray) -> tuple[Hole, ...]:
    span = span_of("transactions", *days_of(counts))
    assert span is not None
    return span.holes


@given(seed=st.integers(0, 10_000), rate=st.sampled_from([0.5, 3.0, 20.0, 800.0]))
@settings(max_examples=60, deadline=None)
def test_events_without_a_hole_have_none(seed: int, rate: float) -> None:
    assert found(daily(rate, seed=seed)) == ()


@given(seed=st.integers(0, 10_000), start=st.integers(60, 600), length=st.integers(14, 75))
@settings(max_examples=60, deadline=None)
def test_a_dug_hole_is_found_to_the_day(seed: int, start: int, length: int) -> None:
    counts = daily(100.0, seed=seed)
    counts[start : start + length] //= 50
    (hole,) = found(counts)
    first, last = date.fromisoformat(hole.first), date.fromisoformat(hole.last)
    # a closed Sunday at the edge belongs to neither side
    assert abs((first - FIRST).days - start) <= 1
    assert abs((last - FIRST).days - (start + length - 1)) <= 1
    assert hole.share < 0.05


def test_a_change_of_level_and_closed_weekdays_are_no_hole() -> None:
    counts = daily(40.0)
    counts[400:] //= 8  # most customers leave on one day
    assert found(counts) == ()


def test_a_delivery_that_ends_early_is_a_hole_at_the_end() -> None:
    counts = daily(20.0)
    counts[-20:] //= 20
    (hole,) = found(counts)
    assert hole.first == (FIRST + timedelta(days=710)).isoformat()


def test_too_few_events_to_tell_say_nothing() -> None:
    counts = daily(0.2)
    counts[300:310] = 0
    assert found(counts) == ()


def test_rows_far_from_all_others_do_not_stretch_the_span() -> None:
    days, rows = days_of(daily(3.0))
    span = span_of("transactions", [date(1999, 5, 5), *days, date(2042, 1, 9)], [1, *rows, 2])
    assert span is not None
    assert (span.first, span.last) == (days[0], days[-1])
    assert span.apart == ((date(1999, 5, 5), 1), (date(2042, 1, 9), 2))


def test_an_empty_table_has_no_span() -> None:
    assert span_of("transactions", [], []) is None


def test_one_kind_of_transaction_can_have_a_hole_of_its_own() -> None:
    con = duckdb.connect()
    con.execute("""CREATE TABLE t AS SELECT DATE '2023-01-01' + (i // 40)::INT AS ts, if(i % 4 = 0, 'card', 'deposit') AS kind
                   FROM range(14600) r(i) WHERE NOT (i % 4 = 0 AND i // 40 BETWEEN 100 AND 130)""")
    spans = table_spans(con, "transactions", "t", ("ts", "kind"))
    (hole,) = distinct(spans.values())
    assert (hole.table, hole.first, hole.last, hole.share) == ("transactions (card)", "2023-04-11", "2023-05-11", 0.0)


def test_costs_count_days_of_labels_and_of_history() -> None:
    hole = Hole("transactions", "2023-08-01", "2023-08-31", 0.01)
    found = costs([hole], ["2023-05-08", "2023-06-01", "2023-08-10", "2023-09-10", "2023-10-08"], 84)
    # 2023-05-08 + 84 days ends on 2023-07-30; worked by hand from the calendar
    assert [(c.cutoff, c.label_days, c.history_days) for c in found] == [
        ("2023-06-01", 23, 0), ("2023-08-10", 22, 9), ("2023-09-10", 0, 19),
    ]  # fmt: skip


def test_suggested_cut_offs_keep_out_of_a_hole_and_to_one_weekday() -> None:
    hole = Hole("transactions", "2023-08-01", "2023-08-31", 0.01)
    cutoffs, horizon = suggest_cutoffs(date(2022, 1, 1), date(2023, 12, 30), [hole])
    assert horizon == 84
    assert cutoffs == ("2023-03-12", "2023-04-09", "2023-05-07", "2023-10-08")
    assert not costs([hole], cutoffs, horizon)
    assert {date.fromisoformat(c).weekday() for c in cutoffs} == {6}
    assert suggest_cutoffs(date(2022, 1, 1), date(2023, 12, 30))[0][-1] == "2023-10-08"


def test_settings_of_older_datasets_say_nothing_and_damaged_ones_hold_no_hole() -> None:
    assert stored_costs({}, ["2023-06-01"]) is None
    bad = [{"table": "t"}, {"table": "t", "first": "x", "last": "y", "share": 1}, 3]
    assert stored_costs({"holes": bad, "label_days": 84}, ["2023-06-01", "no date"]) == ()


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 cards over two years, August 2023 nearly missing, one row of long ago."""
    folder = tmp_path_factory.mktemp("hole") / "events"
    folder.mkdir()
    rng = np.random.default_rng(3)
    con = duckdb.connect()
    rows = []
    for d in range(730):
        day = FIRST + timedelta(days=d)
        for _ in range(rng.poisson(18)):
            if (day.year, day.month) != (2023, 8) or rng.random() < 0.01:
                shop = f"shop {rng.integers(9)}"
                rows.append((f"c{rng.integers(60):02d}", day, round(float(rng.lognormal(3, 1)), 2), shop, shop))
    rows.append(("c00", date(2001, 2, 3), 1.0, "shop 0", "shop 0"))
    names = ("customer_id", "ts", "amount", "merchant_id", "brand")
    table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
    con.register("found", table.set_column(1, "ts", table["ts"].cast(pa.timestamp("us"))))
    con.execute("CREATE TABLE t AS FROM found")
    con.execute(f"COPY (FROM t ORDER BY ALL) TO '{folder}/transactions.parquet'")
    con.execute(f"COPY (SELECT DISTINCT customer_id FROM t ORDER BY 1) TO '{folder}/customers.parquet'")
    return folder


def test_validate_names_the_hole_and_the_row_that_lies_apart(events: Path) -> None:
    report = validate(events)
    assert report.ok
    hole, apart = (next(f for f in report.faults if f.kind == k) for k in ("hole", "apart"))
    assert "2023-08-01 to 2023-08-31 (31 days)" in hole.message
    assert (apart.rows, apart.example) == (1, "'2001-02-03'")


def test_a_build_without_cut_offs_suggests_some_that_keep_out(events: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2023-08-01 to 2023-08-31.*--cutoff 2023-0[1-5]-\d\d --cutoff") as e:
        build(events, tmp_path / "dataset")
    assert "2023-06" not in str(e.value)


def test_a_dataset_keeps_what_a_hole_costs_its_cut_offs(events: Path, tmp_path: Path) -> None:
    dataset: Dataset = build(events, tmp_path / "dataset", ["2023-05-01", "2023-07-10"])
    (cost,) = stored_costs(dataset.manifest.settings, dataset.manifest.cutoffs) or ()
    assert (cost.cutoff, cost.label_days) == ("2023-07-10", 31)
    assert any("cut-off 2023-07-10: 31 of its 84 days of labels" in n for n in dataset.manifest.notes)


def test_a_stray_later_row_covers_no_labels(events: Path, tmp_path: Path) -> None:
    """With the stray row as the end of the events, silence after the last real day would count as churn."""
    late = tmp_path / "late"
    late.mkdir()
    con = duckdb.connect()
    con.execute(f"COPY (FROM '{events}/customers.parquet') TO '{late}/customers.parquet'")
    con.execute(f"""COPY (FROM '{events}/transactions.parquet' UNION ALL BY NAME
                    SELECT 'c01' AS customer_id, TIMESTAMP '2024-06-01' AS ts, 1.0 AS amount, 'shop 0' AS merchant_id,
                    'shop 0' AS brand) TO '{late}/transactions.parquet'""")
    dataset = build(late, tmp_path / "dataset", ["2023-12-25"])
    labels = (dataset.load().inputs.targets or {})["churn"]
    assert (labels == -1).all()


def test_spans_print_what_a_reader_needs() -> None:
    hole = Hole("sessions", "2023-08-01", "2023-08-31", 0.013)
    assert str(hole) == "sessions: 2023-08-01 to 2023-08-31 (31 days) has 1% of the usual events"
    assert distinct([Span(FIRST, FIRST, 1, (hole,))]) == (hole,)
