"""`Teller`: asks the module of each derived input what it was made of, for one customer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.engine.attribution import Attribution
from analysis.engine.explainer import Explainer
from analysis.engine.reference import Path
from analysis.explain.origin.clusters import Clusters
from analysis.explain.origin.fitted import clusters_of
from analysis.explain.origin.told import Columns, Told
from ple_model.data.dataset.normalize import CLIP, RAW
from ple_model.data.dataset.reader import Batch, Dataset
from ple_model.presence import part_key
from ple_model.schema import PART_SLICES

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Teller:
    """What is known of one customer's derived inputs, and how each came by its contribution."""

    def __init__(self, explainer: Explainer, data: Dataset, batch: Batch, path: Path, found: Attribution) -> None:
        self.explainer, self.data, self.batch, self.path, self.found = explainer, data, batch, path, found
        self.schema = explainer.model.context.schema

    def __call__(self, topic: str, value: float) -> Told | None:
        """What the input was made of; None where this run or this customer cannot say."""
        if self.schema.own:
            return None
        tell = {"cluster": self._cluster}.get(topic)
        return None if tell is None else tell(value)

    def alike(self, name: str) -> Iterable[str]:
        """The columns that say the same as one."""
        if (column := self.schema.index.get(name)) is None:
            return (name,)
        return (self.schema.columns[int(i)].name for i in np.flatnonzero(self.explainer.peers.alike(column)))

    @cached_property
    def columns(self) -> Columns:
        normalizer, at = self.data.normalizer(), self.path.fields.index("features")
        read = self.path.ends[at].numpy()
        known = np.zeros(read.shape[1], dtype=bool)
        for part, where in self.path.customer.parts.items():
            known[where] = part_key(part) not in self.path.absent
        known &= (np.abs(read[0]) < CLIP) | (normalizer.kind == RAW)  # beyond the clip the value itself is not known
        return Columns(self.schema, normalizer.inverse(read)[0], normalizer.inverse(self.path.starts[at].numpy())[0], known)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        return np.asarray(self.path.ends[self.path.fields.index("features")][0].numpy(), dtype=np.float32)

    def gradient(self, field: str) -> NDArray[np.float64]:
        """Mean gradient along the path in a field of the customer; zero where it is held fixed."""
        if field in self.path.fields:
            return np.asarray(self.found.gradients[self.path.fields.index(field)][0].double().numpy())
        return np.zeros(tuple(getattr(self.path.customer, field).shape[1:]))

    def _cluster(self, value: float) -> Told | None:
        clusters: Clusters | None = clusters_of(self.explainer)
        probs = self.path.customer.cluster_probs
        if clusters is None or probs is None or "features:gmm" in self.path.absent:
            return None
        gradients = {"cluster_probs": self.gradient("cluster_probs"), "gmm": self.gradient("features")[PART_SLICES["gmm"]]}
        stored = np.asarray(probs[0].float().numpy())
        return clusters.told(self.batch.customer_id[0], self.features, stored, self.columns, gradients, value)
