"""Commands of `ple` in forked children of this process: torch is imported once, a kill or a limit takes nothing else down."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, or the signal that killed it; what it wrote on stderr and stdout."""

    code: int | None
    signal: int | None
    said: str
    seconds: float

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.said


def start(words: Sequence[str], log: Path, *, file_limit: int | None = None) -> int:
    """Start `ple words` in a child with one thread of torch; its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        if file_limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        import torch

        from ple_model.cli import main

        torch.set_num_threads(1)
        code = main(list(words))
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(child: int, log: Path, seconds: float = 300.0) -> Ended:
    """Wait for the child; one that takes longer is killed and counts as killed by SIGALRM."""
    began = time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - began > seconds:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            status = signal.SIGALRM
            break
        time.sleep(0.01)
    said = log.read_text(errors="replace") if log.exists() else ""
    took = time.monotonic() - began
    if os.WIFSIGNALED(status):
        return Ended(None, os.WTERMSIG(status), said, took)
    return Ended(os.WEXITSTATUS(status), None, said, took)


def ple(words: Sequence[str], log: Path, *, file_limit: int | None = None) -> Ended:
    return wait(start(words, log, file_limit=file_limit), log)


def load_optimizers() -> None:
    """What torch imports with the first optimizer of a process (three seconds), once instead of in every child."""
    import torch

    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])


def warm_up() -> None:
    """Import what children need, once."""
    load_optimizers()
    import ple_model.data.build.build
    import ple_model.data.synth
    import ple_model.predict
    import ple_model.train  # noqa: F401
