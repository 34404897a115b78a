"""How long a training still takes, from its own lines: of a recorded one, and of made-up ones whose every second is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ple_model.progress import read_progress
from ple_model.training.remaining import Remaining

RECORDED = Path(__file__).with_name("recorded") / "steady_training.jsonl"
"""A `small` training of 8,331 rows on a machine with nothing else to do: every second step, no more than what is read here."""
BUNDLED = sorted((Path(__file__).resolve().parents[2] / "sample_runs").glob("*/progress.jsonl"))
Line = dict[str, Any]


def ratios(lines: Iterable[Line], end: float, after: float) -> list[float]:
    """What it said over what was left, at every line of an epoch or step from `after` on, but for the last 5 percent."""
    left, found = Remaining(), []
    for line in lines:
        left.hear(line)
        said, rest = left.seconds(), end - line["time"]
        if line["event"] in ("step", "epoch") and line["time"] >= after and rest > 0.05 * end:
            assert said is not None
            found.append(said / rest)
    return found


def training(
    pace: dict[int, float],
    *,
    later: float = 0.6,
    aside: float = 2.0,
    end: float = 13.0,
    pause: float = 0,
    process: bool = False,
) -> Iterator[Line]:
    """Five epochs and two, of 50 steps. `pace`: seconds a step by epoch (1.0 where none is given); `later`: of phase 2;
    `pause`: it is stopped so long in the third epoch, or stands still where its `process` stays."""
    now = 0.0
    yield {
        "event": "start", "time": now, "epochs": [5, 2], "max_epochs": 100, "steps_per_epoch": 50,
        "rows": {"train": 500, "validation": 50},
    }  # fmt: skip
    for epoch in range(1, 8):
        phase = 1 if epoch <= 5 else 2
        if epoch in (1, 6):
            yield {"event": "phase", "time": now, "phase": phase, "epoch": epoch}
        each = later if phase == 2 else pace.get(epoch, 1.0)
        for step in range(1, 51):
            now += each
            yield {"event": "step", "time": now, "epoch": epoch, "phase": phase, "step": step, "steps": 50}
            if pause and epoch == 3 and step == 25:
                yield {"event": "paused" if process else "stopped", "time": now, "epoch": 3, "step": 25}
                now += pause
                yield {"event": "continued" if process else "resumed", "time": now, "epoch": 3, "phase": 1, "step": 25}
        now += aside
        yield {"event": "epoch", "time": now, "epoch": epoch, "phase": phase, "seconds": 50 * each}
    yield {"event": "finished", "time": now + end}


def test_of_a_recorded_training_it_is_right_within_20_percent_from_its_second_epoch_on() -> None:
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    first = next(line["time"] for line in lines if line["event"] == "epoch")
    found = ratios(lines, lines[-1]["time"], first)
    assert len(found) > 40
    assert min(found) > 0.8
    assert max(found) < 1.2


@pytest.mark.parametrize("first", [1.0, 2.0, 0.5])
def test_an_epoch_that_was_slow_or_quick_is_forgotten_with_the_next(first: float) -> None:
    lines = list(training({1: first}))
    found = ratios(lines, lines[-1]["time"], 50 * first + 2 + 52)
    assert min(found) > 0.8
    assert max(found) < 1.2


def test_a_process_that_warms_up_at_its_first_step_does_not_count() -> None:
    lines = list(training({}))
    slow = [line if line["event"] == "start" else line | {"time": line["time"] + 100.0} for line in lines]
    slow[1]["time"] = 0.0  # the phase begins, the first step takes long
    found = ratios(slow, slow[-1]["time"], slow[4]["time"])
    assert max(found[:40]) < 1.2


@pytest.mark.parametrize("process", [False, True], ids=["stopped", "paused"])
def test_while_it_is_stopped_or_stands_still_is_no_time_of_training(process: bool) -> None:
    plain, paused = list(training({})), list(training({}, pause=10_000, process=process))
    end = plain[-1]["time"]
    whole = [(line, line["time"] - (10_000 if line["time"] > 10_000 else 0)) for line in paused]
    left = Remaining()
    for line, active in whole:
        left.hear(line)
        if line["event"] in ("step", "epoch") and line["epoch"] >= 3 and end - active > 0.05 * end:
            assert left.seconds() == pytest.approx(end - active, rel=0.2)


def test_the_end_counts_down_and_baselines_go_by_their_share() -> None:
    left = Remaining()
    *lines, last = training({})
    for line in lines:
        left.hear(line)
    now = lines[-1]["time"]
    before = left.seconds()
    assert before == pytest.approx(last["time"] - now, rel=0.2)
    left.hear({"event": "baselines", "time": now, "share": 0.0, "what": "linear"})
    assert left.seconds() is None
    left.hear({"event": "baselines", "time": now + 30, "share": 0.25, "what": "linear"})
    assert left.seconds() == pytest.approx(90 + before)
    left.hear({"event": "ending", "time": now + 120, "what": "calibration"})
    left.hear({"event": "ending", "time": now + 123, "what": "sample"})
    assert left.seconds() == pytest.approx(before - 3)


def test_before_the_first_step_nothing_is_said() -> None:
    left = Remaining()
    for line in list(training({}))[:2]:
        left.hear(line)
    assert left.seconds() is None


@pytest.mark.parametrize("path", BUNDLED, ids=lambda p: p.parent.name)
def test_of_the_bundled_runs_it_is_a_time_at_every_step(path: Path) -> None:
    left, said = Remaining(), []
    for line in read_progress(path):
        left.hear(line)
        if line["event"] == "epoch":
            said.append(left.seconds())
    assert all(x is not None and 0 < x < 1e5 for x in said)
    assert said[-1] < said[0]


def test_a_damaged_log_is_no_reason_to_fail() -> None:
    left = Remaining()
    for line in ({"event": "start", "epochs": []}, {"event": "phase", "phase": 9}, {"event": "step"}, {"event": "epoch"}):
        left.hear(line)
    assert left.seconds() is None
