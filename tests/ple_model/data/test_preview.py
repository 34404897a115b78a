"""What a source would become is shown before it is imported, and each value that would be lost is named by file and row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.cli import main
from ple_model.data.importers.currency_rule import CurrencyRule
from ple_model.data.importers.preview import RowFault, preview
from ple_model.data.importers.scan_source import FILE, ROW
from ple_model.data.importers.source_map import SourceMap, TableMap, load_map
from ple_model.data.importers.starter_map import write_starter
from ple_model.data.importers.tables import import_tables
from ple_model.data.importers.write_map import save_map
from ple_model.errors import UserError

HEAD = "card number;booking date;amount;shop\n"
ROWS = [f"c{k % 7};{1 + k % 28:02d}.{1 + k // 28 % 12:02d}.2024;{k + 1}.50;Shop {k % 3}" for k in range(336)]


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """Two monthly files, with a title above the header of both; a bad date, an amount that is none, and a missing customer."""
    folder = tmp_path / "months"
    folder.mkdir()
    rows = list(ROWS)
    rows[3] = rows[3].replace("04.01.2024", "someday")
    rows[200] = rows[200].replace("201.50", "12,5x")
    rows[201] = rows[201].replace("c5;", ";", 1)
    for name, part in (("a.csv", rows[:150]), ("b.csv", rows[150:])):
        (folder / name).write_text("Statement of 2024\n" + HEAD + "\n".join(part) + "\n", encoding="utf-8")
    return folder


def test_every_value_that_would_be_lost_is_named_by_file_and_row(months: Path, tmp_path: Path) -> None:
    write_starter(months, tmp_path / "map.yaml")
    found = preview(months, load_map(tmp_path / "map.yaml"))
    assert found.faults == (
        RowFault("b.csv", 54, "customer_id", ""),  # the title, the header, 51 rows before it
        RowFault("a.csv", 6, "ts", "someday"),
        RowFault("b.csv", 53, "amount", "12,5x"),
    )
    lines = {name: (months / name).read_text().splitlines() for name in ("a.csv", "b.csv")}
    assert "someday" in lines["a.csv"][6 - 1]
    assert "12,5x" in lines["b.csv"][53 - 1]
    assert {c.name: (c.filled, c.empty, c.lost) for c in found.columns}["ts"] == (335, 0, 1)
    assert not found.ok
    with pytest.raises(UserError) as refused:
        import_tables(months, tmp_path / "events", load_map(tmp_path / "map.yaml"))
    assert all(problem in str(refused.value) for problem in found.problems)


def test_the_first_rows_are_shown_as_they_are_read(months: Path, tmp_path: Path) -> None:
    write_starter(months, tmp_path / "map.yaml")
    found = preview(months, load_map(tmp_path / "map.yaml"), limit=2)
    assert [(r[FILE], r[ROW], r["ts"], r["amount"]) for r in found.first] == [
        ("a.csv", "3", "2024-01-01 00:00:00", "1.5"), ("a.csv", "4", "2024-01-02 00:00:00", "2.5"),
    ]  # fmt: skip
    assert (found.rows, found.span) == (336, ("2024-01-01", "2024-12-28"))
    assert found.cutoffs == load_map(tmp_path / "map.yaml").cutoffs
    assert set(found.looks) == {"card number", "booking date", "amount", "shop"}


def test_a_map_with_open_questions_is_previewed_as_far_as_it_goes(months: Path) -> None:
    asked = SourceMap(
        tables={"transactions": TableMap(columns={"customer_id": ("card number",), "ts": ("?",), "amount": ("?",)})}
    )
    found = preview(months, asked)
    assert found.open == ("tables.transactions.columns.ts", "tables.transactions.columns.amount")
    assert not any("transactions.ts" in p or "transactions.amount" in p for p in found.problems)
    assert [c.name for c in found.columns] == ["customer_id"]
    assert (found.span, found.cutoffs) == (("", ""), ())


def test_the_command_says_it_as_json_and_ends_with_1_where_an_import_would_be_refused(
    months: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_starter(months, tmp_path / "map.yaml")
    assert main(["preview", str(months), "--map", str(tmp_path / "map.yaml"), "--json"]) == 1
    plain = json.loads(capsys.readouterr().out)
    assert [f["row"] for f in plain["faults"]] == [54, 6, 53]
    assert main(["preview", str(tmp_path / "none.csv")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_starter_that_is_written_again_reads_back_as_the_same_map(months: Path, tmp_path: Path) -> None:
    write_starter(months, tmp_path / "map.yaml")
    found = load_map(tmp_path / "map.yaml")
    save_map(found, tmp_path / "again.yaml")
    assert load_map(tmp_path / "again.yaml") == found


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        TableMap,
        file=TEXT,
        columns=st.dictionaries(
            st.sampled_from(["customer_id", "ts", "amount"]), st.lists(TEXT, min_size=1, max_size=2).map(tuple)
        ),
        constants=st.dictionaries(st.just("kind"), TEXT),
        values=st.dictionaries(st.just("mcc_l1"), st.dictionaries(TEXT, st.none() | TEXT, min_size=1), max_size=1),
        formats=st.dictionaries(st.just("ts"), TEXT, max_size=1),
        thousands=st.sampled_from(["", ",", "'", " "]),
        decimal=st.sampled_from([".", ","]),
        spending=st.sampled_from(["positive", "negative"]),
        encoding=st.sampled_from([None, "cp949"]),
        delimiter=st.sampled_from([None, ";", "\t"]),
        skip_lines=st.sampled_from([None, 0, 3]),
        sheet=st.none() | TEXT,
        drop_incomplete=st.booleans(),
        rows=st.dictionaries(TEXT, st.dictionaries(TEXT, st.sampled_from(["keep", "drop", "?"]), min_size=1), max_size=2),
        currency=st.sampled_from(
            [CurrencyRule(), CurrencyRule("EUR"), CurrencyRule("EUR", "c"), CurrencyRule("EUR", "c", {"USD": 0.9, "EUR": 1.0})]
        ),
    )
)
def test_any_map_reads_back_as_itself(tmp_path_factory: pytest.TempPathFactory, table: TableMap) -> None:
    path = tmp_path_factory.mktemp("map") / "map.yaml"
    mapping = SourceMap("a: bank", ("2024-07-01",), 28, {"transactions": table}, "EUR")
    save_map(mapping, path)
    assert load_map(path) == mapping
