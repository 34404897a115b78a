"""Numbers are written in one place, and alike wherever they stand."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

from ple_model import numerals, ticker

ROOT = Path(__file__).parents[2]


def test_numbers_as_a_reader_sees_them() -> None:
    assert [numerals.number(v) for v in (math.nan, 1234.4, 3.02, 3.4, 0.25, 0.01, 1e-5)] == [
        "unknown", "1,234", "3", "3.4", "0.25", "0.010", "0",
    ]  # fmt: skip
    assert [numerals.fixed(v, 3) for v in (None, math.inf, -0.5)] == ["-", "-", "-0.500"]
    assert [numerals.entry(v) for v in (12000.0, 12.5)] == ["12,000", "12.50"]
    assert [numerals.number(v) for v in (0.99996, 0.9, 1.04, 6.0, 0.06)] == ["1", "0.90", "1", "6", "0.06"]
    assert [numerals.share(v) for v in (0.00001, 0.012, 0.34)] == ["0%", "1.2%", "34%"]
    assert [numerals.share(v, 0.01) for v in (0.004, 0.04)] == ["0.4%", "4%"]
    assert [numerals.clock(v) for v in (9.6, 200, 7500)] == ["10s", "3m20s", "2h05m"]
    assert numerals.megabytes(1_234_500_000) == "1,234.5 MB"


def test_a_counter_and_a_share_are_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    ticker.counter("tables")(1, 2)
    ticker.share_of()(0.5, "reading")
    ticker.share_of("baselines", lines=True)(0.5, "ctr done")
    assert capsys.readouterr().err == "baselines  50% ctr done\n"


def test_a_program_that_listens_hears_of_everything_and_people_of_what_they_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heard: list[tuple[str, float]] = []
    ticker.counter("tables", heard=lambda *said: heard.append(said))(1, 2)
    ticker.share_of("baselines", lines=True, quiet=True, heard=lambda *said: heard.append(said))(1.0, "ctr done")
    ticker.bar(heard=lambda *said: heard.append(said))("labels", 1.0)
    ticker.bar(quiet=True)("features", 1.0)
    assert heard == [("tables", 0.5), ("baselines", 1.0), ("labels", 1.0)]
    assert capsys.readouterr().err == "labels done\n"


def test_no_command_has_a_formatter_of_its_own() -> None:
    """A private function that takes a number and returns it with a fixed number of digits belongs to `numerals`."""
    found = []
    for path in sorted((*ROOT.glob("ple_model/**/*.py"), *ROOT.glob("analysis/commands*.py"))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and _writes_a_number(node):
                found.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert found == []


def _writes_a_number(node: ast.FunctionDef) -> bool:
    """One argument, a number, and nothing but a return of it in digits."""
    last = node.body[-1]
    if len(node.args.args) != 1 or len(node.body) > 2 or not isinstance(last, ast.Return) or last.value is None:
        return False
    name, kind = node.args.args[0].arg, ast.unparse(node.args.args[0].annotation or ast.Constant(""))
    digits = [n for n in ast.walk(last.value) if isinstance(n, ast.FormattedValue) and n.format_spec is not None]
    returns = ast.unparse(node.returns) if node.returns is not None else ""
    return "float" in kind and returns == "str" and bool(digits) and all(name in ast.unparse(d.value) for d in digits)


def test_what_is_looked_for_is_found() -> None:
    own = ast.parse("def _number(value: float | None) -> str:\n    return '-' if value is None else f'{value:.3f}'").body[0]
    assert isinstance(own, ast.FunctionDef)
    assert _writes_a_number(own)
