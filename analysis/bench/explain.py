"""`ple bench explain`: integrated gradients of one customer, as Captum does them through the whole model in 50 steps, against
ours from the cached experts on the path of the task alone. Untrained weights and random customers: speed does not depend on
them, and both forms must add up to the prediction's difference."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from analysis.bench.diagnose import make
from analysis.engine.explainer import Explainer, single
from analysis.engine.reference import Path as Between
from analysis.engine.score import Score
from ple_model.bench.measure import Disagreement, Row, Settings, Target
from ple_model.bench.registry import Benchmark

STEPS, NODES, TASK, GAP = 50, 12, "churn", 1e-3


def run(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        found, data = make(Path(folder), settings, settings.pick(512, 64))
        explainer = Explainer(found, found.model(), data, rows=settings.pick(512, 64))
        inputs = single(data.take([0]).inputs)
        path = Between.of(inputs, explainer.reference)
        encoded = explainer.model.encode(inputs)
        score = Score(explainer.model, TASK, None, found.calibration.get(TASK))
        gaps = {
            "ours": explainer.of_experts(encoded, score, nodes=NODES)[1].gap,
            "Captum": explainer.of_inputs(path, score, nodes=STEPS, method="captum").gap,
        }
        if gaps["ours"] > GAP:
            raise Disagreement(f"explain: ours adds up to within {gaps['ours']:.1e} of the difference, allowed is {GAP:.0e}")
        ours: list[float] = []
        theirs: list[float] = []
        for i in range(settings.rounds):
            for first in (True, False) if i % 2 == 0 else (False, True):
                start = time.process_time()
                if first:
                    explainer.of_experts(encoded, score, nodes=NODES)
                else:
                    explainer.of_inputs(path, score, nodes=STEPS, method="captum")
                (ours if first else theirs).append(1000 * (time.process_time() - start))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    label = f"Captum IG-{STEPS}, whole model / ours from cached experts, CPU ms (gap {gaps['Captum']:.0e}, {gaps['ours']:.0e})"
    return [Row("explain", label, statistics.median(ratios), Target(100), statistics.median(ours), statistics.median(theirs),
                "ms", min(ratios), max(ratios))]  # fmt: skip


BENCHMARKS = (Benchmark("explain", "integrated gradients of one customer, Captum on the whole model against ours", run),)
