"""A shard's part: left once, whichever attempt is first, and never a folder that says nothing of being whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ple_model.errors import UserError
from ple_model.parts_folder import leave, parts_of, sweep_parts
from ple_model.staging import PlaceTaken

WHOLE = "whole.json"


def filler(said: str, meanwhile: Callable[[], object] = lambda: None) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / WHOLE).write_text(said)
        meanwhile()

    return fill


def test_who_comes_second_leaves_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "part"
    leave(out, WHOLE, filler("late", lambda: leave(out, WHOLE, filler("early"))))
    assert (out / WHOLE).read_text() == "early"
    leave(out, WHOLE, filler("later", lambda: pytest.fail("nothing is measured again")))
    assert [p.name for p in tmp_path.iterdir()] == ["part"]


def test_what_is_no_part_is_not_taken_for_one(tmp_path: Path) -> None:
    out = tmp_path / "part"
    with pytest.raises(PlaceTaken, match="another process"):
        leave(out, WHOLE, filler("late", lambda: (out.mkdir(), (out / "other").touch())))
    assert [p.name for p in out.iterdir()] == ["other"]


def test_what_nobody_goes_on_with_is_swept(tmp_path: Path) -> None:
    for name in ("old", "own", "busy", "other"):
        with parts_of(tmp_path / name, "busy") as folder:
            (folder / "part").touch()
    (tmp_path / ".link.parts").symlink_to(tmp_path / ".other.parts")
    with parts_of(tmp_path / "busy", "busy"), parts_of(tmp_path / "own", "busy", outdated="[!x]*[!r]") as folder:
        assert (folder / "part").exists()
        assert sorted(p.name for p in tmp_path.iterdir()) == [".busy.parts", ".link.parts", ".other.parts", ".own.parts"]
        assert (tmp_path / ".busy.parts" / "part").exists()
    sweep_parts(tmp_path, "*")
    assert [p.name for p in tmp_path.iterdir()] == [".link.parts"]


def test_one_command_at_a_time_works_on_the_parts(tmp_path: Path) -> None:
    with (
        parts_of(tmp_path / "a", "busy"),
        pytest.raises(UserError, match="busy; wait"),
        parts_of(tmp_path / "a", "busy"),
    ):
        pass
    with parts_of(tmp_path / "a", "busy"):
        pass
