"""Jobs that make data: what they run is what the page shows, what was finished is kept, nothing else can be asked of them."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard import making, making_cost
from dashboard.data_job_card import standing
from dashboard.data_jobs import DataJob, DataStore, Making, Progress, commands
from dashboard.jobs import jobs_root
from ple_model.cli import main as ple
from ple_model.errors import UserError


def until(done: Any, seconds: float = 60.0) -> None:
    tick = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        tick.wait(0.05)
    pytest.fail("the condition did not come true in time")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataStore:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # a slot of its own, also for the workers
    return DataStore(jobs_root(tmp_path))


def bank(folder: Path, **more: Any) -> Making:
    made: dict[str, Any] = {"steps": ("synth", "build", "baselines"), "dataset": folder / "d", "events": folder / "e"}
    return Making(**(made | {"customers": 12, "seed": 3} | more))


def test_the_commands_are_those_a_person_types(tmp_path: Path) -> None:
    e, d = str(tmp_path / "e"), str(tmp_path / "d")
    made = bank(tmp_path, cutoffs=("2024-07-01", "2024-08-01"), horizon_days=28)
    assert commands(made) == (
        ("synth", e, "--customers", "12", "--seed", "3"),
        ("build", e, d, "--cutoff", "2024-07-01", "--cutoff", "2024-08-01", "--horizon-days", "28"),
        ("baselines", d),
    )
    took = bank(tmp_path, steps=("import",), source=tmp_path / "in.csv", mapping=tmp_path / "map.yaml")
    assert commands(took) == (("import", "tables", str(tmp_path / "in.csv"), e, "--map", str(tmp_path / "map.yaml")),)
    assert (made.target, took.target) == (tmp_path / "d", tmp_path / "e")


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ("synth", "rm")}, {"steps": ()}, {"events": Path("relative")}, {"dataset": Path("/a\0b")}, {"customers": 0},
        {"seed": -1}, {"cutoffs": ("--help",)}, {"cutoffs": ("2024-13-01",)}, {"horizon_days": 0}, {"steps": ("import",)},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_making_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="data job"):
        bank(tmp_path, **wrong)


def test_a_job_makes_what_its_command_makes_and_says_how_far_it_is(store: DataStore, tmp_path: Path) -> None:
    job = store.start(bank(tmp_path, steps=("synth",)))
    until(lambda: not store.get(job.id).active)
    assert store.get(job.id).status == "finished", store.log_tail(job.id)
    assert store.how_far(job.id) == Progress(0, "customers", 1.0)
    assert "12 rows" in store.log_tail(job.id)
    assert ple(["synth", str(tmp_path / "again"), "--customers", "12", "--seed", "3", "--json"]) == 0
    for file in (tmp_path / "again").iterdir():
        assert (tmp_path / "e" / file.name).read_bytes() == file.read_bytes()
    assert [j.id for j in DataStore(store.root).jobs()] == [job.id]


def _heard(
    store: DataStore, made: Making, monkeypatch: pytest.MonkeyPatch, codes: dict[str, int]
) -> tuple[int, list[str], Progress | None]:
    """Run a stored job's commands with a `ple` that only notes them."""
    ran: list[str] = []

    def command(words: list[str], hear: Any) -> int:
        ran.append(words[0])
        hear(f"{words[0]} stage", 0.5)
        return codes.get(words[0], 0)

    monkeypatch.setattr(making, "ple", command)
    monkeypatch.setattr("dashboard.job_store.subprocess.run", lambda *a, **k: None)
    job = store.start(made)
    code = making.run(store, job.id)
    store.update(job.id, status="stopped")
    return code, ran, store.how_far(job.id)


def test_commands_run_in_order_and_the_first_that_fails_ends_it(
    store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, ran, said = _heard(store, bank(tmp_path), monkeypatch, {"build": 2})
    assert (code, ran, said) == (2, ["synth", "build"], Progress(1, "build stage", 0.5))


def test_event_tables_that_are_there_are_not_made_again(
    store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "events.json").write_text("{}")
    assert _heard(store, bank(tmp_path), monkeypatch, {})[1] == ["build", "baselines"]


def test_what_came_to_its_end_is_finished_though_its_worker_was_killed(
    store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter([1, 0])
    monkeypatch.setattr("dashboard.job_store.subprocess.run", lambda *a, **k: None)  # no worker: nobody else settles it
    monkeypatch.setattr(making, "run", lambda *a: next(codes))
    monkeypatch.setattr(making.signal, "signal", lambda *a: None)
    job = store.start(bank(tmp_path))
    store.update(job.id, status="running", pid=2)
    for status in ("running", "finished"):
        making.main([str(store.root), job.id])
        assert store.get(job.id).status == status
    assert [j.status for j in store.jobs()] == ["finished"]


def test_a_worker_that_is_coming_up_is_not_lost(store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.job_store.subprocess.run", lambda *a, **k: None)
    job = store.start(bank(tmp_path))
    store.lock_path(job.id).touch()  # made, and not yet taken
    assert [j.status for j in store.jobs()] == ["queued"]
    store.update(job.id, pid=2)  # it had taken its lock, and is gone
    assert [j.status for j in store.jobs()] == ["lost"]


def test_a_folder_is_made_by_one_job_at_a_time(store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.job_store.subprocess.run", lambda *a, **k: None)
    store.start(bank(tmp_path))
    with pytest.raises(UserError, match="is being made already"):
        store.start(bank(tmp_path, seed=4))


def test_rows_that_somebody_else_wrote_make_nothing(store: DataStore, tmp_path: Path) -> None:
    assert store.jobs() == []
    good = {"steps": ["synth"], "dataset": None, "events": str(tmp_path), "source": None, "mapping": None, "customers": 1}
    good |= {"seed": 0, "cutoffs": [], "horizon_days": 84}
    bad = [
        "[]", "null", "{", json.dumps(good | {"steps": ["sh"]}), json.dumps(good | {"events": "../x"}),
        json.dumps(good | {"customers": "1; rm"}), json.dumps(good | {"cutoffs": ["--map"]}), json.dumps({"steps": ["synth"]}),
        json.dumps(good | {"seed": True}),
    ]  # fmt: skip
    with store._db() as db:
        for k, text in enumerate([json.dumps(good), *bad]):
            db.execute(
                "INSERT INTO makings (id, target, making, status, created) VALUES (?, ?, ?, 'lost', 1.0)",
                (f"{k:012x}", str(tmp_path), text),
            )
    assert [j.id for j in store.jobs()] == ["0" * 12]


def test_the_share_that_is_done_grows_with_the_stages(tmp_path: Path) -> None:
    made = bank(tmp_path)
    stages = [(0, "customers"), *((1, name) for name in making_cost.BUILD), (2, "baselines")]
    shares = [making_cost.share(made, Progress(n, s, part), 1000) for n, s in stages for part in (0.0, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert (shares[0], round(shares[-1], 9)) == (0.0, 1.0)
    assert making_cost.share(made, None, 1000) == 0.0
    assert making_cost.share(replace(made, steps=("build",)), Progress(0, "build", 0.0), 1000) == 0.0
    assert sum(making_cost.BUILD.values()) == pytest.approx(1.0)


def test_more_rows_cost_more() -> None:
    few, many = making_cost.cost(("synth", "build"), 1000), making_cost.cost(("synth", "build"), 2000)
    assert few.seconds < many.seconds < 2 * few.seconds  # a part does not depend on them
    assert 0 < few.bytes < many.bytes
    assert few.now() >= few.seconds


def test_a_job_that_makes_data_stands_still_where_it_says_how_far_it_is(
    store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its file is there, and goes on with what it did."""
    said: list[bool] = []
    work = Making(("synth",), events=tmp_path / "events", customers=100)
    with monkeypatch.context() as patch:
        patch.setattr(DataStore, "get", lambda self, job_id: SimpleNamespace(making=work, id="a" * 12))
        asked = store.pause_path(store.get("a" * 12))
        asked.parent.mkdir(parents=True, exist_ok=True)
        asked.touch()

        def look(seconds: float) -> None:
            said.append(store.stands_still(store.get("a" * 12)))
            if len(said) == 2:
                asked.unlink()

        patch.setattr("ple_model.training.pause.time", SimpleNamespace(sleep=look, monotonic=time.monotonic))
        patch.setattr(making, "ple", lambda words, hear: hear("write", 1.0))
        assert not making.run(store, "a" * 12)
        assert said == [True, True]
        assert not store.stands_still(store.get("a" * 12))


def record(job_id: str, folder: Path, status: str, created: float) -> DataJob:
    work = Making(("synth",), events=folder, customers=100)
    return DataJob(job_id * 12, status, created, created, None, None, None, False, making=work)  # type: ignore[arg-type]


def test_a_job_that_was_gone_on_with_is_listed_once(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    jobs = [record("3", a, "running", 3.0), record("2", b, "finished", 2.0), record("1", a, "stopped", 1.0)]
    assert [j.id[0] for j in standing(jobs)] == ["3", "2"]


def test_a_pause_ends_with_its_job(store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends it, also when its processes were killed while it stood still."""
    monkeypatch.setattr("dashboard.job_store.subprocess.run", lambda *a, **k: None)
    monkeypatch.setattr("dashboard.job_store.STARTUP_GRACE_S", -1)
    job = store.start(bank(tmp_path, steps=("synth",)))
    asked = store.pause_path(job)
    asked.touch()
    assert store.jobs()[0].status == "lost"
    assert not asked.exists()
