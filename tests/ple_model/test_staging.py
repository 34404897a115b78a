"""A file or folder appears whole: one that two processes make at once is one's, and the other touches nothing."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from ple_model import staging
from ple_model.errors import UserError
from ple_model.staging import staged_file, staged_folder

ROOT = Path(__file__).parents[2]
RENAMES = {"os.replace", "os.rename", "os.renames", "shutil.move", "tempfile.mkstemp"}


def test_the_first_to_finish_wins_and_the_other_touches_nothing(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with pytest.raises(UserError, match="made by another process"), staged_folder(target) as slow:  # noqa: PT012
        (slow / "by").write_text("slow")
        with staged_folder(target) as fast:
            (fast / "by").write_text("fast")
    assert (target / "by").read_text() == "fast"
    assert list(tmp_path.iterdir()) == [target]


def test_an_empty_folder_is_filled_and_a_failure_leaves_it_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    with pytest.raises(ZeroDivisionError), staged_folder(target) as fresh:  # noqa: PT012
        (fresh / "half").write_text("done")
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == [target]
    assert list(target.iterdir()) == []
    with staged_folder(target) as fresh:
        (fresh / "whole").write_text("done")
    assert [p.name for p in target.iterdir()] == ["whole"]


def test_what_a_killed_process_left_is_swept_and_what_another_works_on_is_not(tmp_path: Path) -> None:
    target = tmp_path / "[a]*"
    left, neighbour = tmp_path / ".[a]*.dead.new", tmp_path / ".a.dead.new"
    left.mkdir()
    neighbour.mkdir()
    with staged_folder(target) as working, staged_folder(target.with_name("other")):
        assert not left.exists()
        assert working.is_dir()
        shutil.rmtree(neighbour)  # would fail if the pattern had been read as one


@pytest.mark.parametrize("place", ["file/below", "file/far/below"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"), staged_folder(tmp_path / place):
        pass


def test_what_is_replaced_gives_way_whole(tmp_path: Path) -> None:
    target = tmp_path / "sample"
    for n in range(2):
        with staged_folder(target, replace=True) as fresh:
            (fresh / str(n)).write_text("")
        assert [p.name for p in target.iterdir()] == [str(n)]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_the_old_or_the_new_one_and_a_link_is_replaced(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    target.symlink_to(elsewhere)
    with pytest.raises(ZeroDivisionError), staged_file(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        _ = 1 / 0
    assert target.is_symlink()
    with staged_file(target) as temporary:
        temporary.write_text("whole")
        assert target.read_text() == "theirs"
    assert (target.read_text(), elsewhere.read_text()) == ("whole", "theirs")
    assert sorted(tmp_path.iterdir()) == [elsewhere, target]


def renames(path: Path) -> set[str]:
    """Calls by which a file puts something in another's place, or makes what is to be put there."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in RENAMES:
            found.add(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil", "tempfile"}:
            found |= {f"{node.module}.{a.name}" for a in node.names} & RENAMES
        # a text's `replace` takes two arguments or more, a path's one
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 1 and not node.keywords:
            found |= {f".{node.func.attr}()"} & {".replace()", ".rename()"}
    return found


def test_nothing_else_renames() -> None:
    files = [f for p in ("ple_model", "analysis", "dashboard") for f in (ROOT / p).rglob("*.py")]
    own = Path(staging.__file__)
    assert renames(own) == {"os.replace", "tempfile.mkstemp"}
    assert {str(f.relative_to(ROOT)): sorted(found) for f in files if f != own and (found := renames(f))} == {}
