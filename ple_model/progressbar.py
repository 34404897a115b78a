"""Training progress on a terminal: one line that is rewritten, or one line an epoch where the output is not a terminal.

Own and small on purpose: the events of progress.jsonl carry everything that is shown, so a library would only redraw them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from ple_model.numerals import clock, fixed
from ple_model.translation import training_sentence

WIDTH = 24
FULL, EMPTY = "█", "░"


class ProgressBar:
    """A `progress` callback of `train`. Writes to `stream` (stderr by default), never to stdout, in `language`."""

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None, language: str = "en") -> None:
        self._stream = stream or sys.stderr
        self._language = language
        self._live = self._stream.isatty() if live is None else live
        self._planned = 0
        self._open = False

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start" and "objective" in event:
            self._planned = event["max_epochs"]
            rows, what = event["rows"]["train"], f"{event['sequence']}, {event['objective']}"
            self._line(f"pre-training {event['parameters']:,} parameters on {rows:,} series ({what})")
        elif kind == "start":
            self._planned = sum(event["epochs"])
            rows = event["rows"]["train"]
            self._line(f"training {event['parameters']:,} parameters on {rows:,} rows ({event['device']}, {event['amp']})")
        elif kind == "step" and self._live:
            done = event["step"] / max(1, event["steps"])
            bar = FULL * round(done * WIDTH) + EMPTY * (WIDTH - round(done * WIDTH))
            rate, left = f"{event['samples_per_s']:,.0f}/s", _left(event["eta_s"])
            self._rewrite(f"epoch {event['epoch']}/{self._planned or '?'} {bar} loss {_loss(event['total'])} {rate} {left}")
        elif kind == "epoch" and "validation" in event:
            mark = " *" if event["best"] else ""
            self._line(
                f"epoch {event['epoch']:>3} loss {_loss(event['loss'])} validation {_loss(event['validation'])} "
                f"{event['samples_per_s']:,.0f}/s {_left(event['eta_s'])}{mark}"
            )
        elif kind == "epoch":
            mark = " *" if event["best"] else ""
            valid = _loss(event["valid"]["mean_ratio"])
            self._line(
                f"epoch {event['epoch']:>3} phase {event['phase']} train {_loss(event['train']['total'])} "
                f"valid {valid} of the constant predictor {event['samples_per_s']:,.0f}/s {_left(event['eta_s'])}{mark}"
            )
        elif kind == "freeze":
            self._line(f"epoch {event['epoch']:>3} frozen: {', '.join(event['what'])}")
        elif kind == "warning":
            self._line(f"warning: {event['text']}")
        elif kind == "fit":
            text = f"fitting the linear map {event['share']:.0%}: {event['what']}"
            if self._live and event["share"] < 1:
                self._rewrite(text)
            elif event["share"] in (0, 1):
                self._line(text)
        elif kind == "encoder":
            self._line(event["text"])
        elif kind == "teacher":
            text = f"asking the teacher {event['share']:.0%}"
            if self._live and event["share"] < 1:
                self._rewrite(text)
            elif event["share"] == 1:
                self._line(text)
        elif kind == "baselines":
            text = f"baselines {event['share']:.0%}: {event['what']}"
            if self._live:
                self._rewrite(text)
            elif event["what"].endswith(" done"):
                self._line(text)
        elif kind == "finished" and event.get("blend"):
            self._line(_blends(event["blend"]))
        elif kind == "paused":
            self._line(f"paused in epoch {event['epoch']} at step {event['step']}; remove state/pause of the run to go on")
        elif kind == "continued":
            self._line("going on")
        elif kind == "resumed":
            self._line(f"resumed in epoch {event['epoch']} at step {event['step']}")

    def close(self) -> None:
        if self._open:
            self._stream.write("\n")
            self._open = False
            self._stream.flush()

    def _rewrite(self, text: str) -> None:
        text = training_sentence(text, self._language)
        self._stream.write("\r" + text[: shutil.get_terminal_size().columns - 1] + "\x1b[K")
        self._stream.flush()
        self._open = True

    def _line(self, text: str) -> None:
        text = training_sentence(text.rstrip(), self._language)
        self._stream.write(("\r\x1b[K" if self._open else "") + text + "\n")
        self._open = False
        self._stream.flush()


def _loss(value: float | None) -> str:
    return fixed(value, 4, "not finite")


def _blends(found: Mapping[str, float]) -> str:
    """What each task takes of what the network adds to its fitted map, most first."""
    most = sorted(found.items(), key=lambda item: -item[1])
    taking = ", ".join(f"{task} {share:.1f}" for task, share in most if share > 0)
    nothing = ", ".join(task for task, share in most if share == 0)
    if not taking:
        return "of what the network adds to the fitted linear map (of brands: to popularity) no task takes anything"
    text = f"of what the network adds to the fitted linear map (of brands: to popularity), tasks take: {taking}"
    return f"{text}; and nothing: {nothing}" if nothing else text


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{clock(seconds)} left"
