"""A starter map: what is guessed is written, what cannot be guessed is asked, and the map imports as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.cli import main
from ple_model.data.checking.validation import validate
from ple_model.data.events.connect import connect
from ple_model.data.importers.category_words import WORDS, guess_category
from ple_model.data.importers.csv_files import CsvShape, guess_shape
from ple_model.data.importers.encodings import guess_encoding
from ple_model.data.importers.header_words import guess_columns
from ple_model.data.importers.source_map import load_map
from ple_model.data.importers.starter_map import write_starter
from ple_model.data.importers.tables import import_tables
from ple_model.errors import UserError
from ple_model.tasks import SPENDING_CATEGORIES

KOREAN = """이용일자,이용금액,카드번호,가맹점명,업종
2024/03/07,"12,500",9410-01,스타벅스 강남점,커피전문점
2024/12/30,"-1,234,500",9410-02,이마트,대형마트
2024/05/01,900,9410-02,이마트,
합계,"-1,221,100"
"""
EUROPEAN = '''Statement 2024
Period: all

Booking Date;Time;Amt (EUR);Card no.;Payee;MCC
03.04.2024;12:31;1.234,50;A1;Shop, x;5411
04.04.2024;00:05;-12,00;A2;"Bar ""Y""";5812
24.12.2024;23:59;(7);A2;"Bar ""Y""";9999
'''


def _rows(events: Path, columns: str) -> list[tuple[object, ...]]:
    with connect(events) as store:
        return store.con.execute(f"SELECT {columns} FROM transactions ORDER BY ts").fetchall()


def test_a_korean_export_in_cp949_with_a_total_row_imports_through_its_starter(tmp_path: Path) -> None:
    source = tmp_path / "카드내역.csv"
    source.write_bytes(KOREAN.encode("cp949"))
    starter = write_starter(source, tmp_path / "map.yaml")
    assert starter.open_questions == ()
    report = str(starter)
    for shown in ("cp949", "카드번호", "이용금액", "1 row lacks", "-1,234,500 to 12,500", "2 values, 2 of them guessed"):
        assert shown in report
    import_tables(source, tmp_path / "events", load_map(tmp_path / "map.yaml"))
    assert validate(tmp_path / "events").ok
    assert _rows(tmp_path / "events", "customer_id, ts::DATE::VARCHAR, amount, brand, mcc_l1, mcc_l2") == [
        ("9410-01", "2024-03-07", 12500.0, "스타벅스 강남점", "dining", "커피전문점"),
        ("9410-02", "2024-05-01", 900.0, "이마트", None, None),
        ("9410-02", "2024-12-30", -1234500.0, "이마트", "groceries", "대형마트"),
    ]


def test_title_lines_a_time_column_decimal_commas_and_merchant_codes_are_found(tmp_path: Path) -> None:
    source = tmp_path / "statement.csv"
    source.write_text(EUROPEAN)
    starter = write_starter(source, tmp_path / "map.yaml")
    assert starter.table.formats == {"ts": "%d.%m.%Y %H:%M"}
    assert (starter.table.thousands, starter.table.decimal) == (".", ",")
    assert "without a sure guess: 9999" in str(starter)
    (tmp_path / "map.yaml").write_text((tmp_path / "map.yaml").read_text().replace('"9999": "?"', '"9999": ~'))
    import_tables(source, tmp_path / "events", load_map(tmp_path / "map.yaml"))
    assert _rows(tmp_path / "events", "customer_id, ts::VARCHAR, amount, merchant_id, mcc_l1") == [
        ("A1", "2024-04-03 12:31:00", 1234.5, "Shop, x", "groceries"),
        ("A2", "2024-04-04 00:05:00", -12.0, 'Bar "Y"', "dining"),
        ("A2", "2024-12-24 23:59:00", -7.0, 'Bar "Y"', None),
    ]


def test_an_order_of_day_and_month_that_the_file_leaves_open_is_said(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text("card,date,amount\na,03/04/2024,1\nb,05/11/2024,2\n")
    assert "can be read in another order of day and month as well" in str(write_starter(source, tmp_path / "map.yaml"))
    source.write_text("card,date,amount\na,03/04/2024,1\nb,05/21/2024,2\n")
    starter = write_starter(source, tmp_path / "other.yaml")
    assert starter.table.formats == {"ts": "%m/%d/%Y"}
    assert "another order" not in str(starter)


def test_what_no_name_gives_away_is_asked_and_the_import_refuses_until_it_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "x.csv"
    source.write_text("card,q1,q2,q3,q4\na,2024-01-01,5,2024-01-09,7.5\nb,2024-01-02,5.5,2024-01-08,9\n")
    path = tmp_path / "map.yaml"
    assert main(["import", "map", str(source), str(path)]) == 1
    assert "STILL OPEN: several columns may be 'ts': q1 (dates, 2024-01-01 to 2024-01-02); q3 (dates" in capsys.readouterr().out
    assert main(["import", "tables", str(source), str(tmp_path / "events"), "--map", str(path)]) == 2
    assert "tables.transactions.columns.ts; tables.transactions.columns.amount" in capsys.readouterr().err
    path.write_text(path.read_text().replace('ts: "?"', "ts: q1").replace('amount: "?"', "amount: q2"))
    assert main(["import", "tables", str(source), str(tmp_path / "events"), "--map", str(path)]) == 0


def test_a_second_file_is_added_to_the_map_and_a_map_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_text("card,date,amount\na,2024-01-01,5\n")
    (tmp_path / "people.csv").write_text("card,Birth Year,City,tier\na,1980,Seoul,gold\n")
    path = tmp_path / "map.yaml"
    write_starter(tmp_path / "x.csv", path)
    before = path.read_text()
    with pytest.raises(UserError, match="already maps the table 'transactions'"):
        write_starter(tmp_path / "x.csv", path)
    assert path.read_text() == before
    assert main(["import", "map", str(tmp_path / "people.csv"), str(path), "--table", "customers"]) == 0
    assert f"ple import tables {tmp_path} EVENTS" in capsys.readouterr().out
    with pytest.raises(UserError, match="is the file of table 'customers' in the map; give the folder"):
        import_tables(tmp_path / "people.csv", tmp_path / "events", load_map(path))
    import_tables(tmp_path, tmp_path / "events", load_map(path))
    with connect(tmp_path / "events") as store:
        assert store.con.execute("SELECT customer_id, birth_year, region FROM customers").fetchall() == [("a", 1980, "Seoul")]
        assert store.static_columns == ("tier",)


def test_cut_offs_leave_whole_labels_after_the_last_and_as_much_history_before_the_first(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text("card,date,amount\na,2024-01-01,5\na,2024-12-31,5\n")
    assert write_starter(source, tmp_path / "a.yaml").cutoffs == ("2024-07-17", "2024-08-14", "2024-09-11", "2024-10-09")
    source.write_text("card,date,amount\na,2024-01-01,5\na,2024-03-10,5\n")
    assert write_starter(source, tmp_path / "b.yaml").cutoffs == ("2024-02-12",)
    assert load_map(tmp_path / "b.yaml").horizon_days == 28
    source.write_text("card,date,amount\na,2024-01-01,5\na,2024-01-20,5\n")
    assert "too short" in str(write_starter(source, tmp_path / "c.yaml"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_an_encoding_is_guessed_only_where_the_whole_file_is_valid_in_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(KOREAN.encode(encoding))
    assert str(guess_encoding(path)).split(" ")[0] == encoding.removesuffix("-sig")


def test_where_two_encodings_read_a_word_neither_is_taken_for_right(tmp_path: Path) -> None:
    (tmp_path / "transactions.csv").write_bytes("customer_id,ts,amount,brand\na,2024-01-01,5,בית קפה\n".encode("cp1255"))
    with pytest.raises(UserError, match=r" or .*: write the one whose words are right, as 'encoding: "):
        import_tables(tmp_path, tmp_path / "events")


def test_without_a_map_a_file_in_another_encoding_is_an_error_that_names_it(tmp_path: Path) -> None:
    brands = (
        "스타벅스 강남점",
        "이마트 역삼점",
        "교보문고 광화문점",
        "서울시 지하철",
        "김밥천국 신촌점",
        "현대백화점 무역센터점",
    )
    lines = "".join(f"a,2024-01-0{k},5,{brand}\n" for k, brand in enumerate(brands, 1))
    (tmp_path / "transactions.csv").write_bytes(f"customer_id,ts,amount,brand\n{lines}".encode("cp949"))
    with pytest.raises(UserError, match=r"not written in utf-8; it can be read as cp949 .*: write 'encoding: cp949'"):
        import_tables(tmp_path, tmp_path / "events")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("a,b\n1,2\n", CsvShape()),
        ("a;b\n1,5;2\n", CsvShape(delimiter=";")),
        ("Report\n\na\tb\n1\t2\n3\t4\n", CsvShape(delimiter="\t", skip_lines=2)),
        ('a,b\n"x,y",2\nTotal\n', CsvShape()),
        ("alone\n1\n", CsvShape()),
        ("", CsvShape()),
    ],
)
def test_the_delimiter_and_the_header_line_are_found(tmp_path: Path, text: str, shape: CsvShape) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert guess_shape(tmp_path / "x.csv") == shape


def test_columns_are_guessed_by_name_in_english_and_korean_and_never_twice() -> None:
    wanted = ("customer_id", "ts", "amount", "merchant_id")
    assert guess_columns(("Date", "AMOUNT (KRW)", "Card_Number", "other"), wanted) == {
        "customer_id": "Card_Number",
        "ts": "Date",
        "amount": "AMOUNT (KRW)",
    }
    assert guess_columns(("customer_id", "카드번호", "거래일시", "금액"), wanted)["customer_id"] == "customer_id"


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Restaurants", "dining"),
        ("Gas stations", "fuel and transport"),
        ("Food & Drink", "dining"),
        ("healthcare", "health"),
        ("Gift cards", None),
        ("Barber", "services"),
        ("온라인쇼핑", "online"),
        ("5411", "groceries"),
        ("0001", None),
        ("Hospitality", None),
        ("Training Other", None),
        ("Health & Beauty", None),
        ("Hospital", "health"),
    ],
)
def test_a_category_is_guessed_from_a_word_in_it_and_not_from_a_piece_of_another_word(name: str, category: str | None) -> None:
    guess = guess_category(name)
    assert (guess.category if guess else None) == category


def test_every_spending_category_has_words_and_guesses_itself() -> None:
    assert set(WORDS) == set(SPENDING_CATEGORIES)
    assert {c: guess.category for c in SPENDING_CATEGORIES if (guess := guess_category(c))} == {
        c: c for c in SPENDING_CATEGORIES
    }


@settings(max_examples=25, deadline=None)
@given(content=st.binary(max_size=120))
def test_any_bytes_give_a_map_that_loads_or_a_user_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "x.csv").write_bytes(b"card,date,amount\n" + content)
    try:
        write_starter(folder / "x.csv", folder / "map.yaml")
    except UserError:
        assert not (folder / "map.yaml").exists()
    else:
        assert "transactions" in load_map(folder / "map.yaml").tables
