"""Korean stands by one rule: beside the English of its record, in a catalogue, or among words of other people's data."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from analysis.i18n import catalogue
from tests.test_imports import FILES

KOREAN = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
RECORDS = ("ple_model.experts", "ple_model.tasks", "ple_model.data.features", "ple_model.data.own", "ple_model.money")
"""Whose records carry English and Korean side by side: titles, conditions, columns and the amount that is not known."""
DATA = frozenset(
    {
        "alphabets",
        "barred_words",
        "category_words",
        "currencies",
        "guess_roles",
        "header_words",
        "particles",
        "read_dates",
        "read_numbers",
        "sensitive_words",
        "status_words",
    }
)
"""Modules of words and signs that are recognised in tables from elsewhere."""


def recorded(module: str) -> bool:
    return any(module == r or module.startswith(f"{r}.") for r in RECORDS)


def korean(source: str) -> list[str]:
    """Strings (of f-strings too) and names with Korean letters."""
    nodes = list(ast.walk(ast.parse(source)))
    said = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [s for s in (*said, *(n.id for n in nodes if isinstance(n, ast.Name))) if KOREAN.search(s)]


def test_no_module_outside_records_and_words_of_data_speaks_korean() -> None:
    judged = [m for m in FILES if not recorded(m) and m.rpartition(".")[2] not in DATA]
    assert {m: found for m in judged if (found := korean(FILES[m].read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize("source", ['x = "값"', 'x = f"{y}건"', "값 = 1", '"""값"""'])
def test_korean_is_seen_wherever_it_stands(source: str) -> None:
    assert korean(source)


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_catalogues_of_the_analysis_have_the_same_keys_and_placeholders() -> None:
    english, other = catalogue("en"), catalogue("ko")
    assert english.keys() == other.keys()
    assert {k for k in english if _fields(english[k]) != _fields(other[k])} == set()


def test_korean_is_translated_and_not_copied() -> None:
    same = {k for k, v in catalogue("ko").items() if v == catalogue("en")[k]}
    assert same == {"unit.nats", "card.metric_auc", "card.metric_r2"}


def test_every_literal_key_of_the_analysis_exists() -> None:
    asked: set[str] = set()
    for name in FILES:
        if name.startswith("analysis."):
            asked |= set(_literal_keys(FILES[name]))
    assert len(asked) > 5
    assert asked - catalogue("en").keys() == set()


def _literal_keys(path: Path) -> list[str]:
    calls = [
        n
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "phrase" and n.args
    ]
    keys = [k for c in calls for k in ast.walk(c.args[0]) if not isinstance(c.args[0], ast.JoinedStr)]
    return [k.value for k in keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
