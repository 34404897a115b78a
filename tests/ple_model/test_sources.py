"""The digest of what a result was computed with: every file that counts, no other, and the same wherever it is installed."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ple_model import sources
from ple_model.sources import source_digest, source_files

BY_IMPORT = {
    "analysis.record": ("analysis.quality", "analysis.stats.gate", "ple_model.experts.perslay", "ple_model.layers.sinkhorn"),
    "ple_model.data.build.build": ("ple_model.data.labels.labels", "ple_model.data.derived.gmm", "ple_model.data.features.rfm"),
    "ple_model.train": ("ple_model.losses", "ple_model.experts.temporal", "ple_model.baselines", "ple_model.metrics"),
    "ple_model.data.synth": ("ple_model.data.synth.people", "ple_model.tasks"),
}
"""Modules that decide what these compute, some reached by a late import or found by looking into a folder."""


def names(*roots: str) -> set[str]:
    return {".".join(p.relative_to(sources.BASE).with_suffix("").parts).removesuffix(".__init__") for p in source_files(*roots)}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of the packages' sources."""
    for name in ("ple_model", "analysis"):
        shutil.copytree(sources.BASE / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def digest(base: Path, *modules: str) -> str:
    """Of another copy of the program, read anew."""
    sources._digest.cache_clear()
    return sources._digest(base, modules)


@pytest.mark.parametrize("root", BY_IMPORT)
def test_what_decides_a_result_is_among_its_files(root: str) -> None:
    assert set(BY_IMPORT[root]) <= names(root)


def test_every_import_that_python_sees_is_followed() -> None:
    found = names("analysis.record")
    missing = set()
    for path in source_files("analysis.record"):
        if path.suffix == ".py":
            tree = ast.parse(path.read_text())
            for_types = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and _types_only(i) for n in ast.walk(i)}
            missing |= {m for n in ast.walk(tree) if id(n) not in for_types for m in _imported(n) if m not in found}
    assert not missing


def _types_only(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported(node: ast.AST) -> set[str]:
    """Modules of the two packages that a statement imports."""
    asked: set[str] = set()
    if isinstance(node, ast.Import):
        asked = {a.name for a in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
        below = {f"{node.module}.{a.name}" for a in node.names}
        modules = {m for m in below if _is_module(m)}
        asked = modules if modules == below else {node.module, *modules}
    return {m for m in asked if _is_module(m)}


def _is_module(name: str) -> bool:
    place = sources.BASE.joinpath(*name.split("."))
    ours = name.split(".")[0] in ("ple_model", "analysis")
    return ours and (place.with_suffix(".py").is_file() or (place / "__init__.py").is_file())


@pytest.mark.parametrize(
    "changed",
    [
        "ple_model/data/labels/labels.py",
        "ple_model/data/features/rfm.py",
        "ple_model/feature_schema.yaml",
        "ple_model/tasks/engagement.py",
    ],
)
def test_a_change_of_any_file_changes_the_digest_of_what_depends_on_it(program: Path, changed: str) -> None:
    build, synth = digest(program, "ple_model.data.build.build"), digest(program, "ple_model.data.synth")
    with (program / changed).open("a") as f:
        f.write("# another\n")
    assert digest(program, "ple_model.data.build.build") != build
    assert (digest(program, "ple_model.data.synth") != synth) == (changed == "ple_model/tasks/engagement.py")


@pytest.mark.parametrize(("folder", "root"), [("experts", "ple_model.train"), ("tasks", "ple_model.data.build.build")])
def test_a_new_expert_or_task_counts_though_nothing_imports_it(program: Path, folder: str, root: str) -> None:
    before = digest(program, root)
    (program / "ple_model" / folder / "another.py").write_text("X = 1\n")
    assert digest(program, root) != before


def test_the_place_and_the_compiled_files_do_not_count(program: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = digest(program, "analysis.record")
    cache = program / "ple_model" / "__pycache__"
    cache.mkdir()
    (cache / "tasks.cpython-311.pyc").write_bytes(b"?")
    (program / "analysis" / "report.py").write_text("# no part of the measurement\n")
    assert digest(program, "analysis.record") == before
    other = tmp_path_factory.mktemp("elsewhere") / "lib"
    shutil.move(program, other)
    assert digest(other, "analysis.record") == before


def test_a_program_that_is_changed_while_it_runs_gives_nobody_elses_answer(program: Path) -> None:
    mine = digest(program, "ple_model.tasks")
    code = (
        "import sys; from pathlib import Path; from ple_model import sources; "
        "print(sources._digest(Path(sys.argv[1]), ('ple_model.tasks',)))"
    )
    command = [sys.executable, "-c", code, str(program)]
    later, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2))
    assert later == again != mine


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"no module 'ple_model\.nothing'"):
        source_digest("ple_model.nothing")
