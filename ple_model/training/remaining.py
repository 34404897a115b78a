"""How long a training still takes, from the lines of its own `progress.jsonl`: steps at the pace of late, the part of an epoch
that is no step (validation, checkpoint), the second phase, and the end (calibration, metrics, the stored sample).

What has not been seen yet is taken from what other trainings of this project did (`PHASE_2`, `ASIDE`, `END`); what has been
seen replaces it. Early stopping cannot be foreseen: it may end a training before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

PHASE_2 = 0.6
"""A step of phase 2, in which the shared experts do not train, by one of phase 1: the median of 20 recorded trainings (293 to
33,597 training rows; 0.4 to 0.9)."""
ASIDE = 0.8
"""What an epoch takes beside its steps, by the time of a step and the rows of validation: the median of twelve recorded
trainings of `small` with a fitted map that bends, and shares chosen on validation rows
(3,259 to 8,331 training rows; 0.6 to 1.4)."""
END = 6.5
"""The end of a training, by what an epoch takes beside its steps: the median of the same trainings (3 to 12)."""
RECENT = 0.35
"""The pace is a mean over steps that forgets: so many epochs ago a step counts a half."""

GUESS = 0.1
"""What is guessed of a phase's pace counts as much as so many epochs of it, until they are seen."""


class Remaining:
    """Hears the lines of a training in order, and says how many seconds are left."""

    def __init__(self) -> None:
        self._epochs, self._most = [0, 0], 0
        self._steps, self._shares = 0, 0.0
        """Of an epoch; rows of validation by those of training."""
        self._phase, self._done, self._epoch, self._step = 1, 0, 1, 0
        self._pace: dict[int, tuple[float, float]] = {}
        """By phase: seconds and steps, both forgotten at the same rate."""
        self._asides: list[float] = []
        self._before: tuple[float, int] | None = None
        """Time and step of the line before, in the same epoch."""
        self._began: float | None = None
        """When the epoch in progress began; None where that was not seen."""
        self._end: tuple[float, float] | None = None
        """When the end began, and the time of its last line."""
        self._baselines: tuple[float, float, float] | None = None
        """When the baselines began, their share that is done, and when that was said."""
        self._paused: float | None = None
        """When it began to stand still."""
        self._warming = False
        """Whether the next line of a step is a process's first: its libraries warm up, and it says nothing of the pace."""

    def hear(self, line: Mapping[str, Any]) -> None:
        """One line of `progress.jsonl`."""
        event, now = line.get("event"), float(line.get("time") or 0.0)
        if event == "start":
            rows = line.get("rows") or {}
            self._epochs = [*(line.get("epochs") or ()), 0, 0][:2]
            self._most = int(line.get("max_epochs") or 0)
            self._steps = int(line.get("steps_per_epoch") or 0)
            self._shares = float(rows.get("validation") or 0) / max(float(rows.get("train") or 0), 1.0)
        elif event == "phase" and "ended" not in line:
            self._phase, self._done, self._epoch, self._step = int(line["phase"]), 0, int(line.get("epoch") or 1), 0
            self._before, self._began = (now, 0), now
            self._warming |= not self._pace
        elif event == "step":
            self._took(int(line.get("phase") or 1), int(line.get("step") or 0), now)
        elif event == "epoch":
            self._ended(line, now)
        elif event == "resumed":  # the time since the line before was not spent on steps
            self._phase, self._epoch = int(line.get("phase") or 1), int(line.get("epoch") or 1)
            self._step = int(line.get("step") or 0)
            self._before, self._began = (now, self._step), None
            self._end, self._warming = (now, now) if self._phase > 2 else None, True
            self._baselines = None
        elif event == "paused":
            self._paused = now
        elif event == "continued" and self._paused is not None:
            self._skip(max(now - self._paused, 0.0))
        elif event == "ending":
            self._end, self._baselines = (now if self._end is None else self._end[0], now), None
        elif event == "baselines":
            began = now if self._baselines is None else self._baselines[0]
            self._baselines = (began, float(line.get("share") or 0.0), now)

    def _skip(self, seconds: float) -> None:
        """So long it stood still: nothing began as early as it seems."""
        self._paused = None
        self._began = None if self._began is None else self._began + seconds
        self._before = None if self._before is None else (self._before[0] + seconds, self._before[1])
        self._end = None if self._end is None else (self._end[0] + seconds, self._end[1] + seconds)
        b = self._baselines
        self._baselines = None if b is None else (b[0] + seconds, b[1], b[2] + seconds)

    def _took(self, phase: int, step: int, now: float) -> None:
        if self._warming:
            self._warming = False
        elif self._before is not None and step > self._before[1] and now >= self._before[0]:
            taken = step - self._before[1]
            kept = 0.5 ** (taken / max(RECENT * self._steps, 1.0))
            guess = self.pace(phase)
            begin = (0.0, 0.0) if guess is None else (guess * GUESS * self._steps, GUESS * self._steps)
            seconds, steps = self._pace.get(phase, begin)
            self._pace[phase] = (seconds * kept + now - self._before[0], steps * kept + taken)
        self._before, self._step, self._phase = (now, step), step, phase

    def _ended(self, line: Mapping[str, Any], now: float) -> None:
        phase, seconds = int(line.get("phase") or 1), line.get("seconds")
        if seconds is not None and self._began is not None:
            self._asides.append(max(now - self._began - float(seconds), 0.0))
            if self._before is not None and self._steps > self._before[1]:  # the steps since the last line of one
                spent = min(max(float(seconds) - (self._before[0] - self._began), 0.0), now - self._before[0])
                self._took(phase, self._steps, self._before[0] + spent)
        self._phase, self._epoch, self._step = phase, int(line.get("epoch") or 0) + 1, 0
        self._done += 1
        self._before, self._began = (now, 0), now

    def pace(self, phase: int) -> float | None:
        """Seconds a step of a phase takes; of one that was not seen, from the other."""
        if (known := self._pace.get(phase)) is not None and known[1] > 0:
            return known[0] / known[1]
        other = self._pace.get(3 - phase)
        if other is None or other[1] <= 0:
            return None
        return other[0] / other[1] * (PHASE_2 if phase == 2 else 1 / PHASE_2)

    def aside(self) -> float | None:
        """Seconds of an epoch beside its steps."""
        if self._asides:
            return statistics.median(self._asides[-5:])
        pace = self.pace(1)
        return None if pace is None else ASIDE * pace * self._steps * self._shares

    def seconds(self) -> float | None:
        """Seconds to the end of the planned epochs and of what follows; None before the first step."""
        aside = self.aside()
        if aside is None:
            return None
        if self._baselines is not None:
            began, share, now = self._baselines
            return None if share <= 0 else (now - began) * (1 - share) / share + END * aside
        if self._end is not None:
            return max(END * aside - (self._end[1] - self._end[0]), 0.0)
        left = max(self._most - self._epoch + 1, 0) if self._most else math.inf
        here = min(max(self._epochs[min(self._phase, 2) - 1] - self._done, 0), left)
        later = min(self._epochs[1] if self._phase == 1 else 0, left - here)
        one, two = self.pace(self._phase), self.pace(2)
        if one is None or two is None:
            return None
        steps = max(here * self._steps - self._step, 0)
        return float(one * steps + two * later * self._steps + aside * (here + later) + END * aside)
