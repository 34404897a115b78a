"""The customer's cluster: who its members are, and which of the customer's own columns put them there.

The posterior is a function of the behaviour columns (`ple_model.data.derived.gmm`), so a contribution of the posteriors goes
on to the columns: with the mean gradients g of the outer path, u(x) = g . outputs(x) is integrated from the sample's customers
to this one (integrated gradients with many baselines: Erion et al., Nature Machine Intelligence 2021). What the mean cluster of
the sample differs from that of the reference profile is the rest, so that the parts add up to the contribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.attribution import quadrature
from analysis.engine.population import Population
from analysis.explain.origin.told import REST, Columns, OriginSentence, listed
from analysis.i18n import catalogue, phrase
from ple_model.data.build.folds import fold_of
from ple_model.data.dataset.normalize import CLIP, CONSTANT, RAW, SIGNED_LOG, Normalizer
from ple_model.data.derived.gmm import BEHAVIOUR, GmmModel, behaviour
from ple_model.numerals import Language, share
from ple_model.schema import PART_SLICES, FeatureSchema

Array = NDArray[np.float64]
BASELINES = 256
NODES = 48
AGREES = 1e-3
"""How far a posterior that is computed again may be from the stored one, or it was made of something else."""
OFTEN = 0.75
"""A mark of a cluster: a member exceeds a customer picked at random in three of four cases (or falls short of one)."""
TOGETHER = 0.7
"""Rank correlation from which two columns share half of their variance."""
MEMBERS = 10
"""Fewer members in the sample and they are not described."""
TRAITS = 3
INDEX = np.concatenate([np.arange(PART_SLICES[p].start, PART_SLICES[p].stop) for p in BEHAVIOUR])
"""The columns that the mixture reads."""


@dataclass(frozen=True)
class Trait:
    """What sets the members of a cluster apart in one column: more of it than others, or less."""

    column: int
    key: str
    more: bool

    def said(self, language: Language) -> str:
        return catalogue(language)[self.key]


@dataclass(frozen=True, eq=False)
class Clusters:
    """The mixture of a run with the customers of its sample."""

    gmm: GmmModel
    normalizer: Normalizer
    peers: Population
    schema: FeatureSchema
    share: Array
    """Of the training customers, by cluster."""

    @cached_property
    def ranks(self) -> dict[int, Array]:
        """Columns that have words -> rank from 0 to 1 of every row of which the column says anything, 0.5 of others."""
        from scipy.stats import rankdata  # late: scipy

        found = {}
        for name in {k.split(".")[1] for k in catalogue("en") if k.startswith("trait.")}:
            if (column := self.schema.index.get(name)) is not None:
                here = self.peers.said(column)
                found[column] = np.full(len(self.peers), 0.5)
                found[column][here] = (rankdata(self.peers.features[here, column]) - 0.5) / max(int(here.sum()), 1)
        return found

    def traits(self, cluster: int) -> tuple[Trait, ...]:
        """What sets a cluster apart, most first; columns that say the same once."""
        members = self.peers.cluster == cluster
        if members.sum() < MEMBERS:
            return ()
        scored = []
        for column, rank in self.ranks.items():
            here = self.peers.said(column)
            if (members & here).sum() >= MEMBERS:
                level = float(rank[members & here].mean())
                key = f"trait.{self.schema.columns[column].name}.{'more' if level > 0.5 else 'less'}"
                if max(level, 1 - level) >= OFTEN and key in catalogue("en"):
                    scored.append((abs(level - 0.5), Trait(column, key, level > 0.5)))
        chosen: list[Trait] = []
        for _, trait in sorted(scored, key=lambda s: -s[0]):
            if len(chosen) < TRAITS and not any(self._one(trait, t) for t in chosen):
                chosen.append(trait)
        return tuple(chosen)

    def _one(self, a: Trait, b: Trait) -> bool:
        """Whether two marks of a cluster are hardly two: half of the variance of the one is that of the other."""
        return abs(float(self.peers.order(a.column)[b.column])) >= TOGETHER

    def through(self, features: NDArray[np.float32], fold: int, probs: Array, columns: Array) -> tuple[Array, float]:
        """([734] parts of the columns, what a customer of the sample has on average) of u, whose gradients are `probs` [20] on
        the posteriors and `columns` [22] on the part `gmm`. The parts add up to u of the customer less that average."""
        u = _Read(self.gmm, self.normalizer, fold, torch.from_numpy(probs), torch.from_numpy(columns))
        rows = np.flatnonzero(self.peers.parts["rfm"])
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(BASELINES, len(rows))).round().astype(int))]
        start = behaviour(self.peers.features[rows]).astype(np.float64)
        end = behaviour(features[None]).astype(np.float64)[0]
        a, b = (torch.from_numpy((x - self.gmm.centre) @ self.gmm.axes) for x in (start, end[None]))
        positions, weights = quadrature(NODES)
        mean = torch.zeros_like(a)
        for t, w in zip(positions, weights, strict=True):
            z = (a + t * (b - a)).requires_grad_(True)
            (gradient,) = torch.autograd.grad(u(z).sum(), z)
            mean += w * gradient
        with torch.no_grad():
            ends, own = u(a), float(u(b)[0])
        # a posterior is all but a step along the way: what the nodes miss of each way is given in proportion
        parts = (end - start) * (mean.numpy() @ self.gmm.axes.T)
        missed = (own - ends.numpy()) - parts.sum(1)
        size = np.abs(parts).sum(1, keepdims=True)
        parts += missed[:, None] * np.abs(parts) / np.where(size > 0, size, 1)
        out = np.zeros(self.peers.features.shape[1])
        out[INDEX] = parts.mean(0)
        return out, own - float(parts.sum(1).mean())

    def agrees(self, features: NDArray[np.float32], fold: int, stored: NDArray[np.float32]) -> bool:
        """Whether the stored posterior [20] is the one that the mixture gives these columns."""
        found = self.gmm.posterior(behaviour(features[None]), np.array([fold], np.int8))[0]
        return bool(np.abs(found - stored).max() <= AGREES)

    def told(
        self, customer: str, features: NDArray[np.float32], stored: NDArray[np.float32], columns: Columns,
        gradients: Mapping[str, Array], value: float, named: tuple[Trait, ...] = (),
    ) -> OriginSentence | None:  # fmt: skip
        """What is said of the customer's group, where the contribution of `cluster_probs` and `gmm` together is `value`: of
        what is usual in it (`named`) that which is so of this customer too, with the facts; of a group without a name the facts
        that count most. None where nothing that is usual in it is so of the customer: a group that somebody does not fit is no
        reason that can be told."""
        fold = fold_of(customer)
        if not self.agrees(features, fold, stored):
            return None
        parts, _ = self.through(features, fold, gradients["cluster_probs"], gradients["gmm"])
        cluster = int(stored.argmax())
        shared = tuple(t for t in named if columns.known[t.column] and self._is_so(t, features))
        chosen = tuple(t.column for t in shared)
        if not chosen:
            return None
        key = "belongs" if stored[cluster] >= 0.5 else "nearest"

        def said(language: Language) -> str:
            who = listed(tuple(t.said(language) for t in shared), language)
            facts = ("; " if language == "en" else ", ").join(columns.fact(i, language) for i in chosen)
            return phrase(f"origin.cluster.{key}", language, share=share(self.share[cluster], 0.01), who=who, facts=facts)

        each = [(columns.schema.columns[int(i)].name, float(parts[i])) for i in np.argsort(-np.abs(parts)) if parts[i] != 0]
        spoken = tuple(columns.schema.columns[i].name for i in chosen)
        return OriginSentence(said("en"), said("ko"), (*each, (REST, value - float(parts.sum()))), spoken)

    def _is_so(self, trait: Trait, features: NDArray[np.float32]) -> bool:
        """Whether what is usual in a group is so of the customer: beyond the middle of all customers."""
        here = self.peers.said(trait.column)
        middle = float(np.median(self.peers.features[here, trait.column]))
        own = float(features[trait.column])
        return own > middle if trait.more else own < middle


class _Read:
    """u [m] of points z [m, d] of the mixture's space: the posteriors and the 22 columns, weighed by the outer gradients."""

    def __init__(self, gmm: GmmModel, normalizer: Normalizer, fold: int, probs: Tensor, columns: Tensor) -> None:
        if gmm.fold_weights is None or gmm.fold_means is None or gmm.fold_precision_chol is None:
            weights, means, chol = gmm.weights, gmm.means, gmm.precision_chol
        else:
            weights, means, chol = gmm.fold_weights[fold], gmm.fold_means[fold], gmm.fold_precision_chol[fold]
        log_det = np.log(np.stack([np.diag(c) for c in chol])).sum(axis=1)
        self.base = torch.from_numpy(np.log(weights) + log_det)
        self.means, self.chol = torch.from_numpy(means.copy()), torch.from_numpy(chol.copy())
        self.probs, self.columns = probs.double(), columns.double()
        where = PART_SLICES["gmm"]
        self.kind, self.centre, self.scale = (
            torch.from_numpy(np.asarray(a[where]).copy()) for a in (normalizer.kind, normalizer.centre, normalizer.scale)
        )

    def __call__(self, z: Tensor) -> Tensor:
        white = torch.einsum("mkd,kde->mke", z[:, None] - self.means, self.chol)
        distance = (white**2).sum(2)
        p = torch.softmax(self.base - 0.5 * distance, 1)
        nearest = distance.gather(1, p.argmax(1, keepdim=True)).clamp_min(1e-12).sqrt()
        entropy = -(p * p.clamp_min(1e-300).log()).sum(1, keepdim=True)
        raw = torch.cat([p, nearest, entropy], 1)
        logged = raw.sign() * raw.abs().log1p()
        x = torch.where(self.kind == SIGNED_LOG, logged, raw)
        x = torch.where(self.kind == RAW, raw, ((x - self.centre) / self.scale).clamp(-CLIP, CLIP))
        x = torch.where(self.kind == CONSTANT, torch.zeros_like(x), x)
        return p @ self.probs + x @ self.columns
