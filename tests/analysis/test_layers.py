"""What the analysis may import: statistics and checks need NumPy alone, torch lives in `engine`, `record`, `recording` and what
looks at its batches (`judging`, `probing`, `written`), `ablation`, `explain`, `sequences`, the benchmarks and the faults, which
run or train the model."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import analysis

ROOT = Path(analysis.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, type checking left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(n)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for n in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    found = imported(path)
    area = path.relative_to(ROOT).parts[0]
    assert not found & {"streamlit", "dashboard"}
    if area not in (
        "engine",
        "record.py",
        "recording",
        "judging.py",
        "probing.py",
        "written.py",
        "ablation.py",
        "explain",
        "sequences",
        "bench",
        "faults",
    ):
        assert "torch" not in found
    if area in ("stats", "checks"):
        assert not found & {"duckdb", "pyarrow", "scipy", "sklearn", "pandas", "plotly"}
    if area not in ("figures", "report.py"):
        assert "plotly" not in found
