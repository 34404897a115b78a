"""CONTRIBUTING.md is followed: every example is written into a copy of the project, and the tests that it names pass there."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Tree
from pathlib import Path
from typing import get_args

import pytest

from analysis.stats.run import Statistics
from dashboard.view import SECTIONS
from ple_model.fields import FIELD_SHAPES
from ple_model.run import Run
from ple_model.tasks import GROUP_STRENGTH, HMM_MODES, Kind, LossName, record
from ple_model.tasks.record import Condition
from tests.conftest import MADE
from tests.docs.examples import GUIDE, Example, commands, examples

pytestmark = pytest.mark.slow

ROOT = GUIDE.parent
PARTS = ("ple_model", "analysis", "dashboard", "docs", "tests", ".streamlit")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with every example in it."""
    copy = tmp_path_factory.mktemp("project")
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "old_runs", "assets", "*.png"))
    shutil.copytree(ROOT / "dashboard" / "assets", copy / "dashboard" / "assets")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for example in examples():
        example.write(copy)
    return copy


def test_the_examples_pass_the_tests_that_the_guide_names(project: Path, tiny_run: Run) -> None:
    files = sorted({f for names, _ in commands() for f in names})
    chosen = " or ".join(f"({k})" for _, k in commands() if k)
    whole = [Path(f).stem for names, k in commands() if not k for f in names]
    report = project / "report.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
    words += ["-k", " or ".join([chosen, *whole])]
    env = {**os.environ, "PYTHONPATH": str(project), MADE: str(tiny_run.path)}
    done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] or done.stderr[-2000:]
    ran = {f"{case.get('classname')}::{case.get('name')}" for case in Tree.parse(report).iter("testcase")}
    for names, k in commands():
        for file in names:
            module = file.removesuffix(".py").replace("/", ".")
            assert any(r.startswith(f"{module}::") for r in ran), f"{file} -k {k!r} ran nothing"


def test_the_examples_are_linted_as_the_project_is(project: Path) -> None:
    new = [e.path for e in examples() if e.path.endswith(".py")]
    words = [sys.executable, "-m", "ruff", "check", "--no-cache", *new]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_an_addition_is_one_or_two_files_and_its_words() -> None:
    """Two files of code at the most, the second its test; beside them only words."""
    for section in GUIDE.read_text(encoding="utf-8").split("\n## ")[1:]:
        files = {e.path for e in examples() if f"\n# {e.path}" in section}
        assert len({f for f in files if f.endswith(".py")}) <= 2, section.splitlines()[0]
        assert {Path(f).suffix for f in files} <= {".py", ".yaml", ".md"}, section.splitlines()[0]


def test_a_check_is_one_file_of_code_and_its_korean() -> None:
    (section,) = [s for s in GUIDE.read_text(encoding="utf-8").split("\n## ") if s.startswith("A check\n")]
    files = {e.path: e.where for e in examples() if f"\n# {e.path}" in section}
    assert files == {"analysis/checks/never_fell.py": "", "analysis/i18n/findings.ko.yaml": "at the end"}


def _named(heading: str, row: str) -> set[str]:
    """What the row of the table under this heading names in its second column."""
    section = GUIDE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| {row}")]
    return set(re.findall(r"`(\w+)`", line.split("|")[2]))


def test_the_guide_names_every_input_field_that_an_expert_may_read() -> None:
    rows = ("columns", "sequences", "behaviour states", "hierarchy", "topology", "neighbours", "what kind")
    assert set().union(*(_named("An expert", row) for row in rows)) - {"PART_SLICES"} == set(FIELD_SHAPES)


def test_the_guide_names_what_a_task_may_choose() -> None:
    conditions = {name for name, value in vars(record).items() if isinstance(value, Condition)}
    assert _named("A task", "condition") == {*conditions, "Condition"}
    assert _named("A task", "kind, loss") == {*get_args(Kind), *get_args(LossName)}
    assert _named("A task", "group") == {*GROUP_STRENGTH, "GROUP_STRENGTH"}
    assert _named("A task", "hmm_mode") == set(HMM_MODES)


def test_the_guide_names_every_area_of_the_statistics_and_what_merges() -> None:
    adds, same, rows = (_named("A check", row) for row in ("adds up", "says the same", "of the rows"))
    assert same | rows == Statistics.SAME, "the table under 'A check' in CONTRIBUTING.md names each area once"
    assert adds == {f.name for f in dataclasses.fields(Statistics)} - Statistics.SAME


def test_the_guide_names_the_sections_of_the_pages() -> None:
    said = GUIDE.read_text(encoding="utf-8").split("\n## A page\n")[1].split("the section is ")[1].split(", the order")[0]
    assert tuple(re.findall(r"`(\w+)`", said)) == SECTIONS


def test_a_block_that_goes_under_a_missing_line_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x:\n  y: 1\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="has no line 'z:'"):
        Example("a.yaml", "z:", "  q: 1\n").write(tmp_path)
    with pytest.raises(FileExistsError):
        Example("a.yaml", "", "").write(tmp_path)
