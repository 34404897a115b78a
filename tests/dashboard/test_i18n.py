"""Both languages say everything, and no page says anything outside the catalogue."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from dashboard.i18n import LANGUAGES, catalogue
from dashboard.view import SECTIONS, views

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
PAGES = sorted((DASHBOARD / "views").glob("*.py"))
SOURCES = sorted(DASHBOARD.glob("*.py")) + sorted((DASHBOARD / "components").glob("*.py")) + PAGES


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def _english_words(text: str) -> bool:
    """Two words of prose: text a reader would see (keys, column names and command lines are not)."""
    return re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", text) is not None and not text.startswith("--")


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_the_catalogues_have_the_same_keys_and_placeholders(language: str) -> None:
    english, other = catalogue("en"), catalogue(language)
    only_korean = {"figure_text.", "evidence."}  # English in the analysis itself, translated by text
    missing = {k for k in english.keys() ^ other.keys() if not any(k.startswith(p) for p in only_korean)}
    assert missing == set()
    assert {k for k in english.keys() & other.keys() if _fields(english[k]) != _fields(other[k])} == set()


def test_korean_is_translated_and_not_copied() -> None:
    hangul = re.compile(r"[가-힣]")
    names = {"check", "metric", "severity_icon"}
    untranslated = {
        k for k, v in catalogue("ko").items() if not hangul.search(v) and _english_words(v) and k.split(".")[0] not in names
    }
    assert untranslated == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_every_literal_key_given_to_t_exists(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "t"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert used - catalogue("en").keys() == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_page_has_no_visible_text_of_its_own(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    prose = [
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docstrings and _english_words(n.value)
    ]
    assert prose == []


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_page_imports_neither_torch_nor_plotly(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert [n for n in names if n.split(".")[0] in ("torch", "plotly")] == []


def test_every_page_and_section_has_its_title_question_and_help() -> None:
    for language in LANGUAGES:
        known = catalogue(language)
        assert [k for v in views() for k in (f"{v.name}.title", f"{v.name}.question", f"{v.name}.help") if k not in known] == []
        assert [s for s in SECTIONS if f"section.{s}" not in known] == []
