"""A folder that two processes make at once is one's, whole; the other is refused and touches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ple_model.errors import UserError
from ple_model.staging import staged_folder


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
