"""Tensors as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor


def as_numpy(t: Tensor, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """The values, without their gradient, from whatever device."""
    return np.asarray(t.detach().cpu().numpy(), dtype=dtype)
