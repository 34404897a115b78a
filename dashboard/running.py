"""One piece of work that runs beside the pages: a measurement in a thread, a map, baselines or a question in a process."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis import Diagnosis, diagnose
from analysis.diagnose import read_back
from analysis.fingerprint import Why
from analysis.results.carried import CarriedReasons
from dashboard import state
from dashboard.model_lock import model_lock
from ple_model.errors import UserError


class MeasurementStopped(Exception):
    """The reader stopped a measurement."""


@dataclass
class Measuring:
    """One measurement of a run in a thread of its own, so that its progress shows and it can be stopped from any tab.

    A thread cannot see the session, so pages poll this record.
    """

    path: Path
    data: Path | None = None
    """The dataset whose customers it measures; None: the run's own sample."""
    share: float = 0.0
    what: str = ""
    stop: bool = False
    error: str | None = None
    result: Diagnosis | None = None
    why: Why | None = None
    """Why it measures, as soon as it is known."""
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def note(self, share: float, what: str) -> None:
        self.share, self.what = share, what
        if self.stop:
            raise MeasurementStopped

    def hear(self, why: Why) -> None:
        self.why = why

    def work(self) -> None:
        try:
            self.result = read_back(state.run(self.path), self.data)
            if self.result is not None:
                self.hear("reused")
                return
            with model_lock(self.path):
                self.result = diagnose(state.run(self.path), self.data, progress=self.note, tell=self.hear)
        except MeasurementStopped:
            self.error = ""
        except UserError as e:
            self.error = str(e)
        except Exception as e:  # a fault of ours must be shown, not swallowed by a thread
            self.error = f"{type(e).__name__}: {e}"
            raise


@dataclass
class InProcess:
    """Work of a process of its own, so that it can be stopped."""

    process: subprocess.Popen[str]
    error: str = ""
    stopped: bool = False

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """Stop it (a callback)."""
        self.stopped = True
        self.process.terminate()


@dataclass
class Drawing(InProcess):
    """One map of the experts' outputs."""

    stage: str = ""

    def follow(self) -> None:
        """Read the stages until the process ends (in a thread)."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.stage = line.strip() or self.stage
        said = self.process.stderr.read() if self.process.stderr is not None else ""
        if self.process.wait() and not self.stopped:
            self.error = said.strip().splitlines()[-1] if said.strip() else f"the map ended with {self.process.returncode}"


@dataclass(frozen=True)
class CarriedWanted:
    """Whose reasons are counted, by everything that they follow from."""

    run: Path
    data: Path | None
    analysis: Path
    task: str
    target: int | None
    cohort: str
    """As it travels in a link."""
    drawn: int
    mark: str
    """Of the files of the run, the dataset and the measurement."""

    @property
    def words(self) -> list[str]:
        """Of the process that counts."""
        data, target = ("" if x is None else str(x) for x in (self.data, self.target))
        return [str(self.run), data, str(self.analysis), self.task, target, self.cohort, str(self.drawn)]


@dataclass
class CarriedCounting(InProcess):
    """The reasons of a draw of customers, one explained after the other."""

    done: int = 0
    total: int = 0
    result: CarriedReasons | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def follow(self) -> None:
        """Read how far it is, and the answer, until the process ends (in a thread)."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := COUNTED.fullmatch(line.strip()):
                self.done, self.total = int(found[1]), int(found[2])
                continue
            with suppress(ValueError, KeyError, TypeError):
                self.result = CarriedReasons.from_dict(json.loads(line))
        said = self.process.stderr.read() if self.process.stderr is not None else ""
        if (self.process.wait() or self.result is None) and not self.stopped:
            self.error = said.strip().splitlines()[-1] if said.strip() else f"it ended with {self.process.returncode}"


COUNTED = re.compile(r"(\d+)/(\d+)")
"""A line of `analysis.explain.carried`."""


@dataclass(frozen=True)
class Wanted:
    """What of an encoder is worked out for whose customers."""

    encoder: Path
    run: Path
    data: Path | None = None
    """None: the run's own sample."""


@dataclass
class Fitting(InProcess):
    """The baselines of a run's dataset, or of its stored customers."""

    share: float = 0.0
    what: str = ""
    said: str = ""
    """The last line that is no progress: a fault, or where it is kept."""

    def follow(self) -> None:
        """Read the progress until the process ends (in a thread)."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := PROGRESS.match(line):
                self.share, self.what = int(found[1]) / 100, found[2]
            elif line.strip():
                self.said = line.strip()
        if self.process.wait() and not self.stopped:
            self.error = self.said or f"the baselines ended with {self.process.returncode}"


PROGRESS = re.compile(r"\s*(\d+)% (.+)")
"""A line of `ple baselines`."""


@dataclass
class Asking(InProcess):
    """What a command of `ple` says as JSON."""

    result: dict[str, Any] | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def follow(self) -> None:
        """Wait for its answer (in a thread). A command that found a problem (1) has said it in its answer."""
        out, said = self.process.communicate()
        try:
            found = json.loads(out) if self.process.returncode in (0, 1) else None
        except ValueError:
            found = None
        if isinstance(found, dict):
            self.result = found
        elif not self.stopped:
            self.error = said.strip().splitlines()[-1] if said.strip() else f"it ended with {self.process.returncode}"
