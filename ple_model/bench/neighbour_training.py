"""What a process of `ple bench neighbour` does: its threads are settled, torch is loaded, it trains whenever it is asked to.

Apart from the benchmark, which loads torch: OpenMP reads its environment once.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from ple_model.threads import one_thread_each, settle, take_back

BATCH = 64
PROCESSES = 2
"""Of a pool."""


class NeighbourWork:
    """Steps of a training of `small`, taken until a moment."""

    def __init__(self, threads: int) -> None:
        import torch  # late: after the threads are settled

        from ple_model.bench.customers import context, customers  # late: torch
        from ple_model.bench.whole import train_step  # late: torch
        from ple_model.config import load_config  # late: torch
        from ple_model.model import PLEClusterAdaTT  # late: torch

        torch.set_flush_denormal(True)
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self._step = train_step(PLEClusterAdaTT(load_config("small"), context()).train(), customers(BATCH))

    def __call__(self, seconds: float) -> float:
        """Samples a second."""
        began, steps = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds or not steps:
            self._step()
            steps += 1
        return steps * BATCH / spent


_WORK: list[NeighbourWork] = []


def _join() -> None:
    take_back()
    _WORK.append(NeighbourWork(1))


def _pooled(seconds: float) -> float:
    return _WORK[0](seconds)


def serve(threads: int, *, settles: bool, pool: bool) -> None:
    """Measure whenever a line with seconds arrives. `settles`: as `ple train` does it; `pool`: two processes as a build's."""
    settle()  # as every command of `ple`
    if settles:
        settle(threads, bind=True)
    with ExitStack() as stack:
        if pool:
            stack.enter_context(one_thread_each())
            those = stack.enter_context(ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"), initializer=_join))
            for line in sys.stdin:
                print(sum(those.map(_pooled, [float(line)] * PROCESSES)), flush=True)
        else:
            work = NeighbourWork(threads)
            for line in sys.stdin:
                print(work(float(line)), flush=True)
