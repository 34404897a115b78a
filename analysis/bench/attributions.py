"""Ways to share a prediction's difference from the typical customer among the inputs, each with the product's path and score.

Nothing but the attribution differs: integrated gradients as pages show them (Sundararajan et al. 2017), the same from other
baselines, with several customers as baselines (expected gradients, Erion et al. 2021), gradient x input (Shrikumar et al.
2017), ablation of one fact at a time (Zeiler & Fergus 2014) and Shapley values by sampling (Castro et al. 2009), the latter
two by Captum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from analysis.engine.attribution import Attribution, Tensors
from analysis.engine.distinct import encode_distinct
from analysis.engine.explainer import Explainer
from analysis.engine.reference import Path
from analysis.engine.score import Score
from analysis.wording import OPAQUE
from ple_model.batch import PLEClusterInput
from ple_model.model import PLEClusterAdaTT
from ple_model.presence import part_key

OTHERS = 4
"""Customers of the sample whom expected gradients start from."""
ORDERS = 3
"""Orders of the facts that Shapley values are drawn from."""
AT_ONCE = 64


@dataclass(frozen=True)
class Question:
    """One question: `model` None is the explained one. `units`: the columns that the product takes together, each a list of
    names, for methods that move facts and no columns."""

    explainer: Explainer
    path: Path
    score: Score
    units: tuple[tuple[str, ...], ...]
    seed: int
    model: PLEClusterAdaTT | None = None
    found: Attribution | None = None
    """As pages show it, where it is known."""

    def value(self, tensors: Tensors) -> Tensor:
        """[n] the explained number at these inputs."""
        model = self.explainer.model if self.model is None else self.model
        inputs = self.path.inputs(tensors)
        encoded = model.encode(inputs) if torch.is_grad_enabled() else encode_distinct(model, inputs)
        return self.score(model.decode(encoded, sae=False, evidential=False, task=self.score.task))

    def of(self, path: Path) -> Question:
        """The same question of another customer or from another start."""
        return replace(self, path=path, found=None)

    @cached_property
    def default(self) -> Attribution:
        """As pages show it."""
        if self.found is not None:
            return self.found
        return self.explainer.of_inputs(self.path, self.score, model=self.model)

    def started(self, given: Mapping[str, Tensor]) -> Path:
        """The path from these values; parts that the customer lacks stay the customer's own."""
        starts = []
        for name, end, usual in zip(self.path.fields, self.path.ends, self.path.starts, strict=True):
            start = given.get(name, usual).to(end).expand_as(end).clone()
            if name == "features":
                for part, columns in self.path.customer.parts.items():
                    if part_key(part) in self.path.absent:
                        start[:, columns] = end[:, columns]
            starts.append(start)
        return replace(self.path, starts=tuple(starts))


Method = Callable[[Question], Tensors]
"""Attributions shaped as the fields of the case's path."""


def integrated(case: Question) -> Tensors:
    return case.default.values


def from_mean(case: Question) -> Tensors:
    """The mean of every column instead of its median."""
    mean = torch.from_numpy(case.explainer.peers.features.mean(0))[None]
    return case.explainer.of_inputs(case.started({"features": mean}), case.score, model=case.model).values


def from_zero(case: Question) -> Tensors:
    """Zeros everywhere."""
    zero = {name: torch.zeros_like(end) for name, end in zip(case.path.fields, case.path.ends, strict=True)}
    return case.explainer.of_inputs(case.started(zero), case.score, model=case.model).values


def from_cluster(case: Question) -> Tensors:
    """The median of the customer's own cluster, where it has ten customers or more in the sample; else that of all."""
    peers = case.explainer.peers
    alike = peers.features[peers.cluster == int(case.path.customer.cluster_ids[0])]
    if len(alike) < 10:
        return case.default.values
    median = torch.from_numpy(np.median(alike, axis=0).astype(np.float32))[None]
    return case.explainer.of_inputs(case.started({"features": median}), case.score, model=case.model).values


def expected(case: Question) -> Tensors:
    """The mean over customers drawn at random as baselines, of columns; other fields from the typical."""
    rng = np.random.default_rng(case.seed)
    peers = case.explainer.peers
    found: list[Tensors] = []
    for i in rng.choice(len(peers), size=min(OTHERS, len(peers)), replace=False):
        path = case.started({"features": torch.from_numpy(peers.features[int(i)])[None]})
        found.append(case.explainer.of_inputs(path, case.score, nodes=16, model=case.model).values)
    return tuple(torch.stack(vs).mean(0) for vs in zip(*found, strict=True))


def gradient_x_input(case: Question) -> Tensors:
    """The gradient at the customer times the distance from the typical customer."""
    points = [x.detach().clone().requires_grad_(True) for x in case.path.limits]
    with torch.enable_grad():
        found = torch.autograd.grad(case.value(tuple(points)).sum(), points, allow_unused=True)
    return tuple(
        torch.zeros_like(x) if g is None else g * (x - b)
        for g, x, b in zip(found, case.path.limits, case.path.starts, strict=True)
    )


def ablation(case: Question) -> Tensors:
    """What the prediction loses when one fact is set to the typical customer's."""
    from captum.attr import FeatureAblation  # late: captum

    masks = fact_masks(case)
    with torch.no_grad():
        found = FeatureAblation(_read(case)).attribute(
            case.path.ends, baselines=case.path.starts, feature_mask=masks, perturbations_per_eval=AT_ONCE,
            enable_cross_tensor_attribution=True,
        )  # fmt: skip
    return _shared(found, masks)


def shapley(case: Question) -> Tensors:
    """Shapley values of the facts, by sampling orders."""
    from captum.attr import ShapleyValueSampling  # late: captum

    masks = fact_masks(case)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        found = ShapleyValueSampling(_read(case)).attribute(
            case.path.ends, baselines=case.path.starts, feature_mask=masks, n_samples=ORDERS, perturbations_per_eval=AT_ONCE
        )
    return _shared(found, masks)


def at_random(case: Question) -> Tensors:
    """Noise, one draw a column and a field."""
    rng = torch.Generator().manual_seed(case.seed)
    found = []
    for name, end in zip(case.path.fields, case.path.ends, strict=True):
        if name == "features":
            noise = torch.randn(end.shape, generator=rng, dtype=torch.float64).to(end)
            for part, columns in case.path.customer.parts.items():
                if part in OPAQUE:
                    noise[:, columns] = torch.randn(1, generator=rng) / max(1, columns.stop - columns.start)
        else:
            noise = (torch.randn(1, generator=rng) / end[0].numel()).to(end).expand_as(end)
        found.append(noise)
    return tuple(found)


def fact_masks(case: Question) -> tuple[Tensor, ...]:
    """The number of each element's fact [1, ...] by field: the columns of a unit share one, so do those of an opaque part;
    every other field is a fact of its own."""
    schema, numbers = case.explainer.model.context.schema, []
    count = 0
    for name, end in zip(case.path.fields, case.path.ends, strict=True):
        mask = torch.full(end.shape, count, dtype=torch.long)
        if name == "features":
            for unit in case.units:
                mask[:, [schema.index[n] for n in unit]] = count
                count += 1
            for part, columns in case.path.customer.parts.items():
                if part in OPAQUE:
                    mask[:, columns] = count
                    count += 1
            # columns that no unit holds, barred ones among them: a fact that no reason is made of
            held = {schema.index[n] for unit in case.units for n in unit}
            held |= {i for p, c in case.path.customer.parts.items() if p in OPAQUE for i in range(c.start, c.stop)}
            mask[:, [i for i in range(mask.shape[1]) if i not in held]] = count
        count += 1
        numbers.append(mask)
    return tuple(numbers)


def _read(case: Question) -> Callable[..., Tensor]:
    return lambda *tensors: case.value(tuple(tensors))


def _shared(found: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensors:
    """Captum gives each element of a fact the whole of its value: share it out, so that sums are right."""
    size = torch.bincount(torch.cat([m.flatten() for m in masks]))
    return tuple(v.double() / size[m] for v, m in zip(found, masks, strict=True))


METHODS: Mapping[str, Method] = {
    "integrated gradients": integrated,
    "IG from the mean": from_mean,
    "IG from zero": from_zero,
    "IG from the cluster": from_cluster,
    "expected gradients": expected,
    "gradient x input": gradient_x_input,
    "ablation": ablation,
    "Shapley sampling": shapley,
    "random": at_random,
}
"""By name; the first is what pages show."""


def moved(case: Question, features: Tensor) -> Question:
    """The same question of a customer with these columns [1, columns]."""
    at = case.path.fields.index("features")
    ends = tuple(features if i == at else e for i, e in enumerate(case.path.ends))
    customer: PLEClusterInput = replace(case.path.customer, features=features)
    return case.of(replace(case.path, ends=ends, customer=customer))
