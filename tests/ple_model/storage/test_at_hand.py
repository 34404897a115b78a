"""Commands on places by URL (fsspec's filesystem in memory): the same answers, whole or not at all, each failure a sentence."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.storage.at_hand import Waits, at_hand
from ple_model.storage.cache import hold_copy
from ple_model.storage.fetch import SEEN, fetched
from ple_model.storage.listing import LIST
from ple_model.storage.url import AtUrl
from tests.ple_model.data.tiny_events import tables, write_events

memory = pytest.importorskip("fsspec.implementations.memory", reason="places by URL need fsspec, an extra")
Store = memory.MemoryFileSystem
EVENTS = "memory://bank/events"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("bank") / "events", tables(30))


@pytest.fixture
def bank(store: Any, events: Path) -> Any:
    """The events at `EVENTS`, as another program puts them there."""
    for file in events.rglob("*"):
        if file.is_file():
            store.pipe_file(f"/bank/events/{file.relative_to(events)}", file.read_bytes())
    return store


def said(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    assert main(words) == code
    found = capsys.readouterr()
    return found.out if code == 0 else found.err


def test_what_reads_events_reads_them_by_url(bank: Any, events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("labels", "validate"):
        by_path = said([command, str(events), "--json"], capsys, 0)
        assert said([command, EVENTS, "--json"], capsys, 0) == by_path.replace(str(events), EVENTS)


def test_buckets_go_from_a_url_to_a_url_and_come_back_as_they_are(
    bank: Any, events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(said(["shard", EVENTS, "memory://bank/buckets", "--buckets", "2", "--json"], capsys, 0))
    assert told["path"] == "memory://bank/buckets"
    assert main(["shard", str(events), str(tmp_path / "here"), "--buckets", "2"]) == 0
    assert main(["copy", "memory://bank/buckets", str(tmp_path / "back")]) == 0
    files = {p.relative_to(tmp_path / "here"): p.read_bytes() for p in (tmp_path / "here").rglob("*") if p.is_file()}
    assert len(files) > 6
    assert files == {p.relative_to(tmp_path / "back"): p.read_bytes() for p in (tmp_path / "back").rglob("*") if p.is_file()}
    kept = {p.name for p in (tmp_path / "cache" / "made").rglob("*") if p.is_file()}
    assert kept <= {".lock"}, "nothing is kept of what was put in its place"
    assert "files are there already" in said(["shard", EVENTS, "memory://bank/buckets"], capsys)


def test_a_file_is_copied_to_a_mere_name_in_the_current_folder(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe_file("/bank/scores.parquet", b"scores")
    asked: list[str] = []
    get = store.get
    monkeypatch.setattr(type(store), "get", lambda self, there, here: (asked.extend(here), get(there, here))[1])
    monkeypatch.chdir(tmp_path)
    assert main(["copy", "memory://bank/scores.parquet", "scores.parquet"]) == 0
    assert (tmp_path / "scores.parquet").read_bytes() == b"scores"
    assert [Path(p).is_absolute() for p in asked] == [True]  # s3fs makes the folder of each


def test_a_copy_is_taken_again_and_of_a_change_only_what_changed(
    bank: Any, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    own = Store.get_file
    monkeypatch.setattr(Store, "get_file", lambda self, r, *a, **k: (asked.append(r), own(self, r, *a, **k))[1])
    place = AtUrl(EVENTS, "folder", written=False)
    with fetched(place) as first:
        assert first.name == "events"
        whole = len(asked)
        assert whole >= 6
        with fetched(place) as again:
            assert again == first
        assert len(asked) == whole
        bank.pipe_file("/bank/events/merchants.parquet", b"changed")
        with fetched(place) as later:
            assert asked[whole:] == ["/bank/events/merchants.parquet"]
            assert (later / "merchants.parquet").read_bytes() == b"changed"
            assert (later / "customers.parquet").read_bytes() == (events / "customers.parquet").read_bytes()
        assert (first / "merchants.parquet").read_bytes() != b"changed", "who reads a copy keeps it"
    with fetched(place):
        assert not first.exists(), "a copy of an older state that nobody holds is removed"


def test_a_result_that_cannot_be_put_is_kept_and_nobody_reads_a_part_of_it(
    bank: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, put = Store.put_file, []

    def fails(self: Any, lpath: str, rpath: str, *a: Any, **k: Any) -> Any:
        put.append(rpath)
        if len(put) == 3:
            raise TimeoutError("the line went dead")
        return own(self, lpath, rpath, *a, **k)

    words = ["shard", EVENTS, "memory://bank/buckets", "--buckets", "2"]
    with monkeypatch.context() as torn:
        torn.setattr(Store, "put_file", fails)
        assert main(words) == 2
        printed = capsys.readouterr()
    assert printed.out == "", "a result that is not in its place is not reported"
    assert "memory://bank/buckets cannot be written: no server answers" in printed.err
    assert "is being written, or a command" in said(["validate", "memory://bank/buckets"], capsys)
    again = said(words, capsys)
    advice = re.findall("`ple ([^`]+)` puts it there", printed.err + again)
    assert len(advice) == 2
    assert len(set(advice)) == 1
    assert main(shlex.split(advice[0])) == 0
    assert main(["validate", "memory://bank/buckets"]) == 0
    assert "files are there already" in said(words, capsys), "what was put waits no more"


def test_a_command_that_fails_leaves_nothing_and_names_the_url(bank: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bank.rm_file("/bank/events/customers.parquet")
    told = said(["shard", EVENTS, "memory://bank/buckets"], capsys)
    assert f"'{EVENTS}' has no customers.parquet" in told
    assert [n for n in bank.store if "buckets" in n] == []


def test_what_is_not_as_it_was_written_is_named(bank: Any, events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", str(events), "memory://bank/own"]) == 0
    assert len(json.loads(bank.cat_file(f"/bank/own/{LIST}"))["files"]) > 6
    content = bank.cat_file("/bank/own/customers.parquet")
    bank.pipe_file("/bank/own/customers.parquet", content[:-1] + b"x")
    assert "customers.parquet differs from .ple-files.json" in said(["validate", "memory://bank/own"], capsys)
    bank.rm_file("/bank/own/customers.parquet")
    assert "customers.parquet differs" in said(["validate", "memory://bank/own"], capsys)
    bank.pipe_file(f"/bank/own/{LIST}", b"{")
    assert f"memory://bank/own/{LIST} is damaged" in said(["validate", "memory://bank/own"], capsys)
    bank.rm_file(f"/bank/own/{LIST}")
    assert "files are there already" in said(["copy", str(events), "memory://bank/own"], capsys)
    assert "does not name it" in said(["copy", str(events), "memory://bank/own", "--replace"], capsys)
    assert main(["copy", str(events), "memory://bank/again"]) == 0
    assert main(["copy", str(events), "memory://bank/again", "--replace"]) == 0
    assert main(["validate", "memory://bank/again"]) == 0


@pytest.mark.parametrize("name", ["../../x", "a/../../../x", ".", "a\\b", "a\x01b"])
def test_names_of_a_stranger_lead_nowhere(store: Any, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    store.store[f"/bank/odd/{name}"] = memory.MemoryFile(store, f"/bank/odd/{name}", b"x")
    with (
        pytest.raises(UserError, match="is not the name of a file below it"),
        fetched(AtUrl("memory://bank/odd", "folder", False)),
    ):
        pass
    assert not any(p.is_file() and p.name != ".lock" for p in (tmp_path / "cache").rglob("*"))


def test_nothing_there_a_file_for_a_folder_and_a_permission_that_lacks(
    bank: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "memory://bank/nowhere: nothing is there, or there is no bucket" in said(["labels", "memory://bank/nowhere"], capsys)
    assert "is a file; a folder is expected" in said(["labels", f"{EVENTS}/customers.parquet"], capsys)

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(Store, "pipe_file", denied)
    told = said(["synth", "memory://bank/new", "--customers", "99999"], capsys)
    assert "memory://bank/new cannot be written: permission denied" in told, "known before the work"


def test_a_disk_of_this_machine_that_is_full_is_named(
    bank: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Any, rpath: str, lpath: str, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", lpath)

    monkeypatch.setattr(Store, "get_file", full)
    assert "no space left on" in said(["labels", EVENTS], capsys)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=10, used=9, free=1))
    told = said(["copy", EVENTS, str(tmp_path / "here")], capsys)
    assert f"{EVENTS} holds" in told
    assert "are free in" in told


def test_a_folder_without_files_comes_back_as_one(store: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["copy", str(tmp_path / "empty"), "memory://bank/empty"]) == 0
    with fetched(AtUrl("memory://bank/empty", "folder", written=False)) as found:
        assert list(found.iterdir()) == []


def test_machines_of_a_cluster_must_find_the_copies(
    bank: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PLE_CACHE")
    told = said(["build", EVENTS, "memory://bank/data", "--engine", "ray", "--address", "auto"], capsys)
    assert "set PLE_CACHE to a folder that all machines of the cluster share" in told


def test_a_copy_is_its_users_alone(bank: Any, tmp_path: Path) -> None:
    with fetched(AtUrl(EVENTS, "folder", written=False)) as found:
        assert os.stat(found.parents[1]).st_mode & 0o077 == 0


def test_a_score_that_could_not_be_put_stops_nothing_once_the_advice_is_taken(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = argparse.Namespace(out=AtUrl("memory://bank/made", "file", written=True))

    def score(text: str) -> None:
        with at_hand(place) as ready:
            ready.out.write_text(text)

    def fails(*_: Any, **__: Any) -> None:
        raise TimeoutError("the line went dead")

    with monkeypatch.context() as torn:
        torn.setattr(Store, "put_file", fails)
        with pytest.raises(Waits) as raised:
            score("monday")
    with pytest.raises(Waits):
        score("tuesday")
    assert main(shlex.split(str(raised.value).partition("`ple ")[2].partition("`")[0])) == 0
    assert store.cat_file("/bank/made") == b"monday"
    score("tuesday")
    assert store.cat_file("/bank/made") == b"tuesday"


def test_a_copy_that_lost_or_changed_a_file_is_made_anew(store: Any) -> None:
    place = AtUrl("memory://bank/loose", "folder", written=False)
    for name in "ab":
        store.pipe_file(f"/bank/loose/{name}", name.encode())
    with fetched(place) as found:
        (found / "b").unlink()
    with fetched(place) as found:
        assert {p.name: p.read_text() for p in found.iterdir()} == {"a": "a", "b": "b"}
        (found / "a").write_text("x")
        os.utime(found / "a", (2e9, 2e9))  # later, whatever the clock's grain
    with fetched(place) as found:
        assert (found / "a").read_text() == "a"
        (found / "another").touch()
    store.pipe_file("/bank/loose/b", b"new")
    with fetched(place) as found:
        assert {p.name: p.read_text() for p in found.iterdir()} == {"a": "a", "b": "new"}
        (found.parent / SEEN).write_text("{")
    with fetched(place) as found:
        assert {p.name: p.read_text() for p in found.iterdir()} == {"a": "a", "b": "new"}


def test_what_did_not_change_is_not_stored_twice(store: Any) -> None:
    place = AtUrl("memory://bank/loose", "folder", written=False)
    for name in "ab":
        store.pipe_file(f"/bank/loose/{name}", name.encode())
    with fetched(place) as first:
        store.pipe_file("/bank/loose/b", b"new")
        with fetched(place) as second:
            assert (first / "a").samefile(second / "a")
            assert not (first / "b").samefile(second / "b")


def test_a_copy_reached_by_its_path_is_held_too(store: Any) -> None:
    place = AtUrl("memory://bank/loose", "folder", written=False)
    store.pipe_file("/bank/loose/a", b"a")
    with fetched(place) as found:
        pass
    hold_copy(found)
    store.pipe_file("/bank/loose/a", b"new")
    with fetched(place) as later:
        assert later != found
    assert (found / "a").read_text() == "a"


def test_a_cache_of_another_account_is_not_trusted(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe_file("/bank/loose/a", b"a")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(UserError, match="is another account's"), fetched(AtUrl("memory://bank/loose", "folder", written=False)):
        pass
