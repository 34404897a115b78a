"""Caches stand in one package, and what runs beside the pages in another."""

from __future__ import annotations

import ast
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


def names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return imported | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def places(decorator: str) -> set[str]:
    """The modules of the dashboard that use a decorator; the package of caches as one."""
    found = (p.relative_to(DASHBOARD) for p in DASHBOARD.rglob("*.py") if decorator in names(p))
    return {"state" if p.parts[0] == "state" else str(p) for p in found}


def test_only_the_package_of_caches_caches_what_was_computed() -> None:
    assert places("cache_data") == {"state"}
    assert places("cache_resource") == {"state", "background.py", "model_lock.py"}, "the last two keep running work and locks"


def test_the_package_of_caches_starts_nothing() -> None:
    for path in (DASHBOARD / "state").glob("*.py"):
        assert not names(path) & {"threading", "subprocess", "multiprocessing"}
