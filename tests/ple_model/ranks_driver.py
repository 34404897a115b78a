"""Run by test_ranks in its own process: trainings by one process and by two, disturbed and not; prints what is left as JSON.

Each process of a training is a forked child of this one, as in `resume_driver`; the children find each other on loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ple_model import cli
from ple_model.config import Config
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run, load_run
from ple_model.train import Options, train
from ple_model.training import pause, trainer
from ple_model.training.processes import group
from tests.drills.process import load_optimizers
from tests.factories import random_context
from tests.fakes import BRANDS, make_batch, tiny_config
from tests.ple_model.resume_driver import TIMES, die, killed_at_step

RARE = {"churn": 4, "ltv": 5, "nba": 6, "brand_prediction": 3}
"""Task -> its labels of the training split: most batches have none of them, the others mostly in one process alone."""
STILL: dict[str, Any] = {
    "sae": {"activation": "batchtopk"},
    "global": {"dropout": 0.0, "expert_dropout": 0.0},
    "direct_path": {"dropout": 0.0, "column_dropout": 0.0, "path_dropout": 0.0, "start": "fitted", "blend": "validation"},
}
"""Nothing is drawn; the map is fitted, and its shares are chosen."""
SHORT: dict[str, Any] = {
    "adatt": {"warmup_epochs": 0, "freeze_epoch": 1}, "training": {"batch_size": 16, "phase1_epochs": 1, "phase2_epochs": 1},
}  # fmt: skip
KEPT = ("sae.mean", "sae.var", "sae.threshold", "sae.idle_steps")
OPTIONS = Options(device="cpu", checkpoint_steps=2)
Stop = Callable[[], bool]


def uneven_dataset(folder: Path, validation: int) -> Dataset:
    """Four batches of 16 training rows, the last one of a single row; in each split of more than 8 one row is no number."""
    parts = []
    for split, rows, seed in (("train", 49, 0), ("validation", validation, 100), ("test", 20, 200)):
        part = make_batch(rows, split, ("2025-03-01",), seed)
        labels = dict(part.inputs.targets or {})
        if split == "train":
            for task, few in RARE.items():
                labels[task] = labels[task].clone()
                labels[task][few:] = torch.nan if labels[task].is_floating_point() else -1
        inputs = replace(part.inputs, targets=labels)
        assert inputs.txn_seq is not None
        inputs.txn_seq[8:9, -1, 0] = torch.nan
        parts.append(replace(part, inputs=inputs))
    context = replace(random_context(0, brands=BRANDS), label_scalers={})
    return write_dataset(folder, parts, context=context, name="uneven", group_rows=16)


class Drive:
    """Trainings of one dataset under `out`."""

    def __init__(self, out: Path, validation: int = 43) -> None:
        self.out = out
        uneven_dataset(out / "data", validation)

    def training(self, name: str, config: Config, stop: Stop | None = None) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        with group() as ranks:
            train(
                Dataset.open(self.out / "data"), self.out / name, config, resume=True, options=OPTIONS, stop=stop, ranks=ranks
            )

    def together(self, world: int, name: str, config: Config, stops: dict[int, Callable[[], Stop]] | None = None) -> list[int]:
        """Exit codes by rank: 0, 1 for an error, minus the signal that killed it. `stops`: by rank what makes its `stop`."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return _ended([_forked(lambda r=rank: self._one(r, world, port, name, config, stops or {})) for rank in range(world)])

    def _one(self, rank: int, world: int, port: int, name: str, config: Config, stops: dict[int, Callable[[], Stop]]) -> None:
        if world > 1:
            said = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
            os.environ |= {k: str(v) for k, v in said.items()} | {"MASTER_ADDR": "127.0.0.1"}
            _note_writes(self.out / f"written by {'others' if rank else 'the first'}", self.out / name)
        self.training(name, config, stops[rank]() if rank in stops else None)

    def by_torchrun(self, name: str, config: Config) -> str:
        """What `ple train` says where torchrun's agent starts it twice and the second process dies after its first step."""
        (self.out / "tiny.yaml").write_text(config.to_yaml())
        words = [
            "train",
            str(self.out / "data"),
            str(self.out / name),
            "--config",
            str(self.out / "tiny.yaml"),
            "--no-baselines",
        ]
        agent = LaunchConfig(1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, start_method="fork")
        log = self.out / f"{name}.log"
        try:
            elastic_launch(agent, _dying_second)([*words, "--threads", "1"], str(log))
        except ChildFailedError:
            return log.read_text()
        return "nobody died"


def _dying_second(words: list[str], log: str) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # forked: it has the agent's handler, which raises
    heed = trainer.Trainer._heed

    def dying(self: trainer.Trainer, save: bool = False) -> None:
        if os.environ["RANK"] == "1":
            die()
        heed(self, save)

    trainer.Trainer._heed = dying  # type: ignore[method-assign]
    sys.exit(cli.main(words))


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except UserError as e:
            print(f"{type(e).__name__}: {e}", file=sys.stderr, flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    return child


def _ended(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]


def _note_writes(into: Path, run: Path) -> None:
    """From now on this process notes each file of the run that it opens to write, makes, renames or removes."""
    log = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hear(event: str, given: tuple[Any, ...]) -> None:
        writing = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writing or event in ("os.rename", "os.remove", "os.mkdir", "os.truncate")) and str(run) in str(given[:2]):
            os.write(log, f"{event} {given[:2]}\n".encode())

    sys.addaudithook(hear)


def asks(n: int) -> Stop:
    """A `stop` that is true from the n-th time on that it is asked."""
    left = [n]

    def stop() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return stop


def stands_still(run: Path, n: int) -> Stop:
    """A `stop` that asks for a pause at the n-th time; it is lifted at the third look."""
    left, looks, asked = [n], [3], run / "state" / pause.NAME

    def stop() -> bool:
        left[0] -= 1
        if left[0] == 0:
            asked.touch()
        return False

    def sleep(seconds: float) -> None:
        looks[0] -= 1
        if looks[0] == 0:
            asked.unlink()

    pause.time = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)  # type: ignore[assignment]
    return stop


def fails(n: int) -> Stop:
    left = [n]

    def stop() -> bool:
        left[0] -= 1
        if left[0] == 0:
            raise UserError("a label of these rows is out of range")
        return False

    return stop


def left(run: Path) -> dict[str, Any]:
    """What there is of a run now."""
    found = load_run(run)
    lines = found.progress()
    weights = run / "model.safetensors"
    return {
        "status": found.manifest.status, "reason": found.manifest.reason, "warnings": found.manifest.warnings,
        "world_size": found.manifest.world_size, "command": found.manifest.command,
        "state": sorted(p.name for p in (run / "state").iterdir()),
        "events": [line["event"] for line in lines],
        "epochs": [{k: v for k, v in line.items() if k not in TIMES} for line in lines if line["event"] == "epoch"],
        "autoencoder": _autoencoder(weights) if weights.exists() else None,
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None,
    }  # fmt: skip


def _autoencoder(weights: Path) -> dict[str, list[float]]:
    """What it keeps of all batches."""
    return {k: v.double().flatten().tolist() for k, v in load_file(weights).items() if k in KEPT}


def _taken(
    drive: Drive, found: dict[str, Any], scenario: str, world: int, name: str, config: Config,
    stops: dict[int, Callable[[], Stop]] | None = None,
) -> None:  # fmt: skip
    codes = drive.together(world, name, config, stops)
    found[scenario] = {"codes": codes, **left(drive.out / name)}


def _noting(end: Callable[[trainer.Trainer], Run]) -> Callable[[trainer.Trainer], Run]:
    """`run_to_end`, after which the state of each process's model lies beside the run."""

    def noted(self: trainer.Trainer) -> Run:
        rank, run, h = self.ranks.rank, end(self), hashlib.sha256()
        for name, value in self.model.state_dict().items():
            h.update(name.encode() + value.cpu().numpy().tobytes())
        run.path.with_name(f"{rank}.{run.path.name}.state").write_text(h.hexdigest())
        return run

    return noted


def main(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    load_optimizers()
    trainer.Trainer.run_to_end = _noting(trainer.Trainer.run_to_end)  # type: ignore[method-assign]
    trainer.finish = lambda run, *_, **__: (run / "metrics.json").write_text("{}") and ()  # type: ignore[assignment]
    drive = Drive(out)
    still, drawing = tiny_config({**STILL, **SHORT}), tiny_config(SHORT)

    take = partial(_taken, drive, found)
    for world in (1, 2):
        take(f"still {world}", world, f"still-{world}", still)
    take("whole", 2, "whole", drawing)
    run = out / "disturbed"
    take("stopped", 2, run.name, drawing, {1: lambda: asks(2)})
    shutil.copytree(run, out / "fewer")
    take("died", 2, run.name, drawing, {1: lambda: killed_at_step(4)})
    take("resumed", 2, run.name, drawing, {0: lambda: stands_still(run, 2)})
    take("fewer", 1, "fewer", drawing)
    take("failed", 2, "failed", drawing, {1: lambda: fails(2)})
    take("first died", 2, "failed", drawing, {0: lambda: killed_at_step(2)})
    found["torchrun"] = {"said": drive.by_torchrun("torchrun", still), **left(out / "torchrun")}
    few, small = Drive(out / "few", validation=2), tiny_config({**STILL, "training": {"batch_size": 2}})
    take = partial(_taken, few, found)
    take("three failed", 3, "failed", still, {0: lambda: fails(1)})
    take("three stopped", 3, "three", still, {0: lambda: asks(1)})
    take("three", 3, "three", still)
    take("small", 1, "small", small, {0: lambda: asks(1)})
    take("too small", 3, "small", small)
    found["three"]["states"] = [p.read_text() for p in few.out.glob("*.three.state")]
    for who in ("the first", "others"):
        found[f"written by {who}"] = (out / f"written by {who}").read_text()
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
