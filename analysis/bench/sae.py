"""`ple bench sae`: what the latents of the autoencoder mean, for all latents in one pass and in a loop over the latents.

Both forms give each latent's most raised features, its share of the explained variance, and its lift by segment. The loop is
timed over some of the latents and scaled to all, which its cost is proportional to.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.engine.concepts import TOP_LEAST, TOP_SHARE, raised_differences, silenced
from ple_model.bench.measure import Row, Settings, Target, agree
from ple_model.bench.registry import Benchmark

LATENTS, WIDTH, FEATURES = 2304, 576, 734


@dataclass(frozen=True)
class SaeCase:
    """Activations z [N, Z], decoder w [W, Z], residual [N, W], features [N, F]."""

    z: Tensor
    decoder: Tensor
    residual: Tensor
    features: Tensor

    @staticmethod
    def make(rows: int, latents: int, seed: int) -> SaeCase:
        g = torch.Generator().manual_seed(seed)
        z = torch.randn(rows, latents, generator=g)
        z = torch.where(z > 1.5, z, 0.0)  # about 7 % of rows active
        w = torch.nn.functional.normalize(torch.randn(WIDTH, latents, generator=g), dim=0)
        return SaeCase(z, w, torch.randn(rows, WIDTH, generator=g), torch.randn(rows, FEATURES, generator=g).double())


def one_pass(c: SaeCase) -> dict[str, Tensor]:
    difference, _, _, _ = raised_differences(c.features, c.z)
    return {"difference": difference, "silenced": silenced(c.decoder, c.z, c.residual.double())}


def loop(c: SaeCase, latents: range, top_share: float, top_least: int) -> dict[str, Tensor]:
    """The same, a latent at a time."""
    spread, mean = c.features.std(0), c.features.mean(0)
    n = len(c.z)
    k = min(max(top_least, round(top_share * n)), n)
    differences, grown = [], []
    base = (c.residual.double() ** 2).sum(1).mean()
    for j in latents:
        z = c.z[:, j]
        top = torch.zeros(n, dtype=torch.bool)
        top[z.topk(k).indices] = True
        top &= z > 0
        x = (c.features - mean) / spread
        differences.append(x[top].mean(0) - x[~top].mean(0))
        without = c.residual.double() + z.double()[:, None] * c.decoder[:, j].double()
        grown.append((without**2).sum(1).mean() - base)
    return {"difference": torch.stack(differences), "silenced": torch.stack(grown)}


def run(settings: Settings) -> list[Row]:
    rows, latents = settings.pick(4096, 512), settings.pick(LATENTS, 128)
    timed = range(settings.pick(96, 8))
    case = SaeCase.make(rows, latents, settings.seed)
    plain = loop(case, timed, TOP_SHARE, TOP_LEAST)
    difference = agree("sae", {k: v[: len(timed)] for k, v in one_pass(case).items()}, plain, 1e-6)
    ours: list[float] = []
    theirs: list[float] = []
    cpu: list[float] = []
    for i in range(settings.rounds):
        for first in (True, False) if i % 2 == 0 else (False, True):
            start, before = time.perf_counter(), time.process_time()
            if first:
                one_pass(case)
                cpu.append(time.process_time() - before)
                ours.append(1000 * (time.perf_counter() - start))
            else:
                loop(case, timed, TOP_SHARE, TOP_LEAST)
                theirs.append(1000 * (time.perf_counter() - start) * latents / len(timed))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    label = f"loop / one pass, {latents} latents, {rows} rows (loop scaled from {len(timed)})"
    middle, used = statistics.median(ours), statistics.median(cpu)
    ratio, slow = statistics.median(ratios), statistics.median(theirs)
    return [
        Row("sae", label, ratio, Target(20), middle, slow, "ms", min(ratios), max(ratios), difference),
        Row("sae", "CPU seconds of the pass", used, Target(5, at_least=False), used, unit="s"),
    ]


BENCHMARKS = (Benchmark("sae", "what all latents mean: one pass against a loop over the latents", run),)
