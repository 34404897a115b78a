"""A model that does not fit the machine's memory is refused while it is built, before any of it is filled.

Weights are allocated empty and filled afterwards, and an empty allocation costs nothing on most systems: without this the
process would be killed in the middle of filling them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from torch import nn

from ple_model.errors import UserError


@contextmanager
def fits_memory(what: str) -> Iterator[None]:
    """`UserError` if the parameters of modules that this thread makes inside need more memory than is free."""
    mine, free, total = threading.get_ident(), psutil.virtual_memory().available, [0]

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() != mine or parameter is None:
            return
        total[0] += parameter.numel() * parameter.element_size()
        if total[0] > free:
            raise UserError(f"{what}: its weights need more than the {free / 2**30:.1f} GB of memory that are free")

    hook = nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        yield
    except (MemoryError, RuntimeError) as e:
        if isinstance(e, MemoryError) or "allocate" in str(e) or "overflow" in str(e):
            raise UserError(f"{what}: {' '.join(str(e).split())[:200] or 'there is not enough memory'}") from e
        raise
    finally:
        hook.remove()
