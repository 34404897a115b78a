"""What the import of a file costs: nothing heavy is loaded for it, and its rows are read a few times, however many they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ple_model.data.importers import starter_map as import_map
from ple_model.data.importers.starter_map import write_starter

HEAVY = ("torch", "scipy.stats", "sklearn", "pandas", "streamlit", "plotly", "captum")
COMMANDS = """
import sys
from ple_model.cli import main
file, plan, events = sys.argv[1:]
assert main(["import", "map", file, plan]) == 0
assert main(["import", "tables", file, events, "--map", plan]) == 0
assert main(["validate", events]) == 0
print(" ".join(m for m in {heavy!r} if m in sys.modules) or "nothing heavy")
"""


def lines(n: int) -> str:
    rows = (f"{k % 7:06d},2023-{k // 28 % 12 + 1:02d}-{k % 28 + 1:02d},shop {k % 9},{k % 83}.5,x{k}\n" for k in range(n))
    return "card number,date,merchant,amount,V\n" + "".join(rows)


def test_a_file_becomes_event_tables_without_anything_heavy(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(lines(600))
    script = COMMANDS.format(heavy=HEAVY)
    words = [sys.executable, "-c", script, str(file), str(tmp_path / "map.yaml"), str(tmp_path / "events")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "nothing heavy"


class Watched:
    """A connection that keeps the statements which read the file."""

    def __init__(self, con: duckdb.DuckDBPyConnection, seen: list[str]) -> None:
        self.con, self.seen = con, seen

    def execute(self, sql: str, *more: Any) -> Any:
        if "read_parquet" in sql and not sql.startswith("DESCRIBE"):
            self.seen.append(sql)
        return self.con.execute(sql, *more)

    def close(self) -> None:
        self.con.close()


def reads(folder: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> int:
    folder.mkdir()
    (folder / "x.csv").write_text(lines(rows))
    seen: list[str] = []
    real = import_map.open_connection
    with monkeypatch.context() as patch:
        patch.setattr(import_map, "open_connection", lambda: Watched(real(), seen))
        write_starter(folder / "x.csv", folder / "map.yaml")
    return len(seen)


def test_the_rows_of_a_file_are_read_a_few_times_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (reads(tmp_path / str(n), n, monkeypatch) for n in (300, 3000))
    assert few == many
    assert many <= 3 * 5  # of five columns: once for what they hold, once for how the chosen ones are written


@pytest.mark.parametrize("header", ["v,n,d,s,r", "N,V,c0,word,k", "x,r,some_values,distinct_0,column_values"])
def test_a_column_may_be_named_like_one_of_ours_in_the_statements(tmp_path: Path, header: str) -> None:
    (tmp_path / "x.csv").write_text(header + "\n" + lines(600).split("\n", 1)[1])
    starter = write_starter(tmp_path / "x.csv", tmp_path / "map.yaml")
    names = header.split(",")
    assert {k: v for k, v in starter.table.columns.items() if k in ("customer_id", "ts", "amount")} == {
        "customer_id": (names[0],), "ts": (names[1],), "amount": (names[3],),
    }  # fmt: skip
