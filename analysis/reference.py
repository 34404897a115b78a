"""What a run's training rows looked like, and how to bring another dataset's columns to the run's scale before comparing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from analysis.stats.written import ROUNDING
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.profile import Profile, profile_of
from ple_model.run import Run

NEAR = 4.0
"""Roundings that a value goes through on its way from one scale to its unit and to the other scale."""
Rescale = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def training_profile(run: Run) -> Profile | None:
    """The profile stored with the run; of an older run, one made of the training rows in its sample. None where neither is
    there."""
    stored = Profile.load(run.preprocess)
    if stored is not None:
        return stored
    try:
        return profile_of(run.sample())
    except UserError:
        return None


def rescale(run: Run, data: Dataset) -> Rescale | None:
    """Features of `data` -> as the run's own normaliser would have made them; None where both normalisers are the same.

    A dataset that was built on its own has a normaliser of its own, which would hide a shift of the whole population.
    """
    try:
        own, theirs = Normalizer.load(run.preprocess), data.normalizer()
    except UserError:
        return None
    # of a normaliser that was saved again in 32 bits the columns are still these: rounding it is no change of scale
    same = np.array_equal(own.kind, theirs.kind) and all(
        np.allclose(getattr(own, k), getattr(theirs, k), rtol=ROUNDING, atol=0.0) for k in ("centre", "scale")
    )
    if same:
        return None
    profile = training_profile(run)
    edges = None if profile is None or len(profile.edges) != len(own.kind) else profile.edges

    def change(features: NDArray[np.float32]) -> NDArray[np.float32]:
        there = np.isfinite(features)
        again = own.transform(theirs.inverse(features))
        if edges is not None:
            _onto_edges(again, edges)
        return np.where(there, again, features)  # what a row lacks stays absent: `transform` would make it the middle

    return change


def _onto_edges(values: NDArray[np.float32], edges: NDArray[np.float32]) -> None:
    """Puts values [n, c] that are one of the edges [c, m] of training's bins, but for rounding, on that edge: a number that
    many rows share often is one, and would be counted in the bin beside it."""
    limit = NEAR * ROUNDING * np.maximum(1.0, np.abs(values))
    for cut in edges.T:
        with np.errstate(invalid="ignore"):
            near = np.abs(values - cut) <= limit
        np.copyto(values, np.broadcast_to(cut, values.shape), where=near)
