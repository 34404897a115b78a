"""`ple bench sharing`: when one encoder for both heads wins, and when two that are tied.

Planted series of six weeks with a weekly wave of own phase and height. The forecast is the next week; the class is either
told by what the forecast needs too (*alike*: which day the wave peaks) or by what only disturbs it (*unlike*: on which day
of the week single outliers fall, which say nothing of the next week). All training rows have a future, and all or one in ten
a class. Each way of sharing is trained for the same number of steps; what is judged is the forecast's error and the class's
accuracy on new series.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ple_model.bench.measure import Row, Settings
from ple_model.bench.registry import Benchmark
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.joint import JointLabels, JointModel
from ple_model.sequences.series import Series

WEEK, WEEKS = 7, 6
TRAIN, TEST, BATCH, STEPS = 600, 600, 64, 250
CASES = ("alike", "unlike")
SHARES = (1.0, 0.1)
WAYS = {"hard": ("hard", 0.0), "soft, tie 0.01": ("soft", 0.01), "apart": ("soft", 0.0)}
"""Sharing and the weight of the tie; without one the encoders never hear of each other."""


@dataclass(frozen=True)
class PlantedRows:
    """series [n, 42, 1], the week after it [n, 7, 1], class [n] in 0..6."""

    series: Series
    future: torch.Tensor
    classes: torch.Tensor


def planted_rows(n: int, case: str, seed: int) -> PlantedRows:
    rng = np.random.default_rng(seed)
    phase, height = rng.integers(0, WEEK, n), 1 + rng.random(n)
    days = np.arange(WEEK * (WEEKS + 1))
    x = height[:, None] * np.cos(2 * np.pi * (days[None] - phase[:, None]) / WEEK) + 0.3 * rng.standard_normal((n, len(days)))
    odd = rng.integers(0, WEEK, n)
    for i in range(n):  # two weeks with an outlier on the same day of the week
        for week in rng.permutation(WEEKS)[:2]:
            x[i, WEEK * week + odd[i]] += 6.0
    whole = torch.from_numpy(x).float()[..., None]
    classes = torch.from_numpy(phase if case == "alike" else odd).long()
    return PlantedRows(Series.whole(whole[:, : WEEK * WEEKS]), whole[:, WEEK * WEEKS :], classes)


def _encoder() -> SequenceEncoder:
    return SequenceEncoder(EncoderConfig(patch=WEEK, stride=WEEK, width=16, layers=1, heads=2), 1, WEEK * WEEKS)


def outcome(way: str, case: str, share: float, settings: Settings, seed: int) -> tuple[float, float]:
    """(mean squared error of the forecast, accuracy of the class) on new series."""
    train, test = (planted_rows(settings.pick(n, 96), case, seed + k) for k, n in ((0, TRAIN), (1000, TEST)))
    classes = train.classes.clone()
    classes[torch.from_numpy(np.random.default_rng(seed).permutation(len(classes)) >= share * len(classes))] = -1
    sharing, tie = WAYS[way]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        constant = {"forecast": float(train.future.var()), "classify": float(np.log(WEEK))}
        model = JointModel(_encoder, WEEK, WEEK, sharing=sharing, tie=tie, constant=constant)  # type: ignore[arg-type]
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        for _ in range(settings.pick(STEPS, 3)):
            at = torch.randint(0, len(classes), (BATCH,))
            future = train.future[at]
            labels = JointLabels(future, torch.ones(future.shape[:2], dtype=torch.bool), classes[at])
            optimizer.zero_grad(set_to_none=True)
            model.losses(train.series.rows(at), labels).total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            model.weighting.project_()
    with torch.no_grad():
        forecast, scores = model.eval()(test.series)
    return float((forecast - test.future).square().mean()), float((scores.argmax(dim=1) == test.classes).double().mean())


def run(settings: Settings) -> list[Row]:
    return [
        row
        for case in CASES
        for share in SHARES
        if settings.wants(f"{case} {share:.0%}")
        for row in _case(case, share, settings)
    ]


def _case(case: str, share: float, settings: Settings) -> Iterator[Row]:
    seeds = [settings.seed + k for k in range(settings.pick(settings.seeds, 1))]
    for way in WAYS:
        found = [outcome(way, case, share, settings, seed) for seed in seeds]
        for name, unit, values in (("forecast", "MSE", [f for f, _ in found]), ("class", "accuracy", [a for _, a in found])):
            measure = f"{case} {share:.0%} with a class: {way}, {name} {unit}"
            yield Row("sharing", measure, statistics.fmean(values), unit=unit, low=min(values), high=max(values))


BENCHMARKS = (Benchmark("sharing", "one encoder for forecast and class, or two that are tied", run, proof=True),)
