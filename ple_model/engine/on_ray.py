"""The engine of a Ray cluster (Moritz et al. 2018): one task a shard, retried by Ray where its worker or its machine died.

Own cluster: `--address HOST:PORT` or `auto`; without an address one is started on this machine for the time of the command.
Nothing is reported to anybody: Ray's usage statistics are switched off. Functions are sent by name, so the same version of
this package must be installed on every machine, and paths must mean the same on all of them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ple_model.engine.base import RETRIES, Shard, Value, died, said
from ple_model.errors import UserError

THREADS = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


class RayEngine:
    """Tasks of one CPU each on the cluster at `address`; None: one of `workers` CPUs on this machine."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        self._ray = _import()
        self._owner = not self._ray.is_initialized()
        if self._owner:
            where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
            try:
                self._ray.init(
                    **where, log_to_driver=False, logging_level="ERROR", configure_logging=False,
                    runtime_env={"env_vars": THREADS},
                )  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError) as e:
                raise UserError(f"--address: no Ray cluster answers at '{address or 'this machine'}': {e}") from e

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._owner:
            self._ray.shutdown()

    def run(self, work: Callable[[Shard], Value], shards: Mapping[str, Shard]) -> Iterator[tuple[str, Value]]:
        """See `ShardEngine.run`."""
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_work)
        waiting = deque(shards)
        running: dict[Any, str] = {}
        failed: BaseException | None = None
        try:
            while running or (waiting and failed is None):
                while waiting and failed is None and len(running) < self._ahead():
                    name = waiting.popleft()
                    running[task.options(name=f"shard {name}").remote(work, shards[name])] = name
                (ready, *_), _ = ray.wait(list(running), num_returns=1)
                name = running.pop(ready)
                try:
                    value, error = ray.get(ready)
                except ray.exceptions.RayError as e:
                    failed = failed or _lost(name, e, ray)
                    continue
                if error is None:
                    yield name, value
                else:
                    failed = failed or said(name, error)
        finally:
            for left in running:  # nobody waits for them any more
                with suppress(Exception):
                    ray.cancel(left, force=True)
        if failed is not None:
            raise failed

    def _ahead(self) -> int:
        """Tasks given out at once: enough that no CPU waits and that a cluster sees what it may grow for."""
        return 2 * max(1, int(self._ray.cluster_resources().get("CPU", 1)))


def _lost(name: str, error: Exception, ray: Any) -> BaseException:
    """Of a task that gave no answer."""
    if isinstance(error, ray.exceptions.RayTaskError):  # what cannot be sent back as it is
        return said(name, RuntimeError(str(error)))
    return died(name)


def _work(work: Callable[[Any], Any], shard: Any) -> tuple[Any, BaseException | None]:
    """On the worker: (value, error). Errors come back as values, so that they keep their type."""
    try:
        return work(shard), None
    except Exception as e:
        return None, e


def _import() -> Any:
    try:
        import ray
    except ModuleNotFoundError as e:
        raise UserError("--engine ray needs Ray: pip install 'ple-scope[cluster]'") from e
    return ray
