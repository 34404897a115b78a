"""`ple bench explain`: integrated gradients of one customer and of a hundred, as Captum does them through the whole model in 50
steps, against ours from the cached experts on the path of the task alone. Untrained weights and random customers: speed does
not depend on them, and both forms must add up to the prediction's difference."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from analysis.bench.diagnose import make
from analysis.engine.attribution import Attribution
from analysis.engine.explainer import Explainer, single
from analysis.engine.reference import Path as Between
from analysis.engine.score import Score
from ple_model.bench.measure import Disagreement, Row, Settings, Target
from ple_model.bench.registry import Benchmark

Explaining = Callable[[int], Attribution]
"""Of the customer with this number."""
STEPS, NODES, TASK, GAP = 50, 12, "churn", 1e-3
SETTLE = 0.1
"""Seconds before a measurement: OpenMP's threads spin on for milliseconds after the work of whoever came before."""
MANY = 100
"""Customers of the second line, each explained by itself, as a batch of reports does it."""


def run(settings: Settings) -> list[Row]:
    many = settings.pick(MANY, 2)
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        found, data = make(Path(folder), settings, settings.pick(512, 64))
        explainer = Explainer(found, found.model(), data, rows=settings.pick(512, 64))
        score = Score(explainer.model, TASK, None, found.calibration.get(TASK))
        asked = [single(data.take([i]).inputs) for i in range(many)]
        paths = [Between.of(inputs, explainer.reference) for inputs in asked]
        with torch.no_grad():
            encoded = [explainer.model.encode(inputs) for inputs in asked]

        def ours(i: int) -> Attribution:
            return explainer.of_experts(encoded[i], score, nodes=NODES)[1]

        def captum(i: int) -> Attribution:
            return explainer.of_inputs(paths[i], score, nodes=STEPS, method="captum")

        gaps = max(ours(i).gap for i in range(many)), captum(0).gap
        if gaps[0] > GAP:
            raise Disagreement(f"explain: ours adds up to within {gaps[0]:.1e} of the difference, allowed is {GAP:.0e}")
        one = [_side_by_side(ours, captum, 1, first=i % 2 == 0) for i in range(settings.rounds)]
        rest = [_side_by_side(ours, captum, many, first=True)]
    what = f"Captum IG-{STEPS}, whole model / ours from cached experts in one thread, CPU ms (gap {gaps[1]:.0e}, {gaps[0]:.0e})"
    return [_row(what, one, Target(100)), _row(f"{many} customers: {what}", rest, None)]


def _side_by_side(ours: Explaining, captum: Explaining, customers: int, *, first: bool) -> tuple[float, float]:
    """CPU ms of (ours, Captum) for so many customers; `first`: ours is measured first."""
    taken = {}
    for who in (ours, captum) if first else (captum, ours):
        time.sleep(SETTLE)
        start = time.process_time()
        for i in range(customers):
            who(i)
        taken[who] = 1000 * (time.process_time() - start)
    return taken[ours], taken[captum]


def _row(what: str, taken: list[tuple[float, float]], target: Target | None) -> Row:
    ratios = [theirs / own for own, theirs in taken]
    ours, captum = (statistics.median(t[i] for t in taken) for i in (0, 1))
    return Row("explain", what, statistics.median(ratios), target, ours, captum, "ms", min(ratios), max(ratios))


BENCHMARKS = (Benchmark("explain", "integrated gradients of one customer, Captum on the whole model against ours", run),)
