"""Caches stand in one module, and what runs beside the pages in another."""

from __future__ import annotations

import ast
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


def names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return imported | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def test_only_the_module_of_caches_caches_what_was_computed() -> None:
    cached = {p.name for p in DASHBOARD.rglob("*.py") if "cache_data" in names(p)}
    shared = {p.name for p in DASHBOARD.rglob("*.py") if "cache_resource" in names(p)}
    assert cached == {"state.py"}
    assert shared == {"state.py", "background.py", "model_lock.py"}, "the last two keep running work and locks by it"


def test_the_module_of_caches_starts_nothing() -> None:
    assert not names(DASHBOARD / "state.py") & {"threading", "subprocess", "multiprocessing"}
