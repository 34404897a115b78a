"""Imports go one way: no module of the project knows, by any path, a module that knows it.

Imports inside functions and for type checking count. In `analysis` the layers stand in a fixed order.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ple_model", "analysis", "dashboard")
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"i18n", "particles"}),
    frozenset(
        {
            "wording",
            "naming",
            "fingerprint",
            "kept",
            "harmless",
            "nullable",
            "rows_relation",
            "cohort",
            "reference",
            "opening",
            "html_page",
            "stats",
            "tuning",
        }
    ),
    frozenset(
        {
            "results",
            "stored_rows",
            "cells",
            "cohort_statistics",
            "store",
            "facts",
            "quality",
            "checks",
            "compare",
            "headline",
            "verdict",
            "notices",
        }
    ),
    frozenset(
        {
            "consistency",
            "displaced",
            "label_rate",
            "labels",
            "mixed_units",
            "probing",
            "readers",
            "refound",
            "relabelled",
            "resaved",
            "copied",
            "selected",
            "units",
            "wrapped",
            "written",
        }
    ),
    frozenset({"engine", "performance", "skill", "judging", "vectors", "uncertainty", "column_contents", "embedding"}),
    frozenset({"recording"}),
    frozenset({"record", "explain", "ablation", "replicates", "groups", "figures"}),
    frozenset({"whatif", "latents", "diagnose", "input_signal", "faults", "bench", "review", "sequences"}),
    frozenset({"report", "against", "card", "__init__"}),
    frozenset(
        {
            "commands",
            "commands_ablate",
            "commands_audit",
            "commands_card",
            "commands_explain",
            "commands_faults",
            "commands_sae",
        }
    ),
)
"""Of `analysis`, lowest first: a module imports from its own layer or a lower one."""


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {module_name(p): p for package in PACKAGES for p in (ROOT / package).rglob("*.py")}


def imports(name: str, path: Path) -> set[str]:
    """Modules of the project that a file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in FILES else module for a in node.names}
    return {f for f in found if f in FILES and f != name}


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports: read where it is asked for, not by every worker that collects this file."""
    return {name: imports(name, path) for name, path in FILES.items()}


def test_no_module_knows_one_that_knows_it() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as e:
        pytest.fail(f"modules import each other in a circle: {' <- '.join(e.args[1])}")


def top(module: str) -> str:
    return module.partition(".")[0]


def area(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_the_analysis_keeps_the_order_of_its_layers() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    inside = {
        m: {t for t in found if t.split(".")[0] == "analysis"} for m, found in graph().items() if m.split(".")[0] == "analysis"
    }
    unplaced = {area(m) for m in inside} - set(level)
    assert not unplaced, f"say in LAYERS where these belong: {sorted(unplaced)}"
    upward = [f"{m} -> {t}" for m, found in inside.items() for t in found if level[area(t)] > level[area(m)]]
    assert not upward


def is_command(module: str) -> bool:
    """Whether a module holds commands, which load what they work with once they are asked for."""
    return module.split(".")[-1].startswith("commands") or module.startswith("ple_model.importers.")


def test_a_class_has_a_name_of_its_own() -> None:
    """One name, one thing: a reader who looks for a class finds one."""
    found: dict[str, list[str]] = {}
    for name, path in FILES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_what_is_imported_late_says_why() -> None:
    silent = []
    for name, path in FILES.items():
        if is_command(name):
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                found = [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
                silent += [f"{path}:{n.lineno}" for n in found if "# late: " not in lines[n.lineno - 1]]
    assert not silent, "an import inside a function ends with `# late: ...`, or stands at the top"
