"""`ple bench head`: gates, basket, transfer, towers and evidential heads, stacked against task by task."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Row, Settings, Target, agree, interleave
from ple_model.bench.plain import PlainModel, results
from ple_model.bench.registry import Benchmark
from ple_model.config import Config, load_config
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded

BATCHES = (256, 512, 1024, 2048, 4096)
TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3


def pair(config: Config) -> tuple[PLEClusterAdaTT, PlainModel]:
    """The model and its plain form with the same weights, off their start so that no zero hides a difference."""
    ours, plain = PLEClusterAdaTT(config, context()), PlainModel(config, context())
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in ours.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=g))
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def encoded(model: PLEClusterAdaTT, n: int, seed: int) -> Encoded:
    """`n` encoded customers, some of them more than once."""
    with torch.no_grad():
        some = model.encode(customers(min(n, 64), seed))
    return some.rows(torch.arange(n) % len(some))


def step(model: PLEClusterAdaTT, at: Encoded) -> dict[str, Tensor]:
    """Everything that the heads say, and the gradients of its sum; the SAE is left out, it is the same in both forms."""
    at.shared_concat.requires_grad_()
    model.zero_grad(set_to_none=True)
    at.shared_concat.grad = None
    output = model.decode(at, sae=False)
    evidence = sum((e.uncertainty.sum() for e in output.evidential.values()), torch.zeros(()))
    (sum((z.square().sum() for z in output.logits.values()), evidence) / len(at)).backward()  # type: ignore[no-untyped-call]
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert at.shared_concat.grad is not None
    return {**results(output), "gradient of shared": at.shared_concat.grad, **{f"gradient of {n}": v for n, v in found.items()}}


def check(ours: PLEClusterAdaTT, plain: PlainModel, at: Encoded) -> float:
    """Largest difference of results (gradients have a bound of their own); `Disagreement` if it is too large."""
    a, b = step(ours.eval(), at), step(plain.eval(), at)
    forward = [k for k in a if not k.startswith("gradient")]
    agree("head", {k: v for k, v in a.items() if k not in forward}, {k: v for k, v in b.items() if k not in forward},
          GRADIENT_TOLERANCE)  # fmt: skip
    return agree("head", {k: a[k] for k in forward}, {k: b[k] for k in forward}, TOLERANCE)


def run(settings: Settings) -> list[Row]:
    ours, plain = pair(load_config("small" if settings.quick else "v3_14"))
    difference = check(ours, plain, encoded(ours, 32, settings.seed))
    ours.train()
    plain.train()
    rows = []
    for batch in (16, 32) if settings.quick else BATCHES:
        at = encoded(ours, batch, settings.seed)
        times = interleave({"ours": partial(step, ours, at), "plain": partial(step, plain, at)}, settings.rounds)
        rows.append(times.speedup("head", f"batch {batch}, forward + backward", target=Target(1.6), difference=difference))
    return rows


BENCHMARKS = (Benchmark("head", "gates to towers: all tasks at once against task by task", run),)
