"""What a training measures of itself: sums over an epoch's steps, gradient norms by module, the pass over the validation split.

Sums stay on the device as one vector and are read once an epoch, so that measuring does not make the steps wait.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.calibration import fit_calibration
from ple_model.constants import ratios
from ple_model.context import ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision
from ple_model.finite import Tally, bad_inputs, bad_labels
from ple_model.gate import gate_entropy
from ple_model.losses import label_mask
from ple_model.model import PLEClusterAdaTT
from ple_model.output import LossBreakdown
from ple_model.row_loss import of_binary
from ple_model.training.ranks import ONE, Ranks

ONLOOKERS = {"sae": ("sae", "grad:sae"), "evidential": ("evidential", "evidential_kl", "grad:evidential")}
"""Onlooker -> the sums that are its own; they are means over the steps in which it was finite."""


@dataclass(frozen=True)
class EpochMeans:
    """An epoch's sums as the epoch line of progress.jsonl shows them."""

    rows: int
    nonfinite: int
    train: dict[str, Any]
    grad_norm: dict[str, float]
    hmm_grad: dict[str, float]


class EpochSums:
    """Named sums of the steps of an epoch; one float64 vector and its names in the checkpoint."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._values: Tensor | None = None
        self._last: Tensor | None = None

    def clear(self) -> None:
        self._names, self._values, self._last = [], None, None

    def add(
        self, losses: LossBreakdown, norms: Mapping[str, Tensor], rows: int, finite: bool, lost: Collection[str] = ()
    ) -> None:
        """Fold one step. One that was not finite counts as such and adds nothing else; nor does an onlooker in `lost`."""
        losses = losses.without(lost)
        norms = {k: torch.zeros_like(v) if k in lost else v for k, v in norms.items()}
        raw, n, weighted = (
            torch.stack([v.detach().double() for v in part.values()]) for part in (losses.raw, losses.counts, losses.weighted)
        )
        singles = {
            "total": losses.reported, "entropy": losses.entropy, "sae": losses.sae, "evidential": losses.evidential,
            "evidential_kl": losses.evidential_kl, **{f"aux:{k}": v for k, v in losses.aux.items()},
            **{f"taught:{k}": v for k, v in losses.taught.items()},
            **{f"grad:{k}": v for k, v in norms.items()},
        }  # fmt: skip
        step = torch.stack([v.detach().double() for v in singles.values()])
        values = torch.cat([raw * n, n, weighted, step])
        if not finite:
            values = torch.zeros_like(values)
        watching = [float(finite and name not in lost) for name in ONLOOKERS]
        tail = torch.tensor(
            [float(rows), float(finite), float(not finite), *watching], dtype=torch.float64, device=values.device
        )  # fmt: skip
        values = torch.cat([values, tail])
        by_task = [f"{kind}:{t}" for kind in ("loss", "n", "weighted") for t in losses.raw]
        names = [*by_task, *singles, "rows", "steps", "nonfinite", *(f"steps:{n}" for n in ONLOOKERS)]
        if self._values is not None:
            values = values + self._before(names, values)
        self._names, self._values = names, values
        self._last = losses.reported

    def _before(self, names: list[str], like: Tensor) -> Tensor:
        """The sums so far in the order of `names`; 0 for what an older release's checkpoint did not count."""
        assert self._values is not None
        if names == self._names:
            return self._values
        old = dict(zip(self._names, self._values.tolist(), strict=True))
        old |= {f"steps:{n}": old.get("steps", 0.0) for n in ONLOOKERS if f"steps:{n}" not in old}
        return torch.tensor([old.get(n, 0.0) for n in names], dtype=like.dtype, device=like.device)

    def last_total(self) -> float | None:
        """Total loss of the last step."""
        return None if self._last is None else float(self._last)

    @property
    def names(self) -> list[str]:
        return list(self._names)

    def state(self) -> dict[str, Tensor]:
        return {} if self._values is None else {"values": self._values}

    def restore(self, names: list[str], state: Mapping[str, Tensor], device: torch.device) -> None:
        self.clear()
        if state:
            self._names, self._values = list(names), state["values"].to(device)

    def means(self) -> EpochMeans:
        """Task losses are means over labels, everything else over steps."""
        sums = {} if self._values is None else dict(zip(self._names, self._values.tolist(), strict=True))
        steps = max(1.0, sums.get("steps", 0.0))
        mean = {k: v / steps for k, v in sums.items()}
        for onlooker, shown in ONLOOKERS.items():
            own = max(1.0, sums.get(f"steps:{onlooker}", steps))
            mean |= {k: sums[k] / own for k in shown if k in sums}

        def named(prefix: str, source: Mapping[str, float]) -> dict[str, float]:
            return {k.removeprefix(prefix): v for k, v in source.items() if k.startswith(prefix)}

        counts = {k: int(v) for k, v in named("n:", sums).items()}
        norms, taught = named("grad:", mean), named("taught:", mean)
        return EpochMeans(
            rows=int(sums.get("rows", 0)),
            nonfinite=int(sums.get("nonfinite", 0)),
            train={
                "total": mean.get("total"),
                "tasks": {k: v / counts[k] if counts[k] else None for k, v in named("loss:", sums).items()},
                "weighted": named("weighted:", mean),
                "n": counts,
                "entropy": mean.get("entropy"),
                "aux": named("aux:", mean),
                "sae": mean.get("sae"),
                "evidential": mean.get("evidential"),
                "evidential_kl": mean.get("evidential_kl"),
                **({"taught": taught} if taught else {}),
            },
            grad_norm={k: v for k, v in norms.items() if not k.startswith("hmm:")},
            hmm_grad=named("hmm:", norms),
        )


@dataclass(frozen=True)
class StepNorms:
    """L2 norms of a step's gradients by block and HMM mode; the onlookers whose loss or gradient is no number; whether those of
    everything else are numbers."""

    norms: dict[str, Tensor]
    lost: tuple[str, ...]
    finite: bool


class GradientNorms:
    """L2 norms of the gradients by block of the model (`model.blocks()`) and by HMM mode, and the model's clipping."""

    def __init__(self, model: PLEClusterAdaTT) -> None:
        self._blocks = {k: [p for m in ms for p in m.parameters()] for k, ms in model.blocks().items()}
        self._blocks = {k: ps for k, ps in self._blocks.items() if ps}
        self._hmm: dict[str, list[nn.Parameter]] = {}
        for mode in model.config.hmm_triple_mode.modes:
            own = [p for n, p in model.hmm.named_parameters() if mode in n.split(".")]
            if own:
                self._hmm[f"hmm:{mode}"] = own
        self._groups: list[tuple[str, list[nn.Parameter], list[str], float]] = []
        for name, parameters, limit in model.clip_groups():  # the model's own first
            ids = {id(p) for p in parameters}
            self._groups.append((name, parameters, [k for k, ps in self._blocks.items() if id(ps[0]) in ids], limit))

    def measure(self, losses: LossBreakdown) -> StepNorms:
        """Norms of the gradients as they are, and what of them and of the losses is no number. It is read once, which is what a
        GPU waits for in a step; the gradients of onlookers that are lost are taken away, so that the optimizer passes over them
        and the step of all others is the one they would have without them."""
        norms = {k: _norm(ps) for k, ps in (self._blocks | self._hmm).items()}
        own = {"main": losses.main, "sae": losses.sae, "evidential": losses.evidential + losses.evidential_kl}
        groups = {name: _of(norms, blocks) for name, _, blocks, _ in self._groups}
        fine = torch.stack([torch.isfinite(own[n]) & torch.isfinite(norm) for n, norm in groups.items()]).tolist()
        lost = tuple(n for n, ok in zip(groups, fine, strict=True) if not ok and n != "main")
        for name, parameters, blocks, _ in self._groups:
            if name in lost:
                for p in parameters:
                    p.grad = None
                norms |= {k: torch.zeros_like(norms[k]) for k in blocks}
        return StepNorms(norms, lost, fine[0])

    def clip(self, found: StepNorms, scale: Tensor | float = 1.0) -> dict[str, Tensor]:
        """Clip each of the model's groups to its own limit; norms by name before it. `scale`: what the gradients were measured
        times, and are no more. A block without gradients has norm 0."""
        norms = {k: v / scale for k, v in found.norms.items()}
        for _, parameters, blocks, limit in self._groups:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, _of(norms, blocks))
        return norms


class StepSizes:
    """How large the weights of each block are, and how far one step moves them: the norm of the change over that of the weights
    before it. A rate that is too high makes the weights grow to several times what they began with, one that is too low leaves
    them where they were."""

    def __init__(self, model: PLEClusterAdaTT) -> None:
        found = {k: [p for m in ms for p in m.parameters()] for k, ms in model.blocks().items()}
        self._blocks = {k: ps for k, ps in found.items() if ps}
        self._before: dict[str, list[Tensor]] = {}

    def norms(self) -> dict[str, float]:
        """L2 norm of the weights by block; those that are all 0, or no numbers, are left out."""
        found = {k: float(_total(ps)) for k, ps in self._blocks.items()}
        return {k: v for k, v in found.items() if math.isfinite(v) and v > 0}

    def before(self) -> None:
        """Keep the weights as they are."""
        self._before = {k: [p.detach().clone() for p in ps] for k, ps in self._blocks.items()}

    def after(self) -> dict[str, float]:
        """By block; empty without `before`, and without blocks whose weights are all 0 or whose step is no number."""
        out = {}
        for name, before in self._before.items():
            change = _total([p - q for p, q in zip(self._blocks[name], before, strict=True)])
            share = float(change / _total(before))
            if math.isfinite(share):
                out[name] = share
        self._before = {}
        return out


@torch.no_grad()
def _total(tensors: Sequence[Tensor]) -> Tensor:
    return torch.sqrt(torch.stack([t.detach().square().sum() for t in tensors]).sum())


def _of(norms: Mapping[str, Tensor], blocks: Sequence[str]) -> Tensor:
    """The norm of several blocks together."""
    total: Tensor = torch.linalg.vector_norm(torch.stack([norms[k] for k in blocks]))
    return total


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros((), device=parameters[0].device)
    return torch.nn.utils.get_total_norm(grads)


@dataclass(frozen=True)
class Validation:
    """The validation split. `mean_ratio`: mean over tasks of loss / constant-predictor loss, None without labels."""

    tasks: dict[str, float]
    counts: dict[str, int]
    ratio: dict[str, float]
    """Of a binary task whose share these rows choose (`direct_path.blend`) the log loss after calibration on them over that of
    their own rate: what it was chosen by. A focal loss over training's constant follows the rate of the positives."""
    mean_ratio: float | None
    gates: dict[str, list[float]] = field(default_factory=dict)
    gate_entropy: dict[str, float] = field(default_factory=dict)
    left_out: str = ""
    """Which rows were left out because their inputs are no numbers, in words."""

    def to_dict(self) -> dict[str, Any]:
        return {"tasks": self.tasks, "n": self.counts, "ratio": self.ratio, "mean_ratio": self.mean_ratio}


@torch.no_grad()
def validate(
    model: PLEClusterAdaTT, dataset: Dataset, context: ModelContext, batch_size: int, precision: Precision, epoch: int,
    ranks: Ranks = ONE,
) -> Validation:  # fmt: skip
    """Mean loss by task and mean gate weights over the validation split, in eval mode (which is left on).

    Rows whose inputs are no numbers are left out and named: they are the same in every epoch, and one of them would make every
    epoch's loss NaN. A prediction that is NaN for sound inputs is the model's own and stays in."""
    model.eval()
    names = list(model.tasks)
    loss = torch.zeros(len(names), dtype=torch.float64, device=precision.device)
    counts, entropy = torch.zeros_like(loss), torch.zeros_like(loss)
    gates = loss.new_zeros(len(names), len(model.expert_names))
    rows = 0
    chosen: dict[str, list[Tensor]] = {k: [] for k in model.blends() if model.tasks[k].kind == "binary"}
    tally = Tally("validation")
    for batch in dataset.batches("validation", batch_size, rank=ranks.rank, world=ranks.world):
        inputs = batch.inputs.to(precision.device)
        tally.add_inputs(inputs, batch.customer_id)
        if tally:
            inputs = _finite_rows(inputs)
        if not len(inputs):
            continue
        with precision.autocast():
            output = model.decode(model.encode(inputs), sae=False, evidential=False)
            found = model.losses(output, inputs.targets or {}, epoch=epoch)
        n = torch.stack([v.double() for v in found.counts.values()])
        loss += torch.where(n > 0, torch.stack([v.double() for v in found.raw.values()]) * n, 0.0)
        counts += n
        for task, kept in chosen.items():
            y = (inputs.targets or {}).get(task)
            if y is not None:
                both = torch.stack([output.predictions[task].double(), y.double()], dim=1)
                kept.append(both[label_mask(model.tasks[task], y) & torch.isfinite(both).all(dim=1)].cpu())
        weights = output.gate_weights.double()
        gates += weights.sum(0)
        entropy += gate_entropy(weights).sum(0)
        rows += len(inputs)
    tally = tally.joined(ranks.told(tally.to_json()))
    loss, counts, entropy, gates, seen = ranks.sums(loss, counts, entropy, gates, torch.tensor(rows, device=precision.device))
    rows = int(seen)
    n_by_task = dict(zip(names, (int(v) for v in counts.tolist()), strict=True))
    means = {k: v / n_by_task[k] for k, v in zip(names, loss.tolist(), strict=True) if n_by_task[k]}
    ratio = ratios(means, context)
    for task, kept in chosen.items():
        found_ratio = _calibrated(ranks.joined(torch.cat([torch.zeros(0, 2, dtype=torch.float64), *kept])).numpy())
        if found_ratio is not None and math.isfinite(ratio.get(task, math.nan)):
            ratio[task] = found_ratio
    mean_ratio = math.fsum(ratio.values()) / len(ratio) if ratio else None
    return Validation(
        tasks=means,
        counts=n_by_task,
        ratio=ratio,
        mean_ratio=mean_ratio,
        gates={t: (gates[i] / max(1, rows)).tolist() for i, t in enumerate(names)},
        gate_entropy={t: float(entropy[i] / max(1, rows)) for i, t in enumerate(names)},
        left_out=tally.sentence(),
    )


def _calibrated(rows: NDArray[np.float64]) -> float | None:
    """Log loss of [n, 2] (probability, label) after calibration on these rows, over that of their rate; None of one class."""
    p, label = rows.T
    constant = float(of_binary(label, np.full(len(label), label.mean())).mean()) if 0 < label.sum() < len(label) else 0.0
    return float(of_binary(label, fit_calibration(p, label)(p)).mean()) / constant if constant else None


def _finite_rows(inputs: PLEClusterInput) -> PLEClusterInput:
    """The rows of a batch whose inputs and labels are all numbers."""
    bad = [*bad_inputs(inputs).values(), *bad_labels(inputs.targets or {}).values()]
    return inputs.rows(~torch.stack(bad).any(0)) if bad else inputs
