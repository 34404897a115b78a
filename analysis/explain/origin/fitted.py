"""What a run's `preprocess/` and sample know of its derived inputs, read once a run; None where an older run has it not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from analysis.explain.origin.clusters import Clusters
from analysis.explain.origin.states import States
from ple_model.data.build.artifacts import read_gmm, read_hmm, read_scale
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.derived.hmm import N_STATES
from ple_model.data.derived.sequences import SequenceScale
from ple_model.errors import UserError
from ple_model.money import UNKNOWN
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


@lru_cache(maxsize=6)
def states_of(explainer: Explainer, mode: str) -> States | None:
    """A hidden Markov model of a run."""
    field = f"hmm_{mode}"
    try:
        model = read_hmm(explainer.run.preprocess, mode)
    except UserError:
        return None
    if field not in explainer.peers.fields or len(model.start) != N_STATES:
        return None
    there = explainer.peers.present[field]
    counts = np.bincount(explainer.peers.fields[field][there, :N_STATES].argmax(1), minlength=N_STATES)
    return States(mode, model, counts / max(int(there.sum()), 1), explainer.model.context.unit(UNKNOWN))


@lru_cache(maxsize=2)
def scale_of(explainer: Explainer) -> SequenceScale | None:
    """What the sequences of a run were divided by."""
    try:
        return read_scale(explainer.run.preprocess)
    except UserError:
        return None
