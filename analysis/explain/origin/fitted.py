"""What a run's `preprocess/` and sample know of its derived inputs, read once a run; None where an older run has it not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from analysis.explain.origin.clusters import Clusters
from ple_model.data.build.artifacts import read_gmm
from ple_model.data.dataset.normalize import Normalizer
from ple_model.errors import UserError
from ple_model.profile import Profile

if TYPE_CHECKING:
    from analysis.engine.explainer import Explainer


@lru_cache(maxsize=2)
def clusters_of(explainer: Explainer) -> Clusters | None:
    """The customer clusters of a run."""
    folder, schema = explainer.run.preprocess, explainer.model.context.schema
    try:
        gmm, profile = read_gmm(folder), Profile.load(folder)
        normalizer = Normalizer.load(folder)
    except UserError:
        return None
    counts = None if profile is None else profile.classes.get("cluster_ids")
    share = gmm.weights if counts is None or not counts.sum() else np.asarray(counts / counts.sum())
    return Clusters(gmm, normalizer, explainer.peers, schema, share)
