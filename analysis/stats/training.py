"""Training as the run folder's progress.jsonl tells it: one record an epoch, plus the events between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats.base import Array, Statistic


@dataclass(frozen=True, eq=False)
class TrainingStats(Statistic):
    """`epochs`: the epoch lines as written; `events`: freeze, phase, warning, ... lines. Concatenates."""

    epochs: tuple[dict[str, Any], ...]
    events: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def epoch(self) -> Array:
        return np.array([float(e["epoch"]) for e in self.epochs])

    def series(self, *path: str) -> Array:
        """[E] a number by nested keys, for example ("train", "total"); NaN where an epoch lacks it."""
        return np.array([_number(_dig(e, path)) for e in self.epochs], dtype=np.float64)

    def table(self, *path: str) -> dict[str, Array]:
        """name -> [E] of a nested mapping, for example ("grad_norm",) or ("train", "tasks")."""
        names = dict.fromkeys(k for e in self.epochs for k in _mapping(_dig(e, path)))
        return {n: self.series(*path, n) for n in names}

    def gates(self, task: str) -> Array:
        """[E, N] mean gate weight per expert by epoch; empty where it was not logged."""
        rows = [_mapping(e.get("gates")).get(task) for e in self.epochs]
        width = max((len(r) for r in rows if r), default=0)
        return np.array([r if r else [np.nan] * width for r in rows], dtype=np.float64).reshape(len(rows), width)

    def frozen(self, what: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """[E] bool: were `gates` or `shared` frozen during this epoch?"""
        return np.array([bool(_mapping(e.get("frozen")).get(what, False)) for e in self.epochs], dtype=bool)

    def phase(self) -> Array:
        return self.series("phase")

    def event(self, name: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e.get("event") == name]

    def last(self) -> dict[str, Any]:
        return self.epochs[-1] if self.epochs else {}


def measure(lines: Sequence[Mapping[str, Any]]) -> TrainingStats:
    """From the parsed lines of progress.jsonl; a resumed run's repeated epoch keeps its last record."""
    epochs = [dict(e) for e in lines if e.get("event") == "epoch"]
    latest = {e["epoch"]: i for i, e in enumerate(epochs)}
    kept = tuple(e for i, e in enumerate(epochs) if latest[e["epoch"]] == i)
    events = tuple(dict(e) for e in lines if e.get("event") not in ("epoch", "step"))
    return TrainingStats(epochs=kept, events=events)


def kept_blends(stats: TrainingStats) -> dict[str, float]:
    """By task the share that the kept weights take of what is added to its fitted map: as the training said at its end, before
    that of the best epoch so far; empty where the training did not choose."""
    lines = stats.event("finished")[-1:] or [e for e in stats.epochs if e.get("best")][-1:]
    found = _mapping(lines[0].get("blend")) if lines else {}
    return {task: float(v) for task, v in found.items() if isinstance(v, (int, float))}


def _dig(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number(value: Any) -> float:
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        return float(value)  # strict JSON has no NaN: a writer may spell it as text
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
