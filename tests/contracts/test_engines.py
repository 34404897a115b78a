"""What `ple_model.engine.base` promises, of every engine."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ple_model.engine import ENGINES, RETRIES, ShardEngine, on_ray, open_engine
from ple_model.engine.local import LocalEngine
from ple_model.engine.versions import SOURCES, OtherVersions, own_versions
from ple_model.errors import UserError


def _square(shard: tuple[Path, int]) -> tuple[int, int]:
    folder, number = shard
    (folder / f"{number}").write_text("done")
    return number * number, os.getpid()


def _dies(shard: tuple[Path, int, int]) -> int:
    """Its process is killed at the first attempts."""
    folder, number, times = shard
    attempts = len(list(folder.glob(f"{number}-*")))
    (folder / f"{number}-{attempts}").touch()
    if attempts < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _refuses(shard: tuple[Path, int]) -> int:
    """The second; the first does not end before it."""
    folder, number = shard
    if number == 1:
        (folder / "refused").touch()
        raise UserError("transactions.parquet has no column 'amount'")
    until = time.monotonic() + 60
    while not (folder / "refused").exists() and time.monotonic() < until:
        time.sleep(0.02)
    (folder / f"{number}").touch()
    return number


def _breaks(number: int) -> float:
    return 1 / number


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[ShardEngine]:
    if request.param == "ray":
        pytest.importorskip("ray")
    with open_engine(request.param, workers=2) as opened:
        yield opened


def test_each_shard_is_worked_on_once_in_another_process(engine: ShardEngine, tmp_path: Path) -> None:
    found = dict(engine.run(_square, {f"{k:03d}": (tmp_path, k) for k in range(3)}))
    assert {name: value for name, (value, _) in found.items()} == {"000": 0, "001": 1, "002": 4}
    assert os.getpid() not in {process for _, process in found.values()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1", "2"]


def test_a_shard_whose_process_dies_is_begun_again_and_the_others_are_not(engine: ShardEngine, tmp_path: Path) -> None:
    found = dict(engine.run(_dies, {"a": (tmp_path, 0, 1), "b": (tmp_path, 1, 0)}))
    assert found == {"a": 0, "b": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0-0", "0-1", "1-0"]


def test_a_shard_that_always_dies_stops_the_work_with_its_name(engine: ShardEngine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"shard bad: .* died {RETRIES + 1} times"):
        dict(engine.run(_dies, {"bad": (tmp_path, 0, 99)}))
    assert len(list(tmp_path.iterdir())) == RETRIES + 1


def test_a_process_that_dies_before_it_has_read_its_shard_is_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", b"/bin/false")
    with pytest.raises(UserError, match=f"shard large: .* died {RETRIES + 1} times"):
        dict(LocalEngine(1).run(len, {"large": b"x" * 1_000_000}))  # more than a pipe holds


def test_a_shard_that_raises_is_named_and_is_not_tried_again(engine: ShardEngine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shard 001: transactions\.parquet has no column 'amount'"):
        list(engine.run(_refuses, {f"{k:03d}": (tmp_path, k) for k in range(6)}))
    ended = {p.name for p in tmp_path.iterdir()}
    assert "0" in ended, "what was in progress comes to its end"
    assert "5" not in ended, "no further shard is begun"


def test_a_defect_keeps_its_type_and_names_the_shard(engine: ShardEngine) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        dict(engine.run(_breaks, {"x": 0}))
    assert "in shard x" in raised.value.__notes__
    assert "return 1 / number" in "".join(raised.value.__notes__), "where it happened is told"


class _Awkward(Exception):
    """Cannot be made anew of what is sent of it."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def _awkward(number: int) -> None:
    raise _Awkward(number, 2)


def test_an_error_that_cannot_be_sent_is_told_all_the_same(engine: ShardEngine) -> None:
    with pytest.raises(RuntimeError, match="_Awkward: 1 and 2") as raised:
        dict(engine.run(_awkward, {"x": 1}))
    assert "in shard x" in raised.value.__notes__


def test_once_stopped_no_further_shard_is_begun(engine: ShardEngine, tmp_path: Path) -> None:
    shards = {f"{k:03d}": (tmp_path, k, 0) for k in range(8)}
    found = dict(engine.run(_dies, shards, lambda: any(tmp_path.iterdir())))
    assert 1 <= len(found) <= engine.at_once() == 2
    assert len(list(tmp_path.iterdir())) == len(found), "what is in progress comes to its end"
    assert dict(engine.run(_dies, shards, lambda: True)) == {}


def test_no_shards_no_work(engine: ShardEngine) -> None:
    assert dict(engine.run(_breaks, {})) == {}


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
@pytest.mark.parametrize("name", ["ple-scope", "torch", "python", SOURCES])
def test_a_worker_of_another_version_is_refused_before_any_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: ShardEngine
) -> None:
    mine = own_versions()
    monkeypatch.setattr(on_ray, "own_versions", lambda: mine | {name: "0.0.9"})  # of this process; workers find their own
    said = f"another version: {name} is 0.0.9 where the command runs and {re.escape(mine[name])} on "
    with pytest.raises(OtherVersions, match=f"shard 001: {said}"):
        dict(engine.run(_square, {"001": (tmp_path, 1)}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_every_machine_of_a_cluster_is_asked_first(monkeypatch: pytest.MonkeyPatch, engine: ShardEngine) -> None:
    import ray

    dict(engine.run(_breaks, {"x": 1}))
    on_ray.require_same_everywhere(ray)
    mine = own_versions()
    monkeypatch.setattr(on_ray, "own_versions", lambda: mine | {"torch": "2.0.0"})
    said = f"--address: another version: torch is 2.0.0 where the command runs and {re.escape(mine['torch'])} on "
    with pytest.raises(OtherVersions, match=said):
        on_ray.require_same_everywhere(ray)


def test_an_address_in_the_environment_is_of_ray_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLE_ADDRESS", "auto")
    with open_engine(None):
        pass
    monkeypatch.setenv("PLE_ENGINE", "rai")
    with pytest.raises(UserError, match="PLE_ENGINE: 'rai' is not valid"), open_engine(None):
        pass


def test_a_wrong_engine_or_address_is_one_sentence() -> None:
    with pytest.raises(UserError, match="--engine: 'rai' is not valid; did you mean 'ray'"), open_engine("rai"):
        pass
    with (
        pytest.raises(UserError, match="is a Ray cluster's"),
        open_engine("local", address="1.2.3.4:5"),
    ):
        pass
