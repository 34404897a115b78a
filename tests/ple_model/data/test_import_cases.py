"""Files as portals, spreadsheets and banks hand them out: each is read as it is meant, asked about, or refused in one sentence.

Every file goes through `ple import map`, its questions are answered, and `ple import tables` reads it.
"""

from __future__ import annotations

import csv
import random
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ple_model.cli import main
from ple_model.data.events.connect import connect
from ple_model.data.events.manifest import EventsManifest
from ple_model.data.importers.currencies import in_header
from ple_model.money import money

pytestmark = pytest.mark.slow

Row = tuple[str, date, float, str, str]
KINDS = ("Restaurants", "Pharmacy", "Hospitality", "Vehicle Fuel")
HEADER = ("date", "card number", "merchant", "category", "amount")


def payments(seed: int = 0, cards: int = 12, each: int = 20) -> list[Row]:
    """A year of purchases: (card, day, amount, merchant, category)."""
    rng = random.Random(seed)
    days = [date(2023, 1, 1) + timedelta(days=k) for k in range(365)]
    return [
        (
            f"{card:06d}", rng.choice(days), round(rng.lognormvariate(3, 1), 2) * (-1 if k == 3 else 1),
            f"shop {rng.randrange(20)}", rng.choice(KINDS),
        )
        for card in range(cards)
        for k in range(each)
    ]  # fmt: skip


def write(
    path: Path, header: tuple[str, ...], rows: Iterator[tuple[str, ...]], delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def plain(
    path: Path, amount: Callable[[float], str] = str, day: str = "%Y-%m-%d", delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    rows = ((d.strftime(day), c, m, k, amount(a)) for c, d, a, m, k in payments())
    return write(path, HEADER, rows, delimiter, encoding)


def answered(path: Path, **rows: str) -> dict[str, Any]:
    """The map with every open category as unknown, and every open row by `rows`."""
    text = path.read_text(encoding="utf-8")
    plan = yaml.safe_load(text)
    table = plan["tables"]["transactions"]
    for pairs in table.get("values", {}).values():
        pairs.update({k: None for k, v in pairs.items() if v == "?"})
    for pairs in table.get("rows", {}).values():
        pairs.update({k: rows[k] for k, v in pairs.items() if v == "?" and k in rows})
    path.write_text(yaml.safe_dump(plan, allow_unicode=True, sort_keys=False), encoding="utf-8")
    assert isinstance(table, dict)
    return table


Importer = Callable[..., tuple[str, dict[str, Any], list[tuple[object, ...]]]]


@pytest.fixture
def importer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importer:
    """Map, answer, import: what the map said, the table's part of it, and (customer, day, amount, merchant, category name)."""

    def run(source: Path, **rows: str) -> tuple[str, dict[str, Any], list[tuple[object, ...]]]:
        plan, events = tmp_path / "map.yaml", tmp_path / "events"
        assert main(["import", "map", str(source), str(plan)]) in (0, 1), capsys.readouterr().err
        said = capsys.readouterr().out
        table = answered(plan, **rows)
        assert main(["import", "tables", str(source), str(events), "--map", str(plan)]) == 0, capsys.readouterr().err
        with connect(events) as store:
            found = store.con.execute("SELECT customer_id, ts::DATE, amount, merchant_id, mcc_l2 FROM transactions").fetchall()
        return said, table, found

    return run


def expected(amount: Callable[[float], float] = float) -> list[tuple[object, ...]]:
    return sorted((c, d, amount(a), m, k) for c, d, a, m, k in payments())


ENGLISH = ("CARD NUMBER", "TRANS DATE", "ORIGINAL GROSS AMT", "MERCHANT NAME", "TRANS CAC DESC 1")
GERMAN = ("Karte", "Buchungstag", "Betrag", "Händler", "Kategorie")
NOTHING = ("c1", "c2", "c3", "c4", "c5")


@pytest.mark.parametrize("header", [ENGLISH, NOTHING], ids=["procurement", "no word at all"])
def test_columns_are_found_by_their_values(tmp_path: Path, importer: Importer, header: tuple[str, ...]) -> None:
    file = write(tmp_path / "p.csv", header, ((c, d.isoformat(), str(a), m, k) for c, d, a, m, k in payments()))
    said, table, found = importer(file)
    wanted = dict(zip(("customer_id", "ts", "amount", "merchant_id", "mcc_l1"), header, strict=True))
    assert {k: table["columns"][k] for k in wanted} == wanted
    assert "found by its values" in said
    assert sorted(found) == expected()


def test_a_german_export_in_cp1252_with_decimal_commas(tmp_path: Path, importer: Importer) -> None:
    lines = ((c, d.strftime("%d.%m.%Y"), f"{a:.2f}".replace(".", ","), m, k) for c, d, a, m, k in payments())
    said, table, found = importer(write(tmp_path / "umsatz.csv", GERMAN, lines, ";", "cp1252"))
    assert table["encoding"] == "cp1252"
    assert "cp1252 ('Händler')" in said
    assert table["columns"]["merchant_id"] == "Händler"
    assert sorted(found) == expected()


@pytest.mark.parametrize("how", ["folder", "pattern", "from above"])
def test_a_folder_or_a_pattern_of_files_is_one_table(
    tmp_path: Path, importer: Importer, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    for month in range(1, 13):
        rows = ((c, d.isoformat(), str(a), m, k) for c, d, a, m, k in payments() if d.month == month)
        write(tmp_path / "monthly" / f"2023-{month:02d}.csv", ENGLISH, rows)
    (tmp_path / "monthly" / "readme.md").write_text("not a table")
    source = tmp_path / "monthly" / "2023-*.csv" if how == "pattern" else tmp_path / "monthly"
    said, _, found = importer(source)
    assert "12 files of one layout, 240 rows" in said
    assert ("not read: readme.md" in said) == (how != "pattern")
    assert sorted(found) == expected()
    if how == "from above":
        out = tmp_path / "again"
        assert main(["import", "tables", str(tmp_path), str(out), "--map", str(tmp_path / "map.yaml")]) == 0
    (tmp_path / "monthly" / "2023-07.csv").write_text("CARD NUMBER,TRANS DATE,AMOUNT\n1,2023-07-01,5\n")
    capsys.readouterr()
    assert main(["import", "tables", str(source), str(tmp_path / "x"), "--map", str(tmp_path / "map.yaml")]) == 2
    error = capsys.readouterr().err
    assert "2023-07.csv' has another layout than the 11 files like" in error
    assert "it lacks MERCHANT NAME, ORIGINAL GROSS AMT, TRANS CAC DESC 1 and has AMOUNT" in error


def test_a_name_is_that_very_file(tmp_path: Path, importer: Importer) -> None:
    plain(tmp_path / "x[1].csv")
    (tmp_path / "x1.csv").write_text("another\nfile\n")
    assert sorted(importer(tmp_path / "x[1].csv")[2]) == expected()


@pytest.mark.parametrize("order", ["%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d.%m.%y"])
def test_two_digit_years_are_read_in_the_one_order_that_fits_all_rows(tmp_path: Path, importer: Importer, order: str) -> None:
    said, table, found = importer(plain(tmp_path / "x.csv", day=order))
    assert table["formats"] == {"ts": order}
    assert "no other order of day, month and year fits" in said
    assert sorted(found) == expected()


def test_where_two_orders_fit_it_is_asked_and_nothing_is_read_until_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_text("card,date,amount\na,03/04/23,1\nb,05/11/23,2\na,07/08/23,2\n")
    assert main(["import", "map", str(tmp_path / "x.csv"), str(tmp_path / "map.yaml")]) == 1
    said = capsys.readouterr().out
    assert "'%d/%m/%y': 2023-04-03 to 2023-11-05" in said
    assert "'%m/%d/%y': 2023-03-04 to 2023-07-08" in said
    assert main(["import", "tables", str(tmp_path / "x.csv"), str(tmp_path / "e"), "--map", str(tmp_path / "map.yaml")]) == 2
    assert 'questions to answer, marked "?": tables.transactions.formats.ts' in capsys.readouterr().err


def test_a_year_of_two_digits_is_never_read_as_one_of_the_first_century(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "transactions.csv").write_text("customer_id,ts,amount\na,05/10/31,1\n")
    (tmp_path / "map.yaml").write_text("tables: {transactions: {formats: {ts: '%d/%m/%Y'}}}")
    for extra in ([], ["--map", str(tmp_path / "map.yaml")]):
        assert main(["import", "tables", str(tmp_path), str(tmp_path / "e"), *extra]) == 2
        assert "1 value that is no moment, for example '05/10/31'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ts", "hint"),
    [
        (["03.01.2024", "04.01.2024", "31.01.2024", "soon"], "'leave_out' of the map"),  # the map reads all that are dates
        (["01/03/2024", "01/04/2024", "01/31/2024", "soon"], "formats: {ts: '%m/%d/%Y'}"),
    ],
)
def test_what_is_told_of_unreadable_values_is_what_would_help(
    ts: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The map's format where the column is written so, but for a word; another one where that reads more."""
    (tmp_path / "transactions.csv").write_text("customer_id,ts,amount\n" + "".join(f"a,{t},1\n" for t in ts))
    (tmp_path / "map.yaml").write_text("tables: {transactions: {formats: {ts: '%d.%m.%Y'}}}")
    assert main(["import", "tables", str(tmp_path), str(tmp_path / "e"), "--map", str(tmp_path / "map.yaml")]) == 2
    assert hint in capsys.readouterr().err


def _dotted(value: float) -> str:
    return f"{round(abs(value) * 20):,}".replace(",", ".")


def test_a_dot_for_thousands_is_told_by_the_whole_column(tmp_path: Path, importer: Importer) -> None:
    said, table, found = importer(plain(tmp_path / "x.csv", _dotted, delimiter=";"))
    assert (table["thousands"], table["decimal"]) == (".", ",")
    assert "every number with '.' has three digits after it and every other is below a thousand" in said
    assert sorted(found) == expected(lambda a: round(abs(a) * 20))


def test_a_zero_before_the_comma_proves_decimals(tmp_path: Path, importer: Importer) -> None:
    _, table, found = importer(plain(tmp_path / "x.csv", lambda a: f"{abs(a) / 10:.3f}".replace(".", ","), delimiter=";"))
    assert table["decimal"] == ","
    assert sorted(found) == expected(lambda a: round(abs(a) / 10, 3))


def test_three_digits_after_every_comma_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = plain(tmp_path / "x.csv", lambda a: f"{abs(a) + 1:.3f}".replace(".", ","), delimiter=";")
    assert main(["import", "map", str(file), str(tmp_path / "map.yaml")]) == 1
    assert "can be read with ',' for thousands or for decimals, and nothing in the column decides" in capsys.readouterr().out
    answered(tmp_path / "map.yaml")
    assert main(["import", "tables", str(file), str(tmp_path / "e"), "--map", str(tmp_path / "map.yaml")]) == 2
    assert "tables.transactions.decimal" in capsys.readouterr().err


def test_ids_that_a_spreadsheet_rounded_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(
        tmp_path / "transactions.csv", HEADER, ((d.isoformat(), "9.41017E+15", m, k, str(a)) for _, d, a, m, k in payments())
    )
    assert main(["import", "map", str(file), str(tmp_path / "map.yaml")]) == 2
    assert "digits were lost before this file was written" in capsys.readouterr().err
    assert not (tmp_path / "map.yaml").exists()
    (tmp_path / "map.yaml").write_text("tables: {transactions: {columns: {customer_id: card number, ts: date}}}")
    assert main(["import", "tables", str(file), str(tmp_path / "e"), "--map", str(tmp_path / "map.yaml")]) == 2
    assert "240 ids such as '9.41017E+15': digits were lost" in capsys.readouterr().err


def test_a_status_says_which_rows_count(tmp_path: Path, importer: Importer) -> None:
    states = ("DECLINED", "PENDING", "BOOKED", "BOOKED")
    rows = [(d.isoformat(), c, m, k, str(a), states[i % 4]) for i, (c, d, a, m, k) in enumerate(payments())]
    said, table, found = importer(write(tmp_path / "x.csv", (*HEADER, "status"), iter(rows)), PENDING="drop")
    assert "BOOKED (120 rows): keep, DECLINED (60 rows): drop, PENDING (60 rows): ?" in said
    assert "do rows count whose 'status' is PENDING?" in said
    assert table["rows"] == {"status": {"BOOKED": "keep", "DECLINED": "drop", "PENDING": "drop"}}
    assert len(found) == 120


def test_a_status_nobody_spoke_of_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "transactions.csv").write_text(
        "customer_id,ts,amount,state\na,2023-01-01,5,OK\na,2023-01-02,5,LATE\na,2023-01-03,5,\n"
    )
    path = tmp_path / "map.yaml"
    path.write_text("tables: {transactions: {rows: {state: {OK: keep}}}}")
    assert main(["import", "tables", str(tmp_path), str(tmp_path / "e"), "--map", str(path)]) == 2
    assert "tables.transactions.rows.state says nothing of 'LATE'" in capsys.readouterr().err
    path.write_text("tables: {transactions: {rows: {state: {OK: keep, LATE: drop}}}}")
    assert main(["import", "tables", str(tmp_path), str(tmp_path / "e"), "--map", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1 rows were left out by 'state' (LATE 1), as the map says" in said
    assert "transactions             2 rows" in said


def test_currencies_are_never_added_unasked(tmp_path: Path, importer: Importer, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(d.isoformat(), c, m, k, str(a), "KRW" if int(c) % 3 == 0 else "USD") for c, d, a, m, k in payments()]
    file = write(tmp_path / "x.csv", (*HEADER, "currency"), iter(rows))
    (tmp_path / "own.yaml").write_text("tables: {transactions: {columns: {customer_id: card number, ts: date}}}")
    assert main(["import", "tables", str(file), str(tmp_path / "e"), "--map", str(tmp_path / "own.yaml")]) == 2
    assert (
        "2 currencies in 'currency' (USD 67%, KRW 33%), and amounts of different currencies are not added"
        in capsys.readouterr().err
    )
    said, _, found = importer(file, USD="keep", KRW="drop")
    assert "'currency' holds 2 currencies" in said
    assert {c for c, *_ in found} == {f"{c:06d}" for c in range(12) if c % 3}


def test_of_two_columns_of_amounts_the_map_asks_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ((d.isoformat(), c, m, k, str(a), str(round(a * 1.1, 2))) for c, d, a, m, k in payments())
    file = write(tmp_path / "x.csv", (*HEADER, "billing amount"), rows)
    assert main(["import", "map", str(file), str(tmp_path / "map.yaml")]) == 1
    assert "several columns may be 'amount': amount (amounts," in (said := capsys.readouterr().out)
    assert "billing amount (amounts," in said
    answered(tmp_path / "map.yaml")
    assert main(["import", "tables", str(file), str(tmp_path / "e"), "--map", str(tmp_path / "map.yaml")]) == 2
    assert "tables.transactions.columns.amount" in capsys.readouterr().err


def test_a_line_break_in_a_cell_is_read(tmp_path: Path, importer: Importer) -> None:
    rows = ((d.isoformat(), c, m + "\n12 High St", k, str(a)) for c, d, a, m, k in payments())
    _, _, found = importer(write(tmp_path / "x.csv", HEADER, rows))
    assert sorted(found) == sorted((c, d, a, f"{m} 12 High St", k) for c, d, a, m, k in payments())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "utf-32-le"])
def test_wide_characters_without_a_mark_are_found(tmp_path: Path, importer: Importer, encoding: str) -> None:
    assert sorted(importer(plain(tmp_path / "x.csv", encoding=encoding))[2]) == expected()


def test_a_stray_row_in_the_future_is_named_and_moves_no_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, path = plain(tmp_path / "x.csv"), tmp_path / "map.yaml"
    with file.open("a") as out:
        out.write("2042-01-09,000001,shop 1,Pharmacy,12.0\n")
    assert main(["import", "map", str(file), str(path)]) == 1
    assert "1 rows from 2042-01-09 on, far from all others" in capsys.readouterr().out
    assert yaml.safe_load(path.read_text())["cutoffs"][-1].year == 2023
    answered(path)
    assert main(["import", "tables", str(file), str(tmp_path / "events"), "--map", str(path)]) == 1
    assert "for example '2042-01-09 00:00:00'" in "".join(capsys.readouterr())


def test_every_column_that_is_left_out_says_what_it_looks_like(tmp_path: Path, importer: Importer) -> None:
    header = ("no", "card", "day", "amount", "shop", "kind", "points", "empty", "land", "until")
    rows = (
        (str(10_000 + i), c, d.isoformat(), str(a), m, k, str(i % 7), "", "KR", (d + timedelta(days=9)).isoformat())
        for i, (c, d, a, m, k) in enumerate(payments())
    )
    said, _, _ = importer(write(tmp_path / "x.csv", header, rows))
    for line in (
        "left out: no: a number of the row, different in each, for example '10000'",
        "left out: points: numbers, 0 to 6",
        "left out: empty: empty",
        "left out: land: the same in every row: 'KR'",
    ):
        assert line in said
    assert "several columns may be 'ts'" not in said or "until" in said


def _sheet(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    """A minimal spreadsheet: text in the cells themselves, dates as days since 1899-12-30 in a date style."""

    def cell(value: object) -> str:
        if isinstance(value, date):
            return f'<c s="1"><v>{(value - date(1899, 12, 30)).days}</v></c>'
        return f"<c><v>{value}</v></c>" if isinstance(value, int | float) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'

    main_ns = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(path, "w") as book:
        office = "http://schemas.openxmlformats.org/package/2006"
        book.writestr("[Content_Types].xml", f'<Types xmlns="{office}/content-types"/>')
        book.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{office}/relationships"><Relationship Id="r" Type="{links}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>',
        )
        names = "".join(f'<sheet name="{n}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(sheets, 1))
        book.writestr("xl/workbook.xml", f'<workbook {main_ns} xmlns:r="{links}"><sheets>{names}</sheets></workbook>')
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            + "".join(
                f'<Relationship Id="r{i}" Type="{links}/worksheet" Target="worksheets/s{i}.xml"/>'
                for i in range(1, len(sheets) + 1)
            )
            + f'<Relationship Id="st" Type="{links}/styles" Target="styles.xml"/></Relationships>',
        )
        book.writestr(
            "xl/styles.xml", f'<styleSheet {main_ns}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'
        )
        for i, rows in enumerate(sheets.values(), 1):
            lines = "".join(f"<row>{''.join(map(cell, r))}</row>" for r in rows)
            book.writestr(f"xl/worksheets/s{i}.xml", f"<worksheet {main_ns}><sheetData>{lines}</sheetData></worksheet>")
    return path


@pytest.mark.parametrize("name", ["x.xlsx", "renamed.csv"])
def test_a_spreadsheet_is_read_whatever_its_name(tmp_path: Path, importer: Importer, name: str) -> None:
    rows: list[list[object]] = [list(HEADER), *([d, c, m, k, a] for c, d, a, m, k in payments())]
    said, table, found = importer(_sheet(tmp_path / name, {"Cover": [["report", "of 2023"]], "Data": rows}))
    assert table["sheet"] == "Data"
    assert "sheet 'Data' with the most rows (not read: Cover)" in said
    assert sorted(found) == expected()


def test_a_real_xls_with_a_cover_titles_and_merged_cells(tmp_path: Path, importer: Importer) -> None:
    """Written by xlwt, which writes what Excel 97 to 2003 does."""
    xlwt = pytest.importorskip("xlwt")
    book = xlwt.Workbook(encoding="utf-8")
    book.add_sheet("Cover").write(0, 0, "Statement")
    sheet = book.add_sheet("Payments")
    sheet.write_merge(0, 0, 0, 4, "Card payments of 2023")
    sheet.write_merge(1, 1, 0, 2, "Payment")
    sheet.write_merge(1, 1, 3, 4, "Shop")
    day = xlwt.easyxf(num_format_str="DD.MM.YYYY")
    for k, name in enumerate(HEADER):
        sheet.write(2, k, name)
    for i, (c, d, a, m, kind) in enumerate(payments(), 3):
        sheet.write(i, 0, d, day)
        for k, value in enumerate((c, m, kind, a), 1):
            sheet.write(i, k, value)
    book.save(str(tmp_path / "x.xls"))
    assert (tmp_path / "x.xls").read_bytes().startswith(b"\xd0\xcf\x11\xe0")
    said, _, found = importer(tmp_path / "x.xls")
    assert "sheet 'Payments' with the most rows (not read: Cover)" in said
    assert sorted(found) == expected()


def test_card_numbers_that_a_spreadsheet_holds_as_numbers_have_lost_digits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[list[object]] = [
        ["date", "card", "amount"],
        *([d, 9410172937940000 + int(c), a] for c, d, a, _, _ in payments()),
    ]
    assert main(["import", "map", str(_sheet(tmp_path / "x.xlsx", {"S": rows})), str(tmp_path / "map.yaml")]) == 2
    assert "digits were lost before this file was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.ofx", b"OFXHEADER:100\nDATA:OFXSGML\n", "an OFX bank file"),
        ("a.csv", b'<?xml version="1.0"?>\n<?OFX OFXHEADER="200"?>', "an OFX bank file"),
        ("a.qif", b"!Type:CCard\nD1/2/23\nT-5\n^\n", "a QIF file"),
        ("a.sta", b":20:1\n:25:12/3\n", "an MT940 bank statement"),
        ("a.pdf", b"%PDF-1.7\n", "a PDF: its pages hold drawn text"),
        ("a.xls", b"<html><body><table><tr><td>1</td></tr></table>", "a web page, perhaps saved under the name of"),
        ("a.csv", b"", "is empty (0 bytes)"),
        ("a.csv", b" \n\n", "holds nothing but blanks"),
        ("a.csv", bytes(range(1, 256)) * 20, "is no text, whatever its name says"),
        ("a.csv", b"\x1f\x8b\x08\0", "packed with gzip"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "no spreadsheet that can be read"),
        ("a.parquet", b"card,date\n1,2\n", "no Parquet file, whatever its name says"),
        ("a.csv", b"date,card,amount\n", "a header and no rows"),
        ("a.json", b'[{"a": 1}]', "a JSON file"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["import", "map", str(tmp_path / name), str(tmp_path / "map.yaml")]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert "\n" not in error
    assert not (tmp_path / "map.yaml").exists()


def test_a_zip_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "x.csv", "w") as archive:
        archive.writestr("january.csv", "a,b\n")
    assert main(["import", "map", str(tmp_path / "x.csv"), str(tmp_path / "map.yaml")]) == 2
    assert "a zip archive (in it: january.csv); unpack it first" in capsys.readouterr().err


def test_a_map_chooses_one_currency_or_converts_by_its_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [(d, c, m, k, a, "KRW" if int(c) % 3 == 0 else "usd") for c, d, a, m, k in payments()]
    file = write(tmp_path / "x.csv", (*HEADER, "cur"), ((d.isoformat(), c, m, k, str(a), u) for d, c, m, k, a, u in found))

    def imported(name: str, rule: str, top: str = "") -> tuple[int, str, Path]:
        plan, out = tmp_path / f"{name}.yaml", tmp_path / name
        columns = "columns: {customer_id: card number, ts: date}"
        plan.write_text(f"{top}\ntables: {{transactions: {{{columns}, currency: {rule}}}}}\n")
        code = main(["import", "tables", str(file), str(out), "--map", str(plan)])
        return code, capsys.readouterr().err, out

    def total(out: Path) -> float:
        with connect(out) as store:
            return float(store.con.execute("SELECT sum(amount) FROM transactions").fetchall()[0][0])

    code, said, out = imported("kept", "{column: cur, keep: USD}")
    assert code == 0, said
    assert EventsManifest.load(out).currency == "USD"
    assert total(out) == pytest.approx(sum(a for _, _, _, _, a, u in found if u == "usd"))
    assert "rows in another currency than USD were left out" in " ".join(EventsManifest.load(out).defaults.notes)

    code, said, out = imported("converted", "{column: cur, to: USD, rates: {KRW: 0.00075, USD: 1}}")
    assert code == 0, said
    assert EventsManifest.load(out).currency == "USD"
    assert total(out) == pytest.approx(sum(a * (0.00075 if u == "KRW" else 1) for _, _, _, _, a, u in found))

    refused = {
        "USD": "2 currencies in 'cur' (usd 67%, KRW 33%)",
        "{column: cur, to: USD, rates: {EUR: 1.1}}": "gives no rate for KRW (80 rows)",
        "{column: cur, keep: EUR}": "has no row in EUR",
        "{column: cur, keep: KWR}": "did you mean 'KRW'?",
        "{column: curr, keep: USD}": "did you mean 'cur'?",
        "{column: cur, to: USD, rates: {KRW: 0}}": "rates.KRW is 0; give a number above 0",
        "{column: cur}": "give 'column' and either",
    }
    for n, (rule, sentence) in enumerate(refused.items()):
        code, said, out = imported(f"refused{n}", rule)
        assert (code, sentence in said, out.exists()) == (2, True, False), said
    code, said, _ = imported("other", "{column: cur, keep: USD}", "currency: KRW")
    assert (code, "amounts are in different currencies (the map KRW, transactions USD)" in said) == (2, True), said


def test_the_one_currency_that_a_file_names_is_that_of_its_amounts(tmp_path: Path) -> None:
    rows = [(d.isoformat(), c, m, k, str(a)) for c, d, a, m, k in payments()]
    column = write(tmp_path / "column" / "x.csv", (*HEADER, "cur"), ((*r, "KRW") for r in rows))
    beside = write(tmp_path / "beside" / "x.csv", HEADER, ((*r[:4], f"€{float(r[4]) * 100:,.2f}") for r in rows))
    silent = write(tmp_path / "silent" / "x.csv", HEADER, iter(rows))
    for file, code in ((column, "KRW"), (beside, "EUR"), (silent, "")):
        plan = file.with_name("map.yaml")
        assert main(["import", "map", str(file), str(plan)]) in (0, 1)
        answered(plan)
        assert main(["import", "tables", str(file), str(file.with_name("events")), "--map", str(plan)]) == 0
        assert EventsManifest.load(file.with_name("events")).currency == code


def turned(path: Path) -> Path:
    """The payments as an account's statement writes them: money spent with a minus, refunds without."""
    rows = ((d.isoformat(), c, m, k, str(-a)) for c, d, a, m, k in payments())
    return write(path, HEADER, rows)


def test_spending_written_with_a_minus_is_asked_and_then_turned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, events = tmp_path / "map.yaml", tmp_path / "events"
    source = turned(tmp_path / "statement.csv")
    assert main(["import", "map", str(source), str(plan)]) in (0, 1)
    assert "95% of the amounts in 'amount' are below 0: is money spent written with a minus" in capsys.readouterr().out
    answered(plan)
    assert main(["import", "tables", str(source), str(events), "--map", str(plan)]) == 2
    assert "tables.transactions.spending" in capsys.readouterr().err
    plan.write_text(plan.read_text(encoding="utf-8").replace("spending: '?'", "spending: negative"), encoding="utf-8")
    assert main(["import", "tables", str(source), str(events), "--map", str(plan)]) == 0, capsys.readouterr().err
    with connect(events) as store:
        found = sorted(a for (a,) in store.con.execute("SELECT amount FROM transactions").fetchall())
    assert found == sorted(a for _, _, a, _, _ in payments())


def test_more_refunds_than_purchases_are_no_card_payments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, events = tmp_path / "map.yaml", tmp_path / "events"
    source = turned(tmp_path / "statement.csv")
    main(["import", "map", str(source), str(plan)])
    answered(plan)
    plan.write_text(plan.read_text(encoding="utf-8").replace("spending: '?'", "spending: positive"), encoding="utf-8")
    codes = [main(["import", "tables", str(source), str(events), "--map", str(plan)])]
    codes += [main(["validate", str(events)])] if codes == [0] else []
    said = capsys.readouterr()
    assert codes[-1] != 0
    assert "negative card amounts, more than the 12 positive ones" in said.out + said.err
    assert "spending: negative in the map" in said.out + said.err


def test_refunds_as_usual_are_not_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "map.yaml"
    main(["import", "map", str(plain(tmp_path / "payments.csv")), str(plan)])
    assert "12 below 0 (refunds)" in capsys.readouterr().out
    assert "spending" not in yaml.safe_load(plan.read_text(encoding="utf-8"))["tables"]["transactions"]


def test_a_sign_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, plan = plain(tmp_path / "payments.csv"), tmp_path / "map.yaml"
    plan.write_text("tables: {transactions: {spending: negativ}}", encoding="utf-8")
    assert main(["import", "tables", str(source), str(tmp_path / "events"), "--map", str(plan)]) == 2
    assert "tables.transactions.spending is 'negativ'" in capsys.readouterr().err


HEADS = {
    "an index without a name": (",", ",".join(HEADER), 0),
    "titles": ("", "Statement,,,,\n,,,,\nPeriod,2023-01-01,,,\n" + ",".join(HEADER), 3),
    "merged cells": ("", "Payment,Payment,Shop,Shop,Payment\n" + ",".join(HEADER), 1),
    "short titles": ("", "Statement of 2023\nprinted 2024-01-02\n\n" + ",".join(HEADER), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_header_is_found_under_titles_and_with_a_name_missing(tmp_path: Path, importer: Importer, name: str) -> None:
    index, head, skip = HEADS[name]
    rows = (f"{k if index else ''}{index}{d},{c},{m},{kind},{a}\n" for k, (c, d, a, m, kind) in enumerate(payments()))
    (tmp_path / "x.csv").write_text(index + head + "\n" + "".join(rows))
    _, table, found = importer(tmp_path / "x.csv")
    assert table.get("skip_lines", 0) == skip
    assert sorted(found) == expected()


def test_a_file_without_a_header_loses_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("".join(f"{c},{d},{a},{m},{k}\n" for c, d, a, m, k in payments()))
    assert main(["import", "map", str(tmp_path / "x.csv"), str(tmp_path / "map.yaml")]) == 2
    assert "has no line of column names: its first row is '000000, 2023-" in capsys.readouterr().err


def test_a_hidden_card_number_is_the_card_and_a_reference_is_no_amount(tmp_path: Path, importer: Importer) -> None:
    """Of a Polish export: the card was taken for the merchant, the reference for an amount."""
    header = ("Data transakcji", "Nr referencyjny", "Nr karty", "Akceptant", "Kwota rozliczenia")
    rows = [
        (d.isoformat(), f"{(k * 7919 + 13) * 104729 % 10**12:012d}", f"4251 25** **** {c[2:]}", m, str(a))
        for k, (c, d, a, m, _) in enumerate(payments())
    ]
    said, table, _ = importer(write(tmp_path / "x.csv", header, iter(rows), ";"))
    wanted = {"customer_id": header[2], "ts": header[0], "amount": header[4], "merchant_id": header[3], "brand": header[3]}
    assert {k: table["columns"].get(k) for k in wanted} == wanted
    assert "left out: Nr referencyjny: a number of the row" in said


def test_ranges_are_of_the_whole_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"c{k % 50}", f"2023-01-01 {k // 3600:02d}:{k // 60 % 60:02d}:{k % 60:02d}", f"{k + 0.25}") for k in range(9000)]
    file = write(tmp_path / "x.csv", ("card", "ts", "amount"), ((*r, r[1], f"{float(r[2]) * 2}") for r in rows))
    file.write_text(file.read_text().replace("card,ts,amount", "card,ts,amount,until,another"))
    assert main(["import", "map", str(file), str(tmp_path / "map.yaml")]) == 1
    said = capsys.readouterr().out
    assert "amounts, 0.25 to 8,999.25" in said
    assert "amounts, 0.50 to 17,998.50" in said


POLISH = (
    "Nr karty", "Data transakcji", "Data księgowania", "Kwota transakcji", "Waluta transakcji", "Kwota rozliczenia",
    "Waluta rozliczenia",
)  # fmt: skip


def billed(path: Path) -> Path:
    """Payments abroad beside what was billed for them in zloty, with a total at the end."""

    def comma(value: float) -> str:
        return f"{value:.2f}".replace(".", ",")

    rows = [
        (
            c, d.strftime("%d/%m/%Y"), (d + timedelta(days=2)).strftime("%d/%m/%Y"), comma(a / 4 if k % 9 == 0 else a),
            "EUR" if k % 9 == 0 else "PLN", comma(a), "PLN",
        )
        for k, (c, d, a, _, _) in enumerate(payments())
    ]  # fmt: skip
    return write(path, POLISH, iter([*rows, ("Razem", "", "", "", "", comma(sum(a for _, _, a, _, _ in payments())), "")]), ";")


def test_of_an_open_column_only_the_name_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, plan, events = billed(tmp_path / "x.csv"), tmp_path / "map.yaml", tmp_path / "events"
    assert main(["import", "map", str(file), str(plan)]) == 1
    said = capsys.readouterr().out
    assert "keep all where amount is 'Kwota rozliczenia', in PLN by 'Waluta rozliczenia'" in said
    table = answered(plan, PLN="keep", EUR="keep")
    assert table["columns"]["ts"] == table["columns"]["amount"] == "?"
    assert (table["formats"], table["decimal"], table["drop_incomplete"]) == ({"ts": "%d/%m/%Y"}, ",", True)
    whole = yaml.safe_load(plan.read_text(encoding="utf-8"))
    assert len(whole["cutoffs"]) == 4
    table = whole["tables"]["transactions"]
    table["columns"] |= {"ts": POLISH[1], "amount": POLISH[5]}
    plan.write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
    assert main(["import", "tables", str(file), str(events), "--map", str(plan)]) == 0, capsys.readouterr().err
    assert EventsManifest.load(events).currency == "PLN"
    with connect(events) as store:
        total = store.con.execute("SELECT round(sum(amount), 2) FROM transactions").fetchall()[0][0]
    assert total == round(sum(a for _, _, a, _, _ in payments()), 2)
    table["columns"]["amount"] = POLISH[3]  # in zloty and euros
    plan.write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
    assert main(["import", "tables", str(file), str(tmp_path / "other"), "--map", str(plan)]) == 2
    assert "rows of 2 currencies are kept" in (said := capsys.readouterr().err)
    assert "name the amount that is in PLN by 'Waluta rozliczenia'" in said


def test_what_is_written_otherwise_is_said_with_the_keys_that_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plan = billed(tmp_path / "x.csv"), tmp_path / "map.yaml"
    columns = {"customer_id": POLISH[0], "ts": POLISH[1], "amount": POLISH[5]}
    table = {"delimiter": ";", "columns": columns, "drop_incomplete": True, "rows": {POLISH[4]: {"PLN": "keep", "EUR": "keep"}}}
    plan.write_text(yaml.safe_dump({"tables": {"transactions": table}}, allow_unicode=True), encoding="utf-8")
    assert main(["import", "tables", str(file), str(tmp_path / "e"), "--map", str(plan)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"'{file}' cannot be imported")
    assert "as formats: {ts: '%d/%m/%Y'}" in said
    assert "decimal: ','" in said


def brazilian(
    path: Path, states: tuple[str, str, str] = ("CONFIRMADA", "ESTORNADA", "NEGADA"), header: str = "Situação"
) -> Path:
    """A statement with a state, 16 categories, and the currency in a header."""
    kinds = [f"Ramo {k}" for k in "ABCDEFGHIJKLMNOP"]
    rows = (
        (d.strftime("%d/%m/%Y"), f"5162 {c} **** 1234", m, kinds[n % 16], states[0 if n % 10 else 1 + n % 20 // 10], f"{a:.2f}")
        for n, (c, d, a, m, _) in enumerate(payments())
    )
    return write(path, ("Data", "Cartão", "Estabelecimento", "Ramo de Atividade", header, "Valor (R$)"), rows, ";", "latin-1")


def test_a_state_in_another_language_is_no_category(tmp_path: Path, importer: Importer) -> None:
    _, table, rows = importer(brazilian(tmp_path / "extrato.csv"))
    assert table["rows"] == {"Situação": {"CONFIRMADA": "keep", "ESTORNADA": "drop", "NEGADA": "drop"}}
    assert table["columns"]["mcc_l1"] == "Ramo de Atividade"
    assert len(rows) == sum(1 for n in range(len(payments())) if n % 10)
    manifest = EventsManifest.load(tmp_path / "events")
    assert manifest.currency == "BRL"
    kept = [a for n, (_, _, a, _, _) in enumerate(payments()) if n % 10]
    back = -sum(a for a in kept if a < 0)
    said = f"net card spend {money(sum(kept), 'BRL')} ({sum(a > 0 for a in kept)} purchases, {sum(a < 0 for a in kept)} refunds"
    assert any(note.startswith(f"transactions: {said} of {money(back, 'BRL')})") for note in manifest.defaults.notes)


def test_a_state_in_unknown_words_is_asked_by_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "map.yaml"
    source = brazilian(tmp_path / "extrato.csv", ("xaa", "xbb", "xcc"), "Status")
    assert main(["import", "map", str(source), str(plan)]) in (0, 1)
    assert "do rows count whose 'Status' is xaa or" in capsys.readouterr().out
    assert (
        yaml.safe_load(plan.read_text(encoding="utf-8"))["tables"]["transactions"]["columns"]["mcc_l1"] == "Ramo de Atividade"
    )


@pytest.mark.parametrize(
    ("header", "code"),
    [("Valor (R$)", "BRL"), ("Amt (EUR)", "EUR"), ("Kwota zł", "PLN"), ("Open amount", ""), ("EUR / USD", "")],
)
def test_a_header_names_its_currency(header: str, code: str) -> None:
    assert in_header(header) == code
