"""What a run's training rows looked like, and how to bring another dataset's columns to the run's scale before comparing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.profile import Profile, profile_of
from ple_model.run import Run

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
    same = all(np.array_equal(getattr(own, k), getattr(theirs, k)) for k in ("kind", "centre", "scale"))
    return None if same else lambda features: own.transform(theirs.inverse(features))
