"""Which columns are one fact when a customer is imagined otherwise, and what follows from them.

All that is counted over the same events is one fact and is taken over as a whole: the number and the sum of purchases, their
shares by category, which add up to one, their largest and their latest. So no imagined customer has three purchases and the
spend of seventy-five. What the mixture of customers makes of the columns (`cluster_probs`, the part `gmm`) is computed again
from the changed ones, by the run's own mixture; what rests on days, visits and merchants stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.population import Population
from analysis.explain.origin.alike import SAME_ORDER
from analysis.explain.origin.clusters import Clusters
from analysis.explain.subjects import subject_of
from analysis.wording import OPAQUE
from ple_model.batch import PLEClusterInput
from ple_model.data.build.folds import fold_of
from ple_model.data.derived.gmm import BEHAVIOUR, behaviour
from ple_model.errors import UserError, did_you_mean
from ple_model.schema import PART_SLICES, FeatureColumn, FeatureSchema
from ple_model.sensitive_words import SENSITIVE_KINDS

IMMUTABLE_PARTS = ("tda_short", "tda_long", "phase_transition", "gmm", "mamba_temporal", "hmm_summary", "lnn", "bandit")
"""Computed from the rest, or by another model: no lever."""
IMMUTABLE_WORDS = ("tenure", "_age_", "age_days")
RISING = re.compile(r"(^|_)(oldest|first_(record|contact|purchase)_days)(_|$)")
"""Time alone moves these, and only upwards."""
HELD_KINDS = {
    "bank_decided": re.compile(r"^(raw_)?(credit|campaign)_|^bandit_"),
    "health": re.compile(r"(^|_)health(_|$)"),
}
"""What `explanations.held` may name beside columns and groups, by the names of the package's columns: what the bank decides (a
limit and what is measured by it, what was shown to the customer), and health. Of a table of one's own only health is known by
its words."""
KEY = "explanations.held"
PURCHASES = ("spending", "merchants", "times")
"""Subjects whose columns are all counted over the same purchases."""


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
            key: object = (c.how,) if schema.own else ("part", c.index) if c.part in OPAQUE else source_of(c)
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


def source_of(column: FeatureColumn) -> tuple[str, str]:
    """What the column is counted over: of the package's columns the events, or, for what is held of products, its part."""
    if column.part == "overseas" or column.name.startswith("raw_overseas"):
        return "source", "overseas"
    subject = subject_of(column.part, column.name)
    if subject in PURCHASES:
        return "source", "purchases"
    if subject == "holdings":
        owner = {"raw_balance": "product", "raw_investment": "investment"}
        return "source", next((p for start, p in owner.items() if column.name.startswith(start)), column.part)
    return "source", subject


def held_columns(
    schema: FeatureSchema, barred: NDArray[np.bool_], held: Sequence[str] = (), sensitive: Collection[str] = ()
) -> NDArray[np.bool_]:
    """[columns] that stay: what nobody can change, what may not be a reason, what the configuration holds, and of a table of
    one's own what may be `sensitive`: nobody is told that another belief or diagnosis would change the answer. `UserError`
    with the nearest name for one that is no column, group or kind."""
    fixed = np.array([not changeable(schema, c.index) or (schema.own and c.name in sensitive) for c in schema.columns])
    for name in held:
        fixed |= _named(schema, name)
    return fixed | barred


def _named(schema: FeatureSchema, name: str) -> NDArray[np.bool_]:
    kind = HELD_KINDS.get(name)
    if kind is not None and schema.own:
        words = SENSITIVE_KINDS.get(name)
        return np.array([words is not None and words.called(c.how.removeprefix("column: ")) for c in schema.columns])
    if kind is not None:
        return np.array([kind.search(c.name) is not None for c in schema.columns])
    found = np.array([name in (c.name, c.part, c.group, c.how.removeprefix("column: ")) for c in schema.columns])
    if not found.any():
        known = (*HELD_KINDS, *schema.parts, *schema.index)
        raise UserError(f"{KEY}: '{name}' is no column or group of this model{did_you_mean(name, known)}")
    return found


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
