"""What is written to a URL: the list of another writer, and what no list names, is neither written over nor removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.storage import put
from ple_model.storage.fetch import fetched
from ple_model.storage.listing import LIST, read_list
from ple_model.storage.put import put_file, put_folder, reserved
from ple_model.storage.remote import Remote, open_remote
from ple_model.storage.url import AtUrl

PLACE = "memory://bank/data"
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A new folder of files with these texts."""
    made = iter(range(100))

    def make(**texts: str) -> Path:
        here = tmp_path / f"local-{next(made)}"
        here.mkdir()
        for name, text in texts.items():
            (here / name).write_text(text)
        return here

    return make


def whole() -> dict[str, str]:
    with fetched(AtUrl(PLACE, "folder", written=False)) as found:
        return {p.name: p.read_text() for p in found.iterdir()}


def test_the_slower_of_two_writers_leaves_the_result_of_the_faster_one(store: Any, folder: Folder) -> None:
    remote = open_remote(PLACE)
    with reserved(remote, folder=True) as slow:
        with reserved(remote, folder=True) as fast:
            put_folder(folder(x="fast", only="fast"), remote, fast)
        with pytest.raises(UserError, match="another process writes there too"):
            put_folder(folder(x="slow"), remote, slow)
    assert whole() == {"x": "fast", "only": "fast"}


def test_who_loses_the_place_while_it_uploads_stops(store: Any, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(put, "AT_ONCE", 1)
    remote, parts = open_remote(PLACE), folder(a="slow", b="slow")

    def another(done: int, of: int) -> None:
        with reserved(remote, folder=True) as fast:
            put_folder(folder(b="fast"), remote, fast)

    with reserved(remote, folder=True) as slow, pytest.raises(UserError, match="another process writes there too"):
        put_folder(parts, remote, slow, another)
    assert whole() == {"b": "fast"}


def test_a_writer_that_fails_leaves_the_mark_of_another(store: Any, folder: Folder) -> None:
    remote = open_remote(PLACE)
    first = reserved(remote, folder=True)
    first.__enter__()
    with reserved(remote, folder=True) as later:
        assert not first.__exit__(ValueError, ValueError("bad input"), None)
        store.pipe_file("/bank/data/part-0", b"half")
        with pytest.raises(UserError, match="is being written"):
            whole()
        store.rm_file("/bank/data/part-0")
        put_folder(folder(a="whole"), remote, later)
    assert whole() == {"a": "whole"}


def test_a_folder_replaced_takes_away_the_files_of_its_own_list_alone(store: Any, folder: Folder) -> None:
    assert main(["copy", str(folder(a="1", b="1")), PLACE]) == 0
    assert main(["copy", str(folder(b="2", c="2")), PLACE, "--replace"]) == 0
    assert whole() == {"b": "2", "c": "2"}
    store.pipe_file("/bank/data/*", b"a stranger's")
    store.pipe_file("/bank/data/notes", b"a stranger's")
    before = dict(store.store)
    assert main(["copy", str(folder(b="3")), PLACE, "--replace"]) == 2
    assert store.store == before


def test_a_pattern_is_no_place(store: Any, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    store.pipe_file("/bank/run1/old", b"precious")
    assert main(["copy", str(folder(a="1")), "memory://bank/run[1]", "--replace"]) == 2
    assert main(["copy", str(folder(**{"what?": "1"})), PLACE]) == 2
    assert "a file of this name cannot lie at a URL" in capsys.readouterr().err
    assert set(store.store) == {"/bank/run1/old"}


def test_whole_folders_below_and_above_are_left_alone(store: Any, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    for month in ("june", "july"):
        assert main(["copy", str(folder(w=month)), f"{PLACE}/{month}"]) == 0
    before = {n: f.getvalue() for n, f in store.store.items()}
    assert main(["copy", str(folder(w="new")), PLACE, "--replace"]) == 2
    assert "holds a folder of its own, july" in capsys.readouterr().err
    one = folder(w="new")
    for source in (one, one / "w"):
        assert main(["copy", str(source), f"{PLACE}/june/inner"]) == 2
        assert "lies in a folder that was written whole" in capsys.readouterr().err
    assert {n: f.getvalue() for n, f in store.store.items()} == before


def test_a_network_that_fails_takes_nothing_of_the_old_folder_away(
    store: Any, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["copy", str(folder(old="1")), PLACE]) == 0

    def fails(*_: Any, **__: Any) -> None:
        raise TimeoutError("the line went dead")

    with monkeypatch.context() as torn:
        torn.setattr(type(store), "put_file", fails)
        assert main(["copy", str(folder(new="2")), PLACE, "--replace"]) == 2
    assert store.cat_file("/bank/data/old") == b"1"
    listed = read_list(open_remote(PLACE))
    assert listed is not None
    assert listed.files is None or set(listed.files) == {"old"}
    assert main(["copy", str(folder(new="2")), PLACE, "--replace"]) == 0
    assert whole() == {"new": "2"}


def test_a_stopped_upload_is_gone_on_with_though_it_left_a_file_too_many(store: Any, folder: Folder) -> None:
    remote, killed = open_remote(PLACE), reserved(open_remote(PLACE), folder=True)
    put_folder(folder(a="1", many="1"), remote, killed.__enter__())
    mark = store.cat_file(f"/bank/data/{LIST}")
    assert b'"files": {' in mark
    store.pipe_file(f"/bank/data/{LIST}", b'{"format": 1, "writer": "x", "files": null, "old": ["a", "many"]}')
    assert main(["copy", str(folder(a="2")), PLACE]) == 0
    assert whole() == {"a": "2"}


def test_two_that_write_one_file_where_files_are_renamed_share_no_part(
    store: Any, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put, "RENAMED", frozenset({"memory"}))
    remote = open_remote("memory://bank/scores.parquet")
    own = type(store).put_file

    def another_begins_and_ends(self: Any, lpath: str, rpath: str, **k: Any) -> None:
        own(self, lpath, rpath, **k)
        with reserved(remote, folder=False):
            pass

    with reserved(remote, folder=False), monkeypatch.context() as meanwhile:
        meanwhile.setattr(type(store), "put_file", another_begins_and_ends)
        put_file(folder(scores="good") / "scores", remote)
    assert {n: f.getvalue() for n, f in store.store.items()} == {"/bank/scores.parquet": b"good"}


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("fsspec.implementations.arrow", reason="places by URL need fsspec, an extra")
    local = pytest.importorskip("pyarrow.fs").LocalFileSystem()
    for name in ("a/1", "b/c/2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    fs = arrow.ArrowFSWrapper(local)
    remote = Remote("hdfs://bank/data", fs, str(tmp_path))
    assert set(remote.files()) == {"a/1", "b/c/2"}
    assert set(Remote("hdfs://bank/data", fs, str(tmp_path / "a/1")).files()) == {""}
    assert Remote("hdfs://bank/data", fs, str(tmp_path / "nowhere")).files() == {}
    own = arrow.ArrowFSWrapper.ls

    def times_out(self: Any, path: str, **k: Any) -> Any:
        if path.endswith("/c"):
            raise OSError("the name node is busy")
        return own(self, path, **k)

    monkeypatch.setattr(arrow.ArrowFSWrapper, "ls", times_out)
    with pytest.raises(UserError, match="the name node is busy"):
        remote.files()
