"""Which columns are one fact when a customer is imagined otherwise, and what follows from them.

The windows of one amount, its copy in its own scale and columns that order customers alike move together: whoever spends
nothing in a year spent nothing in the last month. What the mixture of customers makes of the columns (`cluster_probs`, the part
`gmm`) is computed again from the changed ones, by the run's own mixture; what rests on days, visits and merchants stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.population import Population
from analysis.explain.origin.alike import SAME_ORDER, fact_of
from analysis.explain.origin.clusters import Clusters
from analysis.wording import OPAQUE
from ple_model.batch import PLEClusterInput
from ple_model.data.build.folds import fold_of
from ple_model.data.derived.gmm import BEHAVIOUR, behaviour
from ple_model.schema import PART_SLICES, FeatureSchema

IMMUTABLE_PARTS = ("tda_short", "tda_long", "phase_transition", "gmm", "mamba_temporal", "hmm_summary", "lnn", "bandit")
"""Computed from the rest, or by another model: no lever."""
IMMUTABLE_WORDS = ("tenure", "_age_", "age_days")
RISING = re.compile(r"(^|_)oldest(_|$)")
"""Time alone moves these, and only upwards."""


def changeable(schema: FeatureSchema, column: int) -> bool:
    """Of a table of one's own, its schema file says what is fixed; the package's columns say it by part and name."""
    c = schema.columns[column]
    if schema.own:
        return c.name not in schema.fixed
    return c.part not in IMMUTABLE_PARTS and not any(w in c.name for w in IMMUTABLE_WORDS)


@dataclass(frozen=True, eq=False)
class LinkedFacts:
    """`of` [columns]: number of the fact that each column belongs to, -1 for what is held; `n` facts."""

    of: NDArray[np.int64]
    n: int

    def columns(self, fact: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.of == fact)

    @staticmethod
    def grouped(schema: FeatureSchema, peers: Population, held: NDArray[np.bool_]) -> LinkedFacts:
        """`held` [columns]: what may not move. A fact with a held column is held as a whole."""
        together: dict[object, list[int]] = {}
        for c in schema.columns:
            key: object = (c.how,) if schema.own else ("part", c.index) if c.part in OPAQUE else fact_of(c)
            together.setdefault(key, []).append(c.index)
        groups = list(together.values())
        if not schema.own:
            groups = _joined(groups, schema, peers)
        of = np.full(len(schema.columns), -1)
        free = [g for g in groups if not held[g].any()]
        for i, group in enumerate(free):
            of[group] = i
        return LinkedFacts(of, len(free))


def _joined(groups: list[list[int]], schema: FeatureSchema, peers: Population) -> list[list[int]]:
    """Groups with columns of one part that order customers alike become one."""
    owner = {c: i for i, g in enumerate(groups) for c in g}
    parent = list(range(len(groups)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for where in schema.parts.values():
        if schema.columns[where.start].part in OPAQUE:
            continue
        ranks = peers._ranks[:, where]
        for a, b in np.argwhere(np.triu(np.abs(ranks.T @ ranks) >= SAME_ORDER, 1)):
            parent[root(owner[where.start + int(b)])] = root(owner[where.start + int(a)])
    out: dict[int, list[int]] = {}
    for i, g in enumerate(groups):
        out.setdefault(root(i), []).extend(g)
    return list(out.values())


def held_columns(schema: FeatureSchema, barred: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[columns] that stay: what nobody can change, and what may not be a reason."""
    fixed = np.array([not changeable(schema, c.index) for c in schema.columns])
    return fixed | barred


@dataclass(frozen=True, eq=False)
class Rechecked:
    """What follows from changed columns. `clusters` None: this run, or this customer, does not say what its cluster was made
    of, and the cluster stays."""

    clusters: Clusters | None
    customer: str

    @staticmethod
    def of(clusters: Clusters | None, customer: str, own: PLEClusterInput) -> Rechecked:
        """The mixture takes part where it gives this customer the stored posterior."""
        if clusters is None or own.cluster_probs is None:
            return Rechecked(None, customer)
        features, stored = own.features[0].numpy(), own.cluster_probs[0].float().numpy()
        return Rechecked(clusters if clusters.agrees(features, fold_of(customer), stored) else None, customer)

    def matters(self, schema: FeatureSchema, columns: NDArray[np.int64]) -> bool:
        """Whether any of these columns is one that the mixture reads."""
        return self.clusters is not None and any(schema.columns[int(i)].part in BEHAVIOUR for i in columns)

    def inputs(self, inputs: PLEClusterInput) -> PLEClusterInput:
        """The same rows with what the mixture makes of their columns."""
        if self.clusters is None:
            return inputs
        gmm, normalizer, where = self.clusters.gmm, self.clusters.normalizer, PART_SLICES["gmm"]
        features = inputs.features.numpy().copy()
        fold = np.full(len(features), fold_of(self.customer), np.int8)
        x = behaviour(features)
        probs = gmm.posterior(x, fold)
        real = normalizer.inverse(features)
        real[:, where] = gmm.columns(x, fold)
        features[:, where] = normalizer.transform(real.astype(np.float32))[:, where]
        ids: Tensor = torch.from_numpy(probs.argmax(axis=1)).to(inputs.cluster_ids.dtype)
        return replace(
            inputs, features=torch.from_numpy(features).to(inputs.features.dtype), cluster_ids=ids,
            cluster_probs=torch.from_numpy(probs),
        )  # fmt: skip
