"""`--engine local|ray [--address A]`, or `PLE_ENGINE` and `PLE_ADDRESS` in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ple_model.engine.base import ENGINES, ShardEngine
from ple_model.errors import UserError, did_you_mean

ENGINE, ADDRESS = "PLE_ENGINE", "PLE_ADDRESS"
WORKERS = 2
"""Unless a number is given."""


def engine_name(name: str | None, address: str | None) -> str:
    """The engine that was asked for. `UserError` for a name that is none, and for an address without Ray."""
    asked, name = "--engine" if name else ENGINE, name or os.environ.get(ENGINE) or ENGINES[0]
    if name not in ENGINES:
        raise UserError(f"{asked}: '{name}' is not valid{did_you_mean(name, ENGINES)}")
    if name == "local" and address:
        raise UserError(f"--address: '{address}' is a Ray cluster's; give --engine ray with it")
    return name


@contextmanager
def open_engine(name: str | None = None, workers: int = 1, address: str | None = None) -> Iterator[ShardEngine]:
    """The engine of this name (None: that of the environment, else `local`). `UserError` for a name that is none, for an
    address without Ray, and where no cluster answers."""
    if engine_name(name, address) == "local":
        from ple_model.engine.local import LocalEngine  # late: processes, which `ple --help` starts none of

        yield LocalEngine(workers)
        return
    from ple_model.engine.on_ray import RayEngine  # late: an extra

    engine = RayEngine(workers, address or os.environ.get(ADDRESS) or None)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def engine_if_asked(name: str | None, workers: int | None, address: str | None) -> Iterator[ShardEngine | None]:
    """`open_engine` where an engine or a number of workers was asked for; else None: this process does the work.
    `UserError` for a number of workers of a cluster that is there already."""
    if not (name or workers or address or os.environ.get(ENGINE)):
        yield None
        return
    if address and workers and engine_name(name, address) == "ray":
        raise UserError(f"--workers: {workers} is not of use with --address: a cluster is worked on with all its CPUs")
    with open_engine(name, workers or WORKERS, address) as engine:
        yield engine
