"""Full precision inside mixed precision: logarithms, exponentials and distances must not run in half precision.

Under autocast a matrix product in half precision would feed them; `full_precision` switches autocast off for a block and
`widen` lifts half-precision tensors to float32. Float64 stays float64, so that the same code serves as its own reference.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def widen(t: Tensor) -> Tensor:
    """`t` in float32 if it is half precision, else unchanged."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def full_precision(t: Tensor) -> AbstractContextManager[object]:
    """Context manager that switches autocast off on the device of `t`; nothing in an exported graph, which has none."""
    if torch.compiler.is_exporting():
        return nullcontext()
    return torch.autocast(device_type=t.device.type, enabled=False)
