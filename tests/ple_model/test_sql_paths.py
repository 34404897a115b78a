"""A name in SQL is the file of that name, whatever characters it has."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from ple_model.errors import UserError
from ple_model.sql_paths import to_read, to_read_all, to_write

NAMES = ("x[1]", "a*b", "q?", "[a-z]", "]x[", "{a,b}", "o'k", "x[!1]", "**", "~x", "b\\c", "x[1][2]*", "key=1", "가[1]")


@pytest.mark.parametrize("name", NAMES)
def test_the_file_of_that_very_name_is_written_and_read(tmp_path: Path, name: str) -> None:
    with duckdb.connect() as con:
        for other in ("x1", "aXb", "qq", "a", "x!", "b"):  # what the names would find as patterns
            con.execute(f"COPY (SELECT 'another' AS v) TO {to_write(tmp_path / f'{other}.parquet')} (FORMAT parquet)")
        path = tmp_path / f"{name}.parquet"
        con.execute(f"COPY (SELECT 'this' AS v) TO {to_write(path)} (FORMAT parquet)")
        assert path.exists()
        assert con.execute(f"SELECT v FROM read_parquet({to_read(path)})").fetchall() == [("this",)]
        assert con.execute(f"SELECT v FROM read_parquet({to_read_all([path, path])})").fetchall() == [("this",)] * 2
        (tmp_path / f"{name}.csv").write_text("v\nthis\n")
        assert con.execute(f"SELECT v FROM read_csv({to_read(tmp_path / f'{name}.csv')})").fetchall() == [("this",)]


def test_a_relative_name_is_never_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~x.csv").write_text("v\nthis\n")
    with duckdb.connect() as con:
        assert con.execute(f"SELECT v FROM read_csv({to_read('~x.csv')})").fetchall() == [("this",)]


def test_what_cannot_be_named_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a backslash beside"):
        to_read(tmp_path / "a\\b" / "x[1].csv")
