"""Event tables: missing columns and tables become NULL and empty, and `validate` reports every fault of every table at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ple_model.data.checking.validation import Fault, validate
from ple_model.data.events.connect import connect, open_connection
from ple_model.data.events.manifest import Defaults, EventsManifest, TableEntry
from ple_model.data.events.spec import EXTRA_TABLES, TABLES
from ple_model.errors import UserError

pytestmark = pytest.mark.slow

Rows = dict[str, list[Any]]


def healthy() -> dict[str, Rows]:
    """A small bank in which nothing is wrong."""
    d, t = date, datetime
    return {
        "customers": {
            "customer_id": ["a", "b", "c"],
            "birth_year": [1980, 1990, 2000],
            "region": ["N", "S", "N"],
            "joined_on": [d(2015, 1, 1)] * 3,
        },
        "transactions": {
            "customer_id": ["a", "a", "b", "c"],
            "ts": [t(2024, 1, 1, 9), t(2024, 1, 2), t(2024, 2, 1), t(2024, 3, 1)],
            "amount": [5.0, 7.5, 9.0, 100.0],
            "merchant_id": ["m1", "m1", "m2", None],
            "mcc_l1": ["groceries", "groceries", "dining", None],
            "kind": ["card", "card", "card", "deposit"],
            "channel": ["app", "web", "branch or store", None],
        },
        "sessions": {"customer_id": ["a"], "ts": [t(2024, 1, 1)], "duration": [30.0], "channel": ["app"], "events": [3]},
        "holdings": {
            "customer_id": ["a", "b"],
            "product": ["credit card", "loan"],
            "as_of": [d(2024, 1, 1)] * 2,
            "opened_on": [d(2020, 1, 1)] * 2,
            "closed_on": [None, d(2023, 1, 1)],
            "balance": [10.0, 0.0],
            "credit_limit": [100.0, None],
        },
        "campaigns": {
            "customer_id": ["a", "b"],
            "campaign_id": ["k1", "k1"],
            "offer": ["fund", "insurance"],
            "exposed_at": [t(2024, 1, 5), t(2024, 1, 5)],
            "clicked_at": [t(2024, 1, 6), None],
            "converted_at": [t(2024, 1, 7), None],
        },
        "merchants": {"merchant_id": ["m1", "m2"], "brand": ["x", "y"], "mcc_l1": ["groceries", "dining"]},
        "overseas": {"customer_id": ["a"], "ts": [t(2024, 1, 1)], "kind": ["purchase"], "amount": [3.0]},
    }


def write(folder: Path, tables: dict[str, Rows | pa.Table], manifest: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, rows in tables.items():
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
        pq.write_table(table, folder / f"{name}.parquet")
        entries[name] = TableEntry(table.num_rows)
    if manifest:
        EventsManifest("test", "test", entries).save(folder)
    return folder


@dataclass(frozen=True)
class Plant:
    """A fault to plant and what the report must say of it."""

    table: str
    column: str | None
    kind: str
    rows: int
    example: str
    change: Callable[[dict[str, Rows]], None]
    severity: str = "error"


def _set(table: str, column: str, value: Any, row: int = 0) -> Callable[[dict[str, Rows]], None]:
    def change(tables: dict[str, Rows]) -> None:
        tables[table][column][row] = value

    return change


def _drop(table: str, column: str) -> Callable[[dict[str, Rows]], None]:
    def change(tables: dict[str, Rows]) -> None:
        del tables[table][column]

    return change


def _append(table: str, **row: Any) -> Callable[[dict[str, Rows]], None]:
    def change(tables: dict[str, Rows]) -> None:
        for column, values in tables[table].items():
            values.append(row.get(column, values[0]))

    return change


def _whole(table: str, column: str, values: list[Any]) -> Callable[[dict[str, Rows]], None]:
    def change(tables: dict[str, Rows]) -> None:
        length = len(next(iter(tables[table].values())))
        tables[table][column] = [*values, *[None] * (length - len(values))]

    return change


def _twice(change: Callable[[dict[str, Rows]], None]) -> Callable[[dict[str, Rows]], None]:
    def both(tables: dict[str, Rows]) -> None:
        change(tables)
        change(tables)

    return both


PLANTS = (
    Plant("holdings", "as_of", "missing_column", 0, "", _drop("holdings", "as_of")),
    Plant("sessions", "duration", "wrong_type", 1, "'long'", _whole("sessions", "duration", ["long"])),
    Plant("sessions", "ts", "wrong_type", 1, "'true'", _whole("sessions", "ts", [True])),
    Plant("customers", "customer_id", "duplicate", 1, "'customer_id=a'", _append("customers", customer_id="a")),
    Plant("merchants", "merchant_id", "duplicate", 1, "'merchant_id=m1'", _append("merchants", merchant_id="m1")),
    Plant("transactions", "ts", "null_key", 1, "NULL", _set("transactions", "ts", None)),
    Plant("customers", "customer_id", "null_key", 1, "''", _set("customers", "customer_id", "", 2)),
    Plant(
        "transactions",
        "customer_id",
        "unknown_customer",
        2,
        "'zz'",
        _twice(_append("transactions", customer_id="zz")),
        "warning",
    ),
    Plant(
        "transactions", "merchant_id", "unknown_merchant", 1, "'m9'", _set("transactions", "merchant_id", "m9", 2), "warning"
    ),
    Plant("overseas", "ts", "absurd_date", 1, "'2999-01-01 00:00:00'", _whole("overseas", "ts", [datetime(2999, 1, 1)])),
    Plant("transactions", "ts", "absurd_date", 1, "'1901-01-01 00:00:00'", _set("transactions", "ts", datetime(1901, 1, 1), 3)),
    Plant("customers", "birth_year", "absurd_date", 1, "'3020'", _set("customers", "birth_year", 3020)),
    Plant("customers", "birth_year", "negative", 1, "'12'", _set("customers", "birth_year", 12)),
    Plant("overseas", "amount", "negative", 1, "'-3.0'", _set("overseas", "amount", -3.0)),
    Plant("holdings", "credit_limit", "negative", 1, "'-1.0'", _set("holdings", "credit_limit", -1.0)),
    Plant("transactions", "amount", "refund", 1, "'-5.0'", _set("transactions", "amount", -5.0), "warning"),
    Plant("holdings", "closed_on", "wrong_order", 1, "'2019-01-01'", _set("holdings", "closed_on", date(2019, 1, 1), 1)),
    Plant(
        "campaigns",
        "clicked_at",
        "wrong_order",
        1,
        "'2024-01-04 00:00:00'",
        _set("campaigns", "clicked_at", datetime(2024, 1, 4)),
    ),
    Plant(
        "campaigns",
        "converted_at",
        "wrong_order",
        1,
        "'2024-01-05 12:00:00'",
        _set("campaigns", "converted_at", datetime(2024, 1, 5, 12)),
    ),
    Plant(
        "campaigns",
        "converted_at",
        "wrong_order",
        1,
        "'2024-01-08 00:00:00'",
        _set("campaigns", "converted_at", datetime(2024, 1, 8), 1),
        "warning",
    ),
    Plant("campaigns", "offer", "unseen_category", 1, "'fundd'", _set("campaigns", "offer", "fundd"), "warning"),
    Plant(
        "transactions",
        "mcc_l1",
        "unseen_category",
        2,
        "'grocery'",
        _whole("transactions", "mcc_l1", ["grocery", "grocery", "dining", None]),
        "warning",
    ),
    Plant("transactions", "kind", "unseen_category", 1, "'cash'", _set("transactions", "kind", "cash", 1)),
    Plant("transactions", "amount", "not_finite", 1, "'nan'", _set("transactions", "amount", float("nan"))),
    Plant("holdings", "balance", "not_finite", 1, "'inf'", _set("holdings", "balance", float("inf"))),
    Plant("transactions", "amount", "huge", 1, "'1e+20'", _set("transactions", "amount", 1e20)),
    Plant("sessions", "colour", "unknown_column", 0, "", _whole("sessions", "colour", ["red"]), "warning"),
    Plant("sessions", "duration", "text", 0, "", _whole("sessions", "duration", ["30.5"]), "warning"),
)


def _found(faults: tuple[Fault, ...], plant: Plant) -> list[Fault]:
    same = [
        f for f in faults if (f.table, f.column, f.kind, f.severity) == (plant.table, plant.column, plant.kind, plant.severity)
    ]
    return [f for f in same if f.rows == plant.rows and f.example == plant.example]


def test_a_healthy_folder_has_no_fault(tmp_path: Path) -> None:
    report = validate(write(tmp_path, healthy()))
    assert report.faults == ()
    assert report.ok
    assert report.tables == {name: len(next(iter(rows.values()))) for name, rows in healthy().items()}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: f"{p.table}.{p.column}-{p.kind}-{p.example[:12]}")
def test_each_fault_is_reported_with_table_column_count_and_example(tmp_path: Path, plant: Plant) -> None:
    tables = healthy()
    plant.change(tables)
    report = validate(write(tmp_path, tables))
    assert _found(report.faults, plant), report
    assert report.ok == all(f.severity == "warning" for f in report.faults)
    assert all(f.handling for f in report.faults)


def _place(plant: Plant) -> tuple[str, str | None]:
    return plant.table, plant.column


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(chosen=st.lists(st.sampled_from(PLANTS[1:3] + PLANTS[5:]), min_size=2, max_size=7, unique_by=_place))
def test_any_set_of_faults_is_reported_in_one_go(tmp_path_factory: pytest.TempPathFactory, chosen: list[Plant]) -> None:
    # Rows are appended first, so that a planted value is not copied; a column of another type hides faults of its values only.
    tables = healthy()
    for plant in sorted(chosen, key=lambda p: p.kind != "unknown_customer"):
        plant.change(tables)
    report = validate(write(tmp_path_factory.mktemp("faults"), tables))
    for plant in chosen:
        same = [f for f in report.faults if (f.table, f.column, f.kind) == (plant.table, plant.column, plant.kind)]
        blocked = plant.kind == "wrong_order" and any(p.table == plant.table and p is not plant for p in chosen)
        assert same or blocked, (plant.kind, str(report))


def test_missing_required_tables_are_named(tmp_path: Path) -> None:
    tables = healthy()
    del tables["customers"], tables["transactions"]
    report = validate(write(tmp_path, tables))
    assert {f.table for f in report.errors if f.kind == "missing_table"} == {"customers", "transactions"}
    with pytest.raises(UserError, match=r"no customers\.parquet"):
        connect(tmp_path)


def test_a_truncated_file_is_one_fault_and_does_not_hide_the_others(tmp_path: Path) -> None:
    tables = healthy()
    tables["overseas"]["amount"][0] = -3.0
    write(tmp_path, tables)
    path = tmp_path / "transactions.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    report = validate(tmp_path)
    assert [f.table for f in report.errors if f.kind == "unreadable"] == ["transactions"]
    assert any(f.table == "overseas" and f.kind == "negative" for f in report.errors)
    with pytest.raises(UserError, match=r"transactions\.parquet cannot be read"):
        connect(tmp_path)


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_damaged_bytes_never_crash_validation_or_connect(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = write(tmp_path_factory.mktemp("damage"), healthy())
    path = folder / f"{data.draw(st.sampled_from(sorted(healthy())))}.parquet"
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
        path.write_bytes(bytes(content))
        assert any(f.kind == "unreadable" for f in validate(folder).errors)
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(bytes(content))
        validate(folder)
    with contextlib.suppress(UserError):
        connect(folder).close()


def test_a_file_that_is_no_parquet_and_an_empty_one_are_unreadable(tmp_path: Path) -> None:
    write(tmp_path, healthy())
    (tmp_path / "sessions.parquet").write_text("customer_id,ts\n")
    (tmp_path / "overseas.parquet").write_bytes(b"")
    assert {f.table for f in validate(tmp_path).errors if f.kind == "unreadable"} == {"sessions", "overseas"}


def test_moments_with_a_time_zone_are_read_as_utc_and_noted(tmp_path: Path) -> None:
    tables: dict[str, Any] = healthy()
    aware = pa.array([datetime(2024, 1, 1, 9)], pa.timestamp("us", tz="Asia/Seoul"))
    tables["sessions"] = pa.table({**tables["sessions"], "ts": aware})
    write(tmp_path, tables)
    faults = validate(tmp_path).faults
    assert [(f.table, f.column, f.kind, f.rows, f.severity) for f in faults] == [("sessions", "ts", "time_zone", 1, "warning")]
    with connect(tmp_path) as store:
        ts = store.con.execute("SELECT ts FROM sessions").fetchall()[0][0]
    assert ts == datetime(2024, 1, 1, 9)
    assert ts.tzinfo is None


def test_mixed_time_zones_within_a_table_are_said(tmp_path: Path) -> None:
    tables: dict[str, Any] = healthy()
    aware = pa.array([datetime(2024, 1, 6), None], pa.timestamp("us", tz="UTC"))
    tables["campaigns"] = pa.table({**tables["campaigns"], "clicked_at": aware})
    fault = next(f for f in validate(write(tmp_path, tables)).faults if f.kind == "time_zone")
    assert "of the same table has none" in fault.message


def test_a_table_shorter_than_recorded_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, healthy())
    manifest = EventsManifest.load(tmp_path)
    replace(manifest, tables={**manifest.tables, "sessions": TableEntry(7), "insurance": TableEntry(4)}).save(tmp_path)
    kinds = {(f.table, f.kind) for f in validate(tmp_path).errors}
    assert kinds == {("sessions", "row_count"), ("insurance", "missing_table")}


def test_a_misspelt_column_names_the_nearest(tmp_path: Path) -> None:
    tables = healthy()
    tables["transactions"]["merchantid"] = tables["transactions"].pop("merchant_id")
    messages = [f.message for f in validate(write(tmp_path, tables)).faults if f.column == "merchant_id"]
    assert any("did you mean 'merchantid'" in m for m in messages)


def test_connect_gives_every_table_with_all_its_columns_in_their_types(tmp_path: Path) -> None:
    tables = healthy()
    tables["customers"]["kids"] = [0, 1, 2]
    with connect(write(tmp_path, tables)) as store:
        for spec in (*TABLES.values(), *EXTRA_TABLES.values()):
            columns = store.con.execute(f"DESCRIBE {spec.name}").fetchall()
            assert [(c[0], c[1]) for c in columns][: len(spec.columns)] == [(c.name, c.sql_type) for c in spec.columns]
        assert store.present == frozenset(tables)
        assert "brand" not in store.present_columns["transactions"]
        assert store.con.execute("SELECT count(brand), count(*) FROM transactions").fetchall() == [(0, 4)]
        assert store.con.execute("SELECT count(*) FROM investment").fetchall() == [(0,)]
        assert store.static_columns == ("kids",)


def test_connect_reads_a_table_in_parts(tmp_path: Path) -> None:
    tables = healthy()
    sessions = pa.table(tables.pop("sessions"))
    write(tmp_path, tables)
    (tmp_path / "sessions").mkdir()
    for k in range(3):
        pq.write_table(sessions, tmp_path / "sessions" / f"part-{k}.parquet")
    with connect(tmp_path) as store:
        assert store.con.execute("SELECT count(*) FROM sessions").fetchall() == [(3,)]


def test_integer_ids_become_text(tmp_path: Path) -> None:
    tables = healthy()
    for rows in tables.values():
        if "customer_id" in rows:
            rows["customer_id"] = [ord(v) for v in rows["customer_id"]]
    assert validate(write(tmp_path, tables)).faults == ()
    with connect(tmp_path) as store:
        assert store.con.execute("SELECT max(customer_id) FROM customers").fetchall() == [("99",)]


def test_the_manifest_survives_a_round_trip(tmp_path: Path) -> None:
    manifest = EventsManifest(
        "tables", "mine", {"customers": TableEntry(3, "ab")}, Defaults(("2024-07-01",), 28, "labels_only", ("n",)),
        {"customers": ("region",)}, ("sessions",), {"seed": 1},
    )  # fmt: skip
    manifest.save(tmp_path)
    assert EventsManifest.load(tmp_path) == manifest


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"name": "x"}', "damaged"),
        ('{"source": "x", "name": "x", "version": 99}', "version 99"),
        ('{"source": "x", "name": "x", "defaults": {"cutofs": []}}', "did you mean 'cutoffs'"),
    ],
)
def test_a_damaged_manifest_is_one_sentence_and_an_error_of_validation(tmp_path: Path, text: str, match: str) -> None:
    write(tmp_path, healthy(), manifest=False)
    (tmp_path / "events.json").write_text(text)
    with pytest.raises(UserError, match=match):
        connect(tmp_path)
    assert [f.kind for f in validate(tmp_path).errors] == ["damaged_manifest"]


def test_no_folder_is_a_user_error(tmp_path: Path) -> None:
    for call in (connect, validate):
        with pytest.raises(UserError, match="not a folder"):
            call(tmp_path / "nothing")


def test_raise_errors_names_the_first_and_counts_the_rest(tmp_path: Path) -> None:
    tables = healthy()
    tables["transactions"]["amount"][0] = float("nan")
    tables["overseas"]["amount"][0] = -1.0
    with pytest.raises(UserError, match=r"transactions\.amount.*and 1 more"):
        validate(write(tmp_path, tables)).raise_errors()


def test_what_duckdb_may_hold_is_said_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLE_DUCKDB_MEMORY", "500MB")
    row = open_connection().execute("SELECT current_setting('memory_limit')").fetchone()
    assert row is not None
    assert row[0] == "476.8 MiB"
    monkeypatch.setenv("PLE_DUCKDB_MEMORY", "plenty")
    with pytest.raises(UserError, match="PLE_DUCKDB_MEMORY: 'plenty' is not valid, it must be a size such as 2GB"):
        open_connection()
