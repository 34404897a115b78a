"""A batch's inputs as one plain matrix, for what reads neither sequences nor sets: a boosting, a linear model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ple_model.fields import FIELD_SHAPES

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput

Matrix = NDArray[np.float32]
FLAT_FIELDS = tuple(f for f, shape in FIELD_SHAPES.items() if len(shape) == 1 and not f.endswith("_mask"))
"""Fields that are a vector a row, `features` first: columns, cluster posteriors, coordinates, summaries of the diagrams, HMM
vectors, graph embeddings, static features of cold-start and anonymous customers."""


def field_values(inputs: PLEClusterInput, name: str) -> Matrix:
    """[n, width] of a vector field, NaN where it is absent for a row; [n, 0] where it is absent for all."""
    tensor = getattr(inputs, name)
    if tensor is None:
        return np.zeros((len(inputs), 0), np.float32)
    values: Matrix = tensor.numpy().astype(np.float32)
    present = inputs.presence.get(name) if inputs.presence is not None else None
    return values if present is None else np.where(present.numpy()[:, None], values, np.float32(np.nan))


def flat(inputs: PLEClusterInput) -> Matrix:
    """[n, columns] of all vector fields, those of `features` first; what is no number is NaN."""
    joined = np.concatenate([field_values(inputs, f) for f in FLAT_FIELDS], axis=1)
    return np.where(np.isfinite(joined), joined, np.float32(np.nan))
