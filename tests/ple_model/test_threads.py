"""Threads are settled where a process starts, and what a bound process starts is not bound with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ple_model import threads

SCRIPT = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from ple_model.threads import one_thread_each, settle, take_back
if __name__ == "__main__":
    settle(2, bind=True)
    assert os.environ["OMP_PROC_BIND"] == "close"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # what OpenMP does to the thread that loads it
    with one_thread_each(), ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=take_back) as pool:
        print(len(pool.submit(os.sched_getaffinity, 0).result()))
        print(pool.submit(os.getenv, "OMP_PROC_BIND").result())
    print(os.environ["OMP_PROC_BIND"])
    settle()  # as a command does that this process starts
    print(len(os.sched_getaffinity(0)), os.environ.get("OMP_PROC_BIND"))
"""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this process's own settings, and they are as before when the test is over."""
    for name in ("OMP_PROC_BIND", "OMP_NUM_THREADS", *threads.WAITING, threads.BOUND, threads.CORES):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def bound() -> str | None:
    return os.environ.get("OMP_PROC_BIND")


def test_several_threads_of_a_training_are_bound_and_a_single_one_is_free_to_move() -> None:
    threads.settle(1, bind=True)
    assert bound() is None
    threads.settle(2, bind=True)
    assert bound() == "close"
    threads.settle(2)
    assert bound() is None


def test_what_the_user_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "spread")
    threads.settle(2, bind=True)
    assert bound() == "spread"
    assert threads.bound_environment(os.environ)["OMP_PROC_BIND"] == "spread"
    threads.settle(1)
    assert bound() == "spread"


def test_the_server_is_bound_and_the_commands_that_it_starts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    server = threads.bound_environment({"HOME": "/h"})
    assert server["OMP_PROC_BIND"] == "close"
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    threads.settle()
    assert bound() is None


def test_bound_threads_sleep_after_a_while_unless_the_user_said_how_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    threads.settle(2, bind=True)
    assert os.environ["GOMP_SPINCOUNT"] == str(threads.SPINS)
    threads.settle(2)
    assert "GOMP_SPINCOUNT" not in os.environ
    for name in threads.WAITING:
        with monkeypatch.context() as said:
            said.setenv(name, "7")
            threads.settle(2, bind=True)
            assert (os.environ[name], bound(), os.environ[threads.BOUND]) == ("7", "close", "OMP_PROC_BIND")
            threads.settle(2)
            assert (os.environ[name], bound()) == ("7", None)


def test_a_process_that_loaded_torch_already_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", threads)
    threads.settle(2, bind=True)
    assert bound() is None


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)
def test_processes_that_a_bound_one_starts_have_all_cores(tmp_path_factory: pytest.TempPathFactory) -> None:
    script = tmp_path_factory.mktemp("bound") / "bound.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    cores = len(os.sched_getaffinity(0))
    assert done.stdout.split("\n")[:-1] == [str(cores), "false", "close", f"{cores} None"], done.stderr
