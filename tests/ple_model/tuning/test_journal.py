"""The journal: whole lines only, a torn one is cut off, and Optuna reads back what it wrote."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path

import optuna
import pytest

from ple_model.disk import DiskFull
from ple_model.errors import UserError
from ple_model.tuning.journal import Journal


def test_lines_come_back_in_their_order_from_any_place(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    assert list(one.read_logs(0)) == []
    one.append_logs([{"a": 1}, {"a": 2}])
    assert [x["a"] for x in other.read_logs(0)] == [1, 2]
    other.append_logs([{"a": 3}])
    assert [x["a"] for x in one.read_logs(1)] == [2, 3]
    assert [x["a"] for x in one.read_logs(3)] == []
    one.append_logs([{"a": 4}])
    assert [x["a"] for x in one.read_logs(3)] == [4]


def test_a_torn_last_line_is_not_there_and_the_next_writer_cuts_it_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append_logs([{"a": 1}])
    with (tmp_path / "j").open("ab") as f:
        f.write(b'{"a": 2, "to')
    assert [x["a"] for x in Journal(tmp_path / "j").read_logs(0)] == [1]
    Journal(tmp_path / "j").append_logs([{"a": 3}])
    assert [x["a"] for x in journal.read_logs(0)] == [1, 3]


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n"])
def test_a_line_that_is_none_of_ours_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "j").write_bytes(b'{"a": 1}\n' + line)
    with pytest.raises(UserError, match="line 2"):
        list(Journal(tmp_path / "j").read_logs(0))


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="a link"):
        Journal(tmp_path / "j").append_logs([{"a": 1}])


def test_a_write_that_the_disk_takes_in_part_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(tmp_path / "j").append_logs([{"a": 1}])
    whole, room = os.write, iter([3])

    def write(held: int, data: bytes) -> int:
        if (left := next(room, 0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(held, data[:left])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(DiskFull):
        Journal(tmp_path / "j").append_logs([{"a": 2}])
    assert (tmp_path / "j").read_bytes() == b'{"a":1}\n'


def _append(path: Path, who: int) -> None:
    for i in range(20):
        Journal(path).append_logs([{"who": who, "i": i}])


def test_several_processes_lose_no_line(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_append, args=(tmp_path / "j", who)) for who in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    found = [(x["who"], x["i"]) for x in Journal(tmp_path / "j").read_logs(0)]
    assert sorted(found) == [(who, i) for who in range(3) for i in range(20)]
    assert all([i for w, i in found if w == who] == list(range(20)) for who in range(3))


def test_optuna_finds_its_trials_again(tmp_path: Path) -> None:
    def opened() -> optuna.Study:
        storage = optuna.storages.JournalStorage(Journal(tmp_path / "j"))
        return optuna.create_study(study_name="s", storage=storage, load_if_exists=True, direction="maximize")

    study = opened()
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    study.tell(trial, 0.5)
    assert [(t.value, t.params) for t in opened().trials] == [(0.5, trial.params)]
