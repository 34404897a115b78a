"""Two starts of one run at the same moment: one trains, the other is refused in a sentence and touches nothing of it.

Two kinds: two `ple train` into one folder, released together by a barrier, and two servers' `JobStore.start` of one run.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dashboard.jobs import JobStore, Training
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import load_run
from ple_model.train import Options, train
from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.process import load_optimizers
from tests.fakes import make_dataset, tiny_config

CONFIG = {"training": {"phase1_epochs": 1, "phase2_epochs": 0}}


def together(works: list[Callable[[], str]], folder: Path) -> list[str]:
    """What each of the works, started in processes of their own at one moment, came to."""
    go, children = time.monotonic() + 0.2, []
    for number, work in enumerate(works):
        child = os.fork()
        if child == 0:
            said = "died"
            try:
                while time.monotonic() < go:
                    pass
                said = work()
            except UserError as e:
                said = f"refused: {e}"
            except BaseException as e:
                said = f"{type(e).__name__}: {e}"
            finally:
                (folder / f"said-{number}").write_text(said)
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return [(folder / f"said-{number}").read_text() for number in range(len(works))]


def _judged(case: str, said: list[str], rest: str) -> Outcome:
    refused = [s for s in said if s.startswith("refused: ")]
    right = len(refused) == len(said) - 1 and said.count("done") == 1
    return Outcome(case, "right" if right and not rest else "wrong", "; ".join([*said, rest])[:400])


def trainings(base: Path, rng: random.Random, races: int) -> Iterator[Outcome]:
    dataset = make_dataset(base / "data", train=64, validation=32, test=32)
    load_optimizers()

    def one(run: Path, seed: int, pause: float) -> str:
        import torch

        torch.set_num_threads(1)
        time.sleep(pause)
        config = tiny_config({"training": {**CONFIG["training"], "seed": seed}})
        train(Dataset.open(dataset.path), run, config, options=Options(device="cpu", sample_customers=20))
        return "done"

    for number in range(races):
        folder = base / f"race-{number}"
        folder.mkdir()
        run, pauses = folder / "run", (0.0, rng.choice((0.0, 0.0, 0.002, 0.02, 0.1)))
        said = together([lambda s=s, p=p, r=run: one(r, s, p) for s, p in enumerate(pauses)], folder)
        rest = [p.name for p in folder.iterdir() if p.name != "run" and not p.name.startswith("said-")]
        if "done" in said:
            whole = load_run(run)
            if whole.manifest.status != "finished" or whole.manifest.seed != said.index("done"):
                rest.append(f"{whole.manifest.status}, seed {whole.manifest.seed}")
        yield _judged(f"train {number}", said, ", ".join(rest))


def jobs(base: Path, races: int) -> Iterator[Outcome]:
    for number in range(races):
        folder = base / f"jobs-{number}"
        folder.mkdir()
        store = JobStore(folder / "state", worker="tests.drills.idle")

        def one(store: JobStore = store, folder: Path = folder) -> str:
            store.start(Training(folder / "data", folder / "run"))
            return "done"

        said = together([one] * 3, folder)
        yield _judged(f"jobs {number}", said, "" if len(store.jobs()) == 1 else f"{len(store.jobs())} jobs")


def drill(seed: int = 0, races: int = 8) -> Report:
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        base, report = Path(scratch), Report("races", seed)
        return report.add(trainings(base, random.Random(seed), races)).add(jobs(base, races))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("races", drill, 8)
