"""A user's own files as event tables: same names, a map, and every mistake answered by one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.cli import main
from ple_model.data.checking.validation import validate
from ple_model.data.events.connect import connect, open_connection
from ple_model.data.events.manifest import EventsManifest
from ple_model.data.importers.numbers import number_sql
from ple_model.data.importers.source_map import SourceMap, load_map
from ple_model.data.importers.tables import import_tables
from ple_model.errors import UserError

CUSTOMERS = "customer_id,region,joined_on,colour\n007,N,2020-01-01,red\n8,,2021-05-05,blue\n"
PAYMENTS = "client,paid_at,value,what\n007,2024-01-01 10:00:00,12.50,Food\n8,2024-02-01 11:30:00,8,Gas\n"
MAP = """
name: our bank
cutoffs: [2024-02-01]
horizon_days: 28
tables:
  transactions:
    file: payments.csv
    columns: {customer_id: client, ts: paid_at, amount: value, mcc_l1: what}
    constants: {kind: card}
    values: {mcc_l1: {Food: groceries, Gas: fuel and transport}}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "customers.csv").write_text(CUSTOMERS)
    (folder / "payments.csv").write_text(PAYMENTS)
    (folder / "map.yaml").write_text(MAP)
    return folder


def test_a_map_says_which_column_is_which(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = import_tables(source, out, load_map(source / "map.yaml"))
    assert validate(out).faults == ()
    assert manifest == EventsManifest.load(out)
    assert manifest.name == "our bank"
    assert manifest.defaults.cutoffs == ("2024-02-01",)
    assert manifest.defaults.horizon_days == 28
    assert "sessions" in manifest.absent_tables
    assert "brand" in manifest.absent_columns["transactions"]
    with connect(out) as store:
        rows = store.con.execute("SELECT customer_id, amount, mcc_l1, kind FROM transactions ORDER BY ts").fetchall()
        assert rows == [("007", 12.5, "groceries", "card"), ("8", 8.0, "fuel and transport", "card")]
        assert store.static_columns == ("colour",)
        assert store.con.execute("SELECT region FROM customers ORDER BY customer_id").fetchall() == [("N",), (None,)]


def test_labels_of_a_csv_are_numbers_where_they_all_are_and_class_names_where_they_are_not(
    source: Path, tmp_path: Path
) -> None:
    (source / "labels.csv").write_text(
        "customer_id,cutoff,churn,timing,life_stage,brand_prediction\n007,2024-02-01,1,,25-34,7\n8,2024-02-01,,3,,\n"
    )
    import_tables(source, tmp_path / "out", load_map(source / "map.yaml"))
    with connect(tmp_path / "out") as store:
        types = {r[0]: r[1] for r in store.con.execute("DESCRIBE labels").fetchall()}
        assert types["churn"] == types["timing"] == "DOUBLE"
        assert types["life_stage"] == types["brand_prediction"] == "VARCHAR"
        assert store.con.execute("SELECT churn, timing FROM labels ORDER BY customer_id").fetchall() == [
            (1.0, None),
            (None, 3.0),
        ]


def test_transactions_alone_are_enough_and_their_customers_are_theirs(source: Path, tmp_path: Path) -> None:
    (source / "customers.csv").unlink()
    (source / "elsewhere.csv").write_text(PAYMENTS.replace("8,", "9,"))
    (source / "labels.csv").write_text("another,layout\n1,2\n")
    manifest = import_tables(source / "elsewhere.csv", tmp_path / "out", load_map(source / "map.yaml"))
    assert validate(tmp_path / "out").faults == ()
    assert manifest.absent_columns["customers"] == ("birth_year", "age_band", "region", "joined_on")
    assert "the customers are the 2 different customer_id" in manifest.defaults.notes[0]
    with connect(tmp_path / "out") as store:
        assert store.con.execute("SELECT customer_id FROM customers").fetchall() == [("007",), ("9",)]


def test_rows_without_what_every_row_needs_are_left_out_only_where_the_map_says_so(source: Path, tmp_path: Path) -> None:
    (source / "payments.csv").write_text(PAYMENTS + "Total,,20.50\n")
    with pytest.raises(UserError, match=r"1 rows without customer_id or ts or amount, for example 'Total,,20\.50,'"):
        import_tables(source, tmp_path / "out", load_map(source / "map.yaml"))
    path = source / "map.yaml"
    path.write_text(MAP + "    drop_incomplete: true\n")
    manifest = import_tables(source, tmp_path / "out", load_map(path))
    assert manifest.tables["transactions"].rows == 2
    assert "1 rows without customer_id or ts or amount were left out" in manifest.defaults.notes[0]


@pytest.mark.parametrize(
    ("thousands", "decimal", "text", "value"),
    [
        (",", ".", "12,500", 12500.0),
        (",", ".", "-1,234,567.5", -1234567.5),
        (",", ".", "₩ 3,000원", 3000.0),
        (",", ".", "(300)", -300.0),
        (",", ".", "300-", -300.0),
        (",", ".", "▲1,000", -1000.0),
        (",", ".", "12,50", None),
        (",", ".", "1,2345", None),
        (",", ".", "1.234,5", None),
        (".", ",", "1.234,50", 1234.5),
        (".", ",", "1.5", None),
        (" ", ",", "1 234,5", 1234.5),
        ("'", ".", "1'234.5", 1234.5),
        ("", ",", "1234,5", 1234.5),
        ("", ".", "12a", None),
    ],
)
def test_a_number_is_read_only_where_its_digits_are_grouped_as_the_map_says(
    thousands: str, decimal: str, text: str, value: float | None
) -> None:
    with open_connection() as con:
        sql = f"SELECT TRY_CAST({number_sql('v', thousands, decimal)} AS DOUBLE) FROM (SELECT ? AS v)"
        assert con.execute(sql, [text]).fetchall() == [(value,)]


def test_events_are_stored_by_customer_whatever_order_they_come_in(source: Path, tmp_path: Path) -> None:
    header, *lines = PAYMENTS.splitlines()
    mixed = [line.replace("2024-01-01", f"2024-01-{d:02}") for d in (9, 3, 7) for line in reversed(lines)]
    (source / "payments.csv").write_text("\n".join([header, *mixed]))
    import_tables(source, tmp_path / "out", load_map(source / "map.yaml"))
    with connect(tmp_path / "out", threads=1) as store:
        stored = store.con.execute("SELECT customer_id, ts FROM transactions").fetchall()
    assert len(stored) == 6
    assert stored == sorted(stored)


def test_an_imported_folder_imports_again_unchanged(source: Path, tmp_path: Path) -> None:
    import_tables(source, tmp_path / "one", load_map(source / "map.yaml"))
    import_tables(tmp_path / "one", tmp_path / "two")
    for table in ("customers", "transactions"):
        with connect(tmp_path / "one") as a, connect(tmp_path / "two") as b:
            assert a.con.execute(f"FROM {table}").fetchall() == b.con.execute(f"FROM {table}").fetchall()


def test_all_unreadable_values_of_all_tables_are_named_at_once(source: Path, tmp_path: Path) -> None:
    (source / "payments.csv").write_text(PAYMENTS + "8,yesterday,many,Food\n8,2024-02-03,9,Food\n")
    (source / "customers.csv").write_text(CUSTOMERS.replace("2021-05-05", "soon"))
    with pytest.raises(UserError) as caught:
        import_tables(source, tmp_path / "out", load_map(source / "map.yaml"))
    text = str(caught.value)
    for part in (
        "transactions.ts has 1 value that is no moment",
        "'yesterday'",
        "transactions.amount has 1 value that is no number",
        "'many'",
        "customers.joined_on",
        "'soon'",
    ):
        assert part in text
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*.new"))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("value,", "valeu,", "no column 'valeu' for transactions.amount; did you mean 'value'"),
        ("payments.csv", "payment.csv", "did you mean 'payments.csv'"),
        ("  transactions:", "  transaction:", "did you mean 'transactions'"),
        ("    columns:", "    colums:", "did you mean 'columns'"),
        ("{customer_id:", "{custommer_id:", "did you mean 'customer_id'"),
        ("horizon_days: 28", "horizon_days: soon", "horizon_days is 'soon'"),
        ("[2024-02-01]", "[someday]", "cut-off 'someday' is no date"),
        ("[2024-02-01]", "2024-02-01", "give a list of dates"),
        ("name: our bank", "name: [", "not valid YAML"),
        ("    constants:", "    thousands: x\n    constants:", "thousands is 'x'; give one of"),
        ("    constants:", "    skip_lines: -1\n    constants:", "skip_lines is -1; give how many lines"),
        ("    constants:", "    delimiter: abc\n    constants:", "delimiter is 'abc'; give one character"),
        ("    constants:", "    drop_incomplete: maybe\n    constants:", "drop_incomplete is 'maybe'; give true or false"),
        ("    constants:", "    encoding: utf-9\n    constants:", "'utf-9' is no encoding"),
        (
            "    constants:",
            "    formats: {amount: '%d'}\n    constants:",
            "unknown key 'amount' in tables.transactions.formats",
        ),
        ("Food: groceries", "no: groceries", "False; write the text in quotes"),
    ],
)
def test_a_mistake_in_the_map_is_one_sentence_with_the_nearest_name(
    source: Path, tmp_path: Path, old: str, new: str, match: str
) -> None:
    path = source / "map.yaml"
    path.write_text(MAP.replace("amount: value,", f"amount: {new}") if old == "value," else MAP.replace(old, new))
    with pytest.raises(UserError) as caught:
        import_tables(source, tmp_path / "out", load_map(path))
    assert match in str(caught.value)


def test_missing_required_tables_and_places_are_user_errors(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no transactions\.parquet or transactions\.csv"):
        import_tables(source, tmp_path / "out")
    with pytest.raises(UserError, match="does not exist; give a CSV"):
        import_tables(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(UserError, match="not an empty folder"):
        import_tables(source, source, SourceMap())


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_as_a_map_is_a_map_or_a_user_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("map") / "map.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert isinstance(load_map(path), SourceMap)
    except UserError as e:
        assert "map" in str(e)  # noqa: PT017


@settings(max_examples=15, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_table_import_or_are_a_user_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "customers.csv").write_text(CUSTOMERS)
    (folder / "transactions.csv").write_bytes(content)
    try:
        import_tables(folder, folder / "out")
    except UserError:
        assert not (folder / "out").exists()


# the commands


def test_the_command_line_makes_imports_and_checks_with_the_right_exit_codes(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synth", str(tmp_path / "bank"), "--customers", "40", "--seed", "2", "--workers", "1", "--json"]) == 0
    assert '"customers": 40' in capsys.readouterr().out
    assert main(["validate", str(tmp_path / "bank")]) == 0
    assert main(["import", "tables", str(source), str(tmp_path / "mine"), "--map", str(source / "map.yaml")]) == 0
    path = tmp_path / "bank" / "sessions.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    capsys.readouterr()
    assert main(["validate", str(tmp_path / "bank"), "--json"]) == 1
    assert '"table": "sessions"' in capsys.readouterr().out
    assert main(["validate", str(tmp_path / "nowhere")]) == 2
    assert main(["import", "tables", str(tmp_path / "nowhere"), str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    assert len(error.splitlines()) == 2
