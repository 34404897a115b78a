"""What a source would become is shown before it is imported, and each value that would be lost is named by file and row."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.cli import main
from ple_model.data.importers.currency_rule import CurrencyRule
from ple_model.data.importers.preview import RowFault, preview
from ple_model.data.importers.row_numbers import with_rows
from ple_model.data.importers.scan_source import FILE, ROW
from ple_model.data.importers.source_map import SourceMap, TableMap, load_map
from ple_model.data.importers.starter_map import write_starter
from ple_model.data.importers.tables import import_tables
from ple_model.data.importers.write_map import save_map
from ple_model.errors import UserError
from ple_model.translation import training_sentence

HANGUL = re.compile(r"[가-힣]")
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
    assert all(HANGUL.search(training_sentence(problem, "ko")) for problem in found.problems)
    with pytest.raises(UserError) as refused:
        import_tables(months, tmp_path / "events", load_map(tmp_path / "map.yaml"))
    assert all(problem in str(refused.value) for problem in found.problems)


def test_what_a_column_looks_like_and_what_is_wrong_is_said_in_korean(months: Path, tmp_path: Path) -> None:
    write_starter(months, tmp_path / "map.yaml")
    found = preview(months, load_map(tmp_path / "map.yaml"))
    said = [training_sentence(s, "ko") for s in (*found.looks.values(), *found.problems)]
    assert found.problems
    assert len(found.looks) > 3
    assert [s for s in said if not HANGUL.search(s) or "values that" in s or "value that" in s] == []


def leaving_out(mapping: SourceMap, rows: dict[str, tuple[int, ...]]) -> SourceMap:
    return replace(mapping, tables={"transactions": replace(mapping.tables["transactions"], leave_out=rows)})


def test_faulty_rows_are_left_out_by_their_number_and_counted(months: Path, tmp_path: Path) -> None:
    write_starter(months, tmp_path / "map.yaml")
    starter = load_map(tmp_path / "map.yaml")
    faulty = [(f.file, f.row) for f in preview(months, starter).faults]
    save_map(leaving_out(starter, with_rows({}, faulty)), tmp_path / "map.yaml")
    mapping = load_map(tmp_path / "map.yaml")
    found = preview(months, mapping)
    assert (found.rows, found.faults, found.problems, found.ok) == (333, (), (), True)
    note = "3 rows were left out by number (a.csv: 6; b.csv: 53, 54), as the map says"
    assert note in found.notes
    assert HANGUL.search(training_sentence(note, "ko"))
    done = import_tables(months, tmp_path / "events", mapping)
    assert done.tables["transactions"].rows == 333
    assert f"transactions: {note}" in done.defaults.notes
    whole = [r for r in ROWS if r not in (ROWS[3], ROWS[200], ROWS[201])]
    (tmp_path / "whole.csv").write_text("Statement\n" + HEAD + "\n".join(whole) + "\n", encoding="utf-8")
    import_tables(tmp_path / "whole.csv", tmp_path / "same", starter)
    same = [(tmp_path / name / "transactions.parquet") for name in ("events", "same")]
    assert pq.read_table(same[0]).equals(pq.read_table(same[1]))  # type: ignore[no-untyped-call]


def test_a_row_that_can_be_read_or_is_not_there_is_said(months: Path, tmp_path: Path) -> None:
    write_starter(months, tmp_path / "map.yaml")
    starter = load_map(tmp_path / "map.yaml")
    found = preview(months, leaving_out(starter, {"a.csv": (6, 7)}))
    assert any(
        n.startswith("1 of the rows left out by their number can be read, for example row 7 of 'a.csv'") for n in found.problems
    )
    assert any(
        "names row 9999 of 'a.csv', which is not there" in p
        for p in preview(months, leaving_out(starter, {"a.csv": (9999,)})).problems
    )
    assert not found.ok, "in a newer file it may be another row"
    wrong = preview(months, leaving_out(starter, {"c.csv": (6,)})).problems
    assert any("row 6 of 'c.csv', which is not there" in p and "did you mean" in p for p in wrong)


@pytest.mark.parametrize("rows", ["[3]", "{a.csv: 3}", "{a.csv: [0]}", "{a.csv: [true]}", "{a.csv: []}"])
def test_rows_that_are_none_are_refused_by_their_place(tmp_path: Path, rows: str) -> None:
    (tmp_path / "map.yaml").write_text(f"tables: {{transactions: {{leave_out: {rows}}}}}", encoding="utf-8")
    with pytest.raises(UserError, match=r"tables\.transactions\.leave_out"):
        load_map(tmp_path / "map.yaml")


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
        leave_out=st.dictionaries(
            TEXT, st.sets(st.integers(1, 10**9), min_size=1, max_size=3).map(lambda rows: tuple(sorted(rows))), max_size=2
        ),
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
