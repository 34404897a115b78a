"""A little of some drills; the whole of them: `python -m tests.drills.kills`, `tests.drills.races`, `tests.drills.disk_full`,
`tests.drills.app_kills`, `tests.drills.shards`, `tests.drills.nodes`.

`tests.drills.settings` runs in tests/ple_model/test_settings_drill.py, kills that are aimed in tests/ple_model/test_resume.py.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ple_model.data.importers.preview import preview
from ple_model.data.importers.source_map import load_map
from ple_model.data.importers.starter_map import write_starter
from ple_model.engine.local import LocalEngine
from tests.drills import shards, story
from tests.drills.app_kills import Drill, cycle
from tests.drills.attempts import at_work, lost, note
from tests.drills.card_file import FAULTS, write_card_file
from tests.drills.kit import Outcome, Report
from tests.drills.races import jobs
from tests.drills.stages import WRONG, Stage, digest, judged
from tests.drills.walk import Step, totals

pytestmark = pytest.mark.slow


def test_of_starts_at_the_same_moment_one_wins_and_the_others_are_refused() -> None:
    words = [sys.executable, "-m", "tests.drills.races", "--cases", "1"]  # in a process of its own: it forks
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cases" in done.stdout


def test_a_case_that_is_not_good_makes_a_drill_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.drills.races.together", lambda works, folder: ["done", "done", "refused: x"])
    report = Report("races", 0).add(jobs(tmp_path, 1))
    assert [b.result for b in report.bad] == ["wrong"]
    assert Report("any", 0).add([Outcome("x", "refused"), Outcome("y", "right")]).bad == []


def test_a_kill_or_a_loss_that_hit_no_shard_is_not_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [Stage(name, lambda to: (), lambda to: "") for name in ("build", "predict")]
    hit = {"build": 1, "predict": 0}
    monkeypatch.setattr(shards, "stages", lambda base, only: every)
    monkeypatch.setattr(shards, "begin", lambda stage, to, *engine: SimpleNamespace(poll=lambda: None, stage=stage))
    monkeypatch.setattr(
        shards, "end", lambda stage, to, begun: (to.with_name(f"{to.name}-of").write_text(stage.name), "same")[1]
    )
    monkeypatch.setattr(shards, "at_work", lambda notes: [7, 8, 9])
    monkeypatch.setattr(shards, "lost", lambda notes: hit[notes.with_name(notes.name.replace("attempts", "of")).read_text()])
    monkeypatch.setattr(shards, "send", lambda pids, number: None)
    monkeypatch.setattr(shards.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(shards.importlib.util, "find_spec", lambda name: None)
    bad = [(o.case.partition(": ")[2] or o.case, o.result) for o in shards.run_cases(tmp_path, 0, 3) if o.result != "right"]
    assert set(bad[:-1]) == {("predict, local, 0 killed", "hit nothing"), ("predict, local", "too few kills")}
    assert bad[-1] == ("3 kills", "too few kills")
    hit["predict"] = 1
    assert [o.result for o in shards.run_cases(tmp_path, 0, 3) if o.result != "right"] == []
    hit["predict"] = 4
    assert "others died" in [o.result for o in shards.run_cases(tmp_path, 0, 3)]


def test_an_attempt_at_a_shard_is_noted_while_it_lasts_and_stays_where_its_process_was_killed(tmp_path: Path) -> None:
    notes, program = tmp_path / "notes", "import sys; from tests.test_drills import killed_once; killed_once(sys.argv[1])"
    notes.mkdir()
    subprocess.run([sys.executable, "-c", program, str(notes)], check=True)
    assert lost(notes) == 1
    assert at_work(notes) == []
    (notes / f"{os.getpid()}-x").touch()
    assert at_work(notes) == at_work(notes, os.getppid()) == [os.getpid()]
    assert at_work(notes, os.getpid()) == []


def killed_once(notes: str) -> None:
    """In a process of its own: what is noted stays."""
    note(Path(notes))
    assert dict(LocalEngine(2).run(_dies_first, {"a": Path(notes).parent / "a", "b": Path(notes).parent / "b"})) == {
        "a": "a",
        "b": "b",
    }


def _dies_first(shard: Path) -> str:
    if shard.name == "a" and not shard.exists():
        shard.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return shard.name


def test_two_stages_that_came_to_nothing_do_not_agree_and_a_report_is_the_same_but_for_its_minute(tmp_path: Path) -> None:
    assert digest([tmp_path / "nothing"]) == ""
    nothing = f"{WRONG}: nothing was made"
    assert [judged(nothing, nothing), judged("1 files a", "1 files a"), judged("1 files a", "1 files b")] == [
        WRONG,
        "right",
        "other",
    ]
    for name, text in (("a", "made 2026-01-02 03:04 UTC"), ("b", "made 2026-01-02 09:09 UTC"), ("c", "made otherwise")):
        (tmp_path / name).write_text(text)
    one, same, other = (digest([tmp_path / name]) for name in "abc")
    assert one == same != other


class _App:
    """An app that lists what it is told to, and whose folders are read as they are told to."""

    def __init__(self, status: str = "finished", said: str = "whole", lost: bool = False) -> None:
        self.row = {"kind": "train", "status": status, "pid": None, "target": "/x", "active": status == "running"}
        self.said, self.lost, self.process = said, lost, object()

    def ask(self, act: str, **values: Any) -> Any:
        if act == "list":
            return {} if self.lost else {"a": self.row}
        return self.said if act == "read" else "a"


@pytest.mark.parametrize(
    ("app", "result"),
    [
        (_App(), "right"),
        (_App(said="Traceback: KeyError"), "left behind"),
        (_App(said="manifest.json is missing"), "left behind"),
        (_App(status="lost"), "does not go on"),
    ],
)
def test_an_app_that_loses_something_fails_the_drill(
    app: _App, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = Drill(tmp_path, 0)
    drill.server = app  # type: ignore[assignment]
    monkeypatch.setattr("tests.drills.app_kills._left", lambda drill: "")
    monkeypatch.setattr(drill, "result", lambda kind, name: "the same")
    assert [o.result for o in cycle(drill, 0, 0, {"train": ("the same", 1.0)})] == [result]
    assert drill.faults("a") == "" or result == "left behind"
    app.lost = True
    assert "job a is not listed" in drill.faults("a")
    app.lost = False
    others = [o.result for o in cycle(drill, 0, 0, {"train": ("other", 1.0)})]
    assert others == [result if result == "does not go on" else "other result"]


def test_the_faults_of_the_story_are_those_that_a_preview_finds(tmp_path: Path) -> None:
    file = write_card_file(tmp_path / "payments.csv", 20, seed=3)
    rows = list(csv.reader(file.path.open(encoding="utf-8", newline="")))
    assert len(rows) == file.rows + 1
    assert {tuple(rows[n - 1]) for n in file.faulty} == set(FAULTS)
    write_starter(file.path, tmp_path / "map.yaml")
    assert {f.row for f in preview(file.path, load_map(tmp_path / "map.yaml")).faults} == set(file.faulty)
    assert write_card_file(tmp_path / "again.csv", 20, seed=3).path.read_bytes() == file.path.read_bytes()


def test_the_story_sums_what_its_steps_took_and_says_what_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert totals([Step("a", 60.0, 3, 1), Step("b", 30.0, 2)]) == {"minutes": 1.5, "clicks": 5, "fields": 1}
    monkeypatch.setattr(sys, "argv", ["story", "--help"])
    with pytest.raises(SystemExit) as left:
        story.main()
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert [w for w in ("--customers", "--out", "--until", "--work", *story.STEPS) if w not in said] == []
