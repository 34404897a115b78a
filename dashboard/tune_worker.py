"""The worker (`dashboard.worker`) of studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dashboard import worker
from dashboard.tune_jobs import TuneStore


def main(words: Sequence[str]) -> int:
    """`--detach ROOT JOB` starts the worker and ends; `ROOT JOB` is the worker."""
    if words[0] == "--detach":
        return worker.main(words, "dashboard.tune_worker")
    return worker.work(TuneStore(Path(words[0])), words[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
