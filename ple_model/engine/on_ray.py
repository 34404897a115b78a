"""The engine of a Ray cluster (Moritz et al. 2018): one task a shard, retried by Ray where its worker or its machine died.

Own cluster: `--address HOST:PORT` or `auto`; without an address one is started on this machine for the time of the command.
Nothing is reported to anybody: Ray's usage statistics are switched off. Functions are sent by name, so the same version of
this package must be installed on every machine (`versions` sees to it), and paths must mean the same on all of them.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from typing import Any

from ple_model.engine.base import RETRIES, Shard, Value, died, never, portable, said
from ple_model.engine.versions import OtherVersions, other_versions, own_versions, require_same
from ple_model.errors import UserError

THREADS = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


class RayEngine:
    """Tasks of one CPU each on the cluster at `address`; None: one of `workers` CPUs on this machine. Nothing is started or
    joined before there is a shard."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        self._ray = _import()
        self._workers, self._address, self._owner = workers, address, False
        self._stdout = redirect_stdout(_ToStderr())

    def _join(self) -> None:
        if self._ray.is_initialized():
            return
        own = {"num_cpus": self._workers, "include_dashboard": False}
        where: dict[str, Any] = {"address": self._address} if self._address else {"address": "local", **own}
        before = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(**where, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": THREADS})
        except (ConnectionError, ValueError, RuntimeError) as e:
            place = f"--address: no Ray cluster answers at '{self._address}'" if self._address else "Ray does not start here"
            raise UserError(f"{place}: {e}") from e
        if callable(before):  # Ray puts its own in the place of a handler that asks the work to stop
            signal.signal(signal.SIGTERM, before)
        self._owner = True
        self._stdout.__enter__()  # Ray tells of dead workers there, where a command's result is read
        if self._address:
            require_same_everywhere(self._ray)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._owner:
            self._ray.shutdown()
            self._stdout.__exit__(None, None, None)

    def run(
        self, work: Callable[[Shard], Value], shards: Mapping[str, Shard], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Value]]:
        """See `ShardEngine.run`."""
        if not shards:
            return
        self._join()
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_work)
        waiting = deque(shards)
        running: dict[Any, str] = {}
        failed: BaseException | None = None
        try:
            while running or (waiting and failed is None):
                if waiting and stopped():
                    waiting.clear()
                    continue
                while waiting and failed is None and len(running) < self.at_once():
                    name = waiting.popleft()
                    running[task.options(name=f"shard {name}").remote(own_versions(), work, shards[name])] = name
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

    def at_once(self) -> int:
        """The CPUs of the cluster, as many as it has now: no more tasks are given out, since none may begin after one has
        failed."""
        self._join()
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))


class _ToStderr(io.TextIOBase):
    """Whatever standard error is when something is written."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)


def require_same_everywhere(ray: Any) -> None:
    """`OtherVersions` where a machine of the cluster that has CPUs runs something else than this process."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On  # late: an extra

    ask = ray.remote(num_cpus=0, max_retries=0)(_versions)
    nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
    asked = [(n["NodeManagerHostname"], ask.options(scheduling_strategy=On(n["NodeID"], soft=False)).remote()) for n in nodes]
    for host, answer in asked:  # two nodes may have one name
        try:
            found = other_versions(own_versions(), ray.get(answer))
        except ray.exceptions.RayTaskError as e:
            raise OtherVersions(f"--address: {host} has another version of ple-scope, or none: {type(e.cause).__name__}") from e
        except ray.exceptions.RayError:
            continue  # gone since, or full: what is given to it is tried again elsewhere
        if found is not None:
            raise OtherVersions(f"--address: {found} on {host}; install the same on every machine of the cluster")


def _lost(name: str, error: Exception, ray: Any) -> BaseException:
    """Of a task that gave no answer."""
    e = ray.exceptions
    if isinstance(error, e.WorkerCrashedError | e.NodeDiedError | e.OutOfMemoryError):
        return died(name)
    return UserError(f"shard {name}: Ray could not run it: {type(error).__name__}: {' '.join(str(error).split())[:400]}")


def _work(versions: Mapping[str, str], work: Callable[[Any], Any], shard: Any) -> tuple[Any, BaseException | None]:
    """On the worker: (value, error). Errors come back as values, so that they keep their type."""
    try:
        require_same(versions)
        return work(shard), None
    except Exception as e:
        return None, portable(e)


def _versions() -> dict[str, str]:
    """On the worker."""
    return own_versions()


def _import() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # of a cluster that is started here; Ray's own is without end
    try:
        import ray  # late: an extra
    except ModuleNotFoundError as e:
        raise UserError("--engine ray needs Ray: pip install 'ple-scope[cluster]'") from e
    return ray
