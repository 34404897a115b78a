"""Attributions over what the experts said of a customer, on the path of one task alone.

Kept for the next question: where every path starts (the sample's mean representation), and each task's way through the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from analysis.engine.attribution import Attribution, Method, Tensors, integrate, integrate_until, one_thread
from analysis.engine.score import Score
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from ple_model.task_path import TaskPath

CHUNK = 64


class ExpertAttribution:
    """Of a model made ready for attribution (`private`), against the rows of `sample`."""

    def __init__(self, model: PLEClusterAdaTT, sample: Encoded) -> None:
        self.model = model
        self.modes = tuple(sample.hmm_projected)
        direct = () if sample.direct is None else ("direct_path",)
        self.names = ("shared", *self.modes, "cluster_embedding", "cluster_weights", *direct)
        starts = [t.mean(0, keepdim=True) for t in self._tensors(sample)]
        self.sizes = [t.shape[1] for t in starts]
        self.start = torch.cat(starts, dim=1)
        """[1, sum of sizes], the parts in the order of `names`."""
        self._paths: dict[str, TaskPath] = {}

    def of(
        self, encoded: Encoded, score: Score, *, nodes: int = 12, method: Method = "gauss-legendre"
    ) -> tuple[tuple[str, ...], Attribution]:
        """(names, attributions) of the first customer of `encoded` over shared_concat, the HMM modes, the cluster and what a
        direct path adds. More than `nodes` where the parts do not add up with them."""
        end = torch.cat([t[:1].detach() for t in self._tensors(encoded)], dim=1)
        if method == "captum":
            value = self._by_decode(encoded, score)
            found = integrate(value, self._split(end), self._split(self.start), nodes, chunk=CHUNK, method=method)
            return self.names, found
        value = self._by_path(score) if TaskPath.fits(self.model) else self._by_decode(encoded, score)
        ladder = tuple(dict.fromkeys((nodes, 2 * nodes, 4 * nodes)))
        with one_thread():
            found = integrate_until(value, (end,), (self.start,), ladder=ladder, chunk=CHUNK)
        return self.names, replace(found, values=self._split(found.values[0]), gradients=self._split(found.gradients[0]))

    def _tensors(self, e: Encoded) -> Tensors:
        found = (e.shared_concat, *(e.hmm_projected[m] for m in self.modes), e.cluster_embedding, e.cluster_weights)
        return found if e.direct is None else (*found, e.direct)

    def _split(self, flat: Tensor) -> Tensors:
        return tuple(torch.split(flat, self.sizes, dim=1))

    def _by_path(self, score: Score) -> Callable[[Tensors], Tensor]:
        """The score of points [n, sum of sizes]."""
        path = self._paths.get(score.task)
        if path is None:
            path = self._paths.setdefault(score.task, TaskPath(self.model, score.task))

        def value(tensors: Tensors) -> Tensor:
            parts = dict(zip(self.names, self._split(tensors[0]), strict=True))
            return score.of(*path(parts["shared"], parts, parts["cluster_embedding"], parts.get("direct_path")))

        return value

    def _by_decode(self, encoded: Encoded, score: Score) -> Callable[[Tensors], Tensor]:
        """The score of points [n, ...] part by part, or of all parts in one, by the model's own `decode`."""
        fixed = replace(encoded.rows(slice(0, 1)), expert_outputs={}, expert_present={}, expert_aux={}, hmm_default={})

        def value(tensors: Tensors) -> Tensor:
            given = dict(zip(self.names, tensors if len(tensors) > 1 else self._split(tensors[0]), strict=True))
            points = replace(
                fixed, shared_concat=given["shared"], hmm_projected={m: given[m] for m in self.modes},
                cluster_embedding=given["cluster_embedding"], cluster_weights=given["cluster_weights"],
                direct=given.get("direct_path"),
            )  # fmt: skip
            return score(self.model.decode(points, sae=False, evidential=False, task=score.task))

        return value
