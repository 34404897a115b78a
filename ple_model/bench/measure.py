"""What a benchmark measures and how: interleaved rounds, medians, and the check that two forms agree before they are timed."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MIN_ROUNDS = 5


@dataclass(frozen=True)
class Settings:
    """How a benchmark runs. `quick`: sizes that take seconds and say little about speed."""

    quick: bool = False
    rounds: int = MIN_ROUNDS
    seed: int = 0
    seeds: int = 3
    """Of a proof: trainings or draws of labels, each from a seed of its own."""
    only: str = ""
    """Of a proof: what is measured of it, by the first words of a measure; empty: all."""
    bank: Path | None = None
    """Of a proof: the folder that keeps a synthetic bank and its encoder; None: made for this run."""
    customers: int | None = None
    """How many; None: as many as the benchmark takes by itself."""
    sizes: tuple[int, ...] = ()
    """Of `scale`: how many customers, from the fewest on; empty: as the benchmark takes by itself."""
    workers: int = 1
    """Of `scale`: processes at a time."""
    run: Path | None = None
    """Of `reasons`: a run, and the events folder of the synthetic bank that it was trained on. Of `single`: a run."""
    events: Path | None = None
    data: Path | None = None
    """Of `single`: the dataset that the run was trained on; None: where the run says."""
    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """Of `reasons` and `single`: only these; empty: all."""
    tested: int = 0
    """Of `reasons`: customers a task whom every method's faithfulness is measured on."""

    def pick(self, full: int, quick: int) -> int:
        """The size for this run."""
        return quick if self.quick else full

    def wants(self, measure: str) -> bool:
        """Whether a proof's measure of this name was asked for."""
        return measure.casefold().startswith(self.only.casefold())


@dataclass(frozen=True)
class Target:
    """A bound on a row's `value`."""

    bound: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


@dataclass(frozen=True)
class Row:
    """One measured line. `value` is what the target bounds: a ratio where there is a reference, else the measurement."""

    bench: str
    measure: str
    value: float
    target: Target | None = None
    ours: float | None = None
    reference: float | None = None
    unit: str = "ms"
    low: float | None = None
    high: float | None = None
    """Smallest and largest ratio of any round."""
    difference: float | None = None
    """Largest difference of the two forms' results, relative to the largest value."""
    source: str = ""
    """Where a figure that was not measured here stands."""
    detail: Mapping[str, float] = field(default_factory=dict)
    """What else was measured of the same, by name."""

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self.value)

    def to_dict(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "measure": self.measure,
            "ours": self.ours,
            "reference": self.reference,
            "unit": self.unit,
            "ratio": self.value,
            "low": self.low,
            "high": self.high,
            "target": None if self.target is None else str(self.target),
            "met": self.met,
            "difference": self.difference,
            "source": self.source,
            "detail": dict(self.detail),
        }


class Disagreement(AssertionError):
    """The fast form and the plain form gave different results: their times must not be compared."""


def agree(what: str, ours: Mapping[str, Tensor], plain: Mapping[str, Tensor], tolerance: float) -> float:
    """The largest difference relative to the largest absolute value, over tensors of one name; `Disagreement` beyond
    `tolerance` or where names, shapes or finiteness differ."""
    if ours.keys() != plain.keys():
        raise Disagreement(f"{what}: one form gives {sorted(ours)}, the other {sorted(plain)}")
    worst = 0.0
    for name, a in ours.items():
        b = plain[name]
        if a.shape != b.shape:
            raise Disagreement(f"{what}: '{name}' has shape {tuple(a.shape)} in one form, {tuple(b.shape)} in the other")
        x, y = a.detach().double(), b.detach().double()
        if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise Disagreement(f"{what}: '{name}' is not finite")
        error = float((x - y).abs().max() / y.abs().max().clamp_min(1e-12)) if y.numel() else 0.0
        if error > tolerance:
            raise Disagreement(f"{what}: '{name}' differs by {error:.1e}, allowed is {tolerance:.1e}")
        worst = max(worst, error)
    return worst


@dataclass(frozen=True)
class Timing:
    """Milliseconds of each round by form, in the order in which the rounds ran."""

    rounds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratios(self, over: str, under: str) -> tuple[float, ...]:
        """`over` / `under` round by round: what slows the whole machine for a while slows both."""
        return tuple(a / b for a, b in zip(self.rounds[over], self.rounds[under], strict=True))

    def speedup(
        self, bench: str, measure: str, reference: str = "plain", *, target: Target | None = None, difference: float
    ) -> Row:
        """How many times faster "ours" is than `reference`."""
        ratios = self.ratios(reference, "ours")
        return Row(
            bench, measure, statistics.median(ratios), target, self.median("ours"), self.median(reference), "ms", min(ratios),
            max(ratios), difference,
        )  # fmt: skip


def interleave(forms: Mapping[str, Callable[[], object]], rounds: int) -> Timing:
    """Each form once to warm up, then `rounds` rounds (at least 5) of every form in turn, the order reversed each time."""
    names = list(forms)
    for name in names:
        forms[name]()
    found: dict[str, list[float]] = {n: [] for n in names}
    gc.collect()
    gc.disable()
    try:
        for i in range(max(rounds, MIN_ROUNDS)):
            for name in names if i % 2 == 0 else names[::-1]:
                began = time.perf_counter()
                forms[name]()
                found[name].append(1000 * (time.perf_counter() - began))
    finally:
        gc.enable()
    return Timing({n: tuple(v) for n, v in found.items()})


def peak_mb_of(process: int | str) -> float | None:
    """Peak resident memory of a process so far, MB, by Linux's own mark; None where there is no such process, or no Linux."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return float(lines["VmHWM"].split()[0]) / 1024 if "VmHWM" in lines else None  # one that has ended has none


def own_peak_mb() -> float:
    """Peak resident memory of this process, MB. Linux's own mark where there is one: `getrusage` starts from the memory of the
    process that started this one."""
    found = peak_mb_of("self")
    if found is not None:
        return found
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
