"""What the drills share: a case's outcome, the report, the command line."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ple_model.cli import main

GOOD = ("accepted", "refused", "right")


@dataclass(frozen=True)
class Outcome:
    """What one case came to: `accepted`, `refused` (one sentence, exit 2), `right`, else what is wrong with it."""

    case: str
    result: str
    said: str = ""


@dataclass
class Report:
    """Counts by result, and every case that is not good."""

    name: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    aloud: bool = field(default_factory=lambda: sys.stderr.isatty() or bool(os.environ.get("DRILL_ALOUD")))

    def add(self, outcomes: Iterable[Outcome]) -> Report:
        began = time.monotonic()
        for one in outcomes:
            self.counts[one.result] += 1
            if self.aloud:
                print(f"{one.result:<12} {one.case}: {one.said[:200]}", file=sys.stderr, flush=True)
            if one.result not in GOOD:
                self.bad.append(one)
        self.seconds += time.monotonic() - began
        return self

    def to_dict(self) -> dict[str, Any]:
        return {
            "drill": self.name, "seed": self.seed, "cases": self.counts.total(), "counts": dict(self.counts),
            "seconds": round(self.seconds, 1), "bad": [vars(b) for b in self.bad],
        }  # fmt: skip

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
        lines = [f"{self.name}: {self.counts.total()} cases in {self.seconds:.0f} s: {counts}"]
        return "\n".join([*lines, *(f"  {b.result}: {b.case}: {b.said}" for b in self.bad)])


class Hang(BaseException):
    """A case took longer than it may."""


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def command(words: Sequence[str], *, must_refuse: bool, seconds: int = 120) -> Outcome:
    """Run `ple words` in this process and judge it: exit 2 with one line on stderr and nothing on stdout, or exit 0 or 1."""
    case = " ".join(w if len(w) < 60 else f"{w[:40]}...({len(w)})" for w in words).encode("unicode_escape").decode()
    out, err = io.StringIO(), io.StringIO()
    try:
        with within(seconds), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except Hang:
        return Outcome(case, "hang", f"more than {seconds} s")
    except SystemExit as e:
        return Outcome(case, "exit", str(e.code))
    except BaseException as e:  # a drill reports what a person would have seen as a traceback
        return Outcome(case, "traceback", f"{type(e).__name__}: {str(e)[:200]}")
    lines = err.getvalue().strip().splitlines()
    if code != 2:
        return Outcome(case, "taken though wrong" if must_refuse else "accepted", f"exit {code}")
    if len(lines) != 1 or out.getvalue():
        return Outcome(case, "not one sentence", err.getvalue()[:300])
    return Outcome(case, "refused", lines[0])


def run_as_script(name: str, drill: Callable[[int, int], Report], default: int) -> None:
    """`python -m tests.drills.NAME [--seed S] [--cases N] [--json]`; exit 1 if a case is not good."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.drills.{name}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    report = drill(given.seed, given.cases)
    print(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) if given.json else report)
    sys.exit(1 if report.bad else 0)
