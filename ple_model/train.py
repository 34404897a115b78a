"""Training of PLE-Cluster-adaTT in two phases (reference, "Training").

- Phase 1 trains everything; phase 2 everything but the shared experts, which are in eval mode and out of the optimizer. A phase
  starts from the best weights so far, with a fresh optimizer and schedule.
- AdamW, a cosine schedule (stepped every batch; `schedule.py`), gradient clipping, fp16 on a GPU. The sparse autoencoder has
  its own parameter group and clipping: its input is detached, so neither its scale nor its gradient touches the model.
- Epochs count from 1. At the **end** of `adatt.freeze_epoch` the adaTT coefficients and the CGC gates become constants.
- Early stopping per phase on the mean over tasks of validation loss / constant-predictor loss. The evidential terms are left
  out: the ramp of their KL would trip it.
- With `direct_path.blend` an epoch's end chooses how much every task takes of what is added to its map (`blend.py`), and the
  epoch is judged with it.
- The state is saved at the end of each epoch and every `checkpoint_seconds`, so that a killed training resumes exactly.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from ple_model.config import Config
from ple_model.data.dataset.reader import Dataset
from ple_model.distill.teacher import Teacher
from ple_model.encoder_start import EncoderStart
from ple_model.errors import UserError
from ple_model.new_run import create_run
from ple_model.progress import Callback
from ple_model.run import Run, load_run, lock_path
from ple_model.start_from import StartFrom
from ple_model.training.pause import NAME as PAUSE
from ple_model.training.pause import forget
from ple_model.training.ranks import ONE, Ranks
from ple_model.training.session import Options, Stop
from ple_model.training.trainer import Trainer, drop_checkpoint

__all__ = ["EncoderStart", "Options", "StartFrom", "Stop", "Teacher", "train"]


def train(
    dataset: Dataset,
    run_dir: Path | str,
    config: Config,
    *,
    preset: str = "custom",
    resume: bool = False,
    device: str | None = None,
    progress: Callback | None = None,
    stop: Stop | None = None,
    options: Options | None = None,
    start: StartFrom | None = None,
    teacher: Teacher | None = None,
    encoder: EncoderStart | None = None,
    ranks: Ranks = ONE,
) -> Run:
    """Train a run folder to its end, or until `stop()` is true or a file `state/stop` appears; then the run can be resumed.

    With `resume` a run that is there goes on under its own config; one that is not is started, and a finished one is
    returned as it is. With `start` a new run begins with the weights of another, with `teacher` it learns from the outputs of
    another (`ple_model.distill`), and a resumed one does where they are not all kept yet; with `encoder` its temporal expert
    starts from a pre-trained one. `device` is that of `options` unless
    it is given. `ranks`: the processes that train together (`training.processes.group`), each of which calls this alike; the
    first one alone writes the run's files, and hears `progress`, which receives each line of progress.jsonl as a dict.
    `UserError` if the device is not there, if the folder is taken, if another process trains it, if the data is not the run's,
    if the weights to start from or the teacher do not fit, or if the loss stays without a finite value.
    """
    run_dir, began = Path(run_dir), time.time()
    options = options or Options()
    options = options if device is None else dataclasses.replace(options, device=device)
    ranks.listen(stop or (lambda: False))
    new = not ranks.first_does((run_dir / "manifest.json").exists)
    ranks.each_does(lambda: ranks.device(options.device, "cuda" if new else "cpu"))  # of a new run `auto` takes a GPU
    if len(read := {text[:12] for text in ranks.told(dataset.manifest.fingerprint)}) > 1:
        raise UserError(f"{dataset.path} is not the same dataset in all processes: fingerprints {', '.join(sorted(read))}")
    lock = FileLock(lock_path(run_dir))

    def ready() -> bool:
        """Whether there is anything to train; of one process for all."""
        exists = (run_dir / "manifest.json").exists()
        if exists and not resume:
            raise UserError(f"{run_dir} already holds a run; --resume goes on with it, or choose another folder")
        if not exists:
            ranks.require(config)
            create_run(
                dataset, run_dir, config, preset=preset, device=options.device, start=start, teacher=teacher, encoder=encoder,
                world_size=ranks.world,
            )  # fmt: skip
        run = load_run(run_dir)
        if teacher is not None:
            teacher.require_taught(run)
        if run.manifest.status == "finished":
            drop_checkpoint(run_dir)  # of a training that was killed after its last word
            return False
        if dataset.manifest.fingerprint != run.manifest.data.fingerprint:
            raise UserError(
                f"{dataset.path} is not the dataset of {run_dir}: fingerprint {dataset.manifest.fingerprint[:12]}, "
                f"the run was started on '{run.manifest.data.name}' {run.manifest.data.fingerprint[:12]}"
            )
        (run_dir / "state").mkdir(exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as e:
            raise UserError(f"{run_dir} is being trained by another process") from e
        _sweep(run_dir, began if options.began is None else options.began)
        return True

    try:
        if not ranks.first_does(ready):
            return load_run(run_dir)
        with torch.random.fork_rng():
            heard = progress if ranks.first else None
            return Trainer(load_run(run_dir), dataset, options, heard, stop, teacher, ranks).run_to_end()
    finally:
        lock.release()


def _sweep(run_dir: Path, since: float) -> None:
    """Remove what a killed training left half written, and files that asked the last one to stop or to stand still. Only
    under the lock."""
    for asked in ("stop", PAUSE):
        forget(run_dir / "state" / asked, since)
    for folder in (run_dir, run_dir / "state", run_dir / "preprocess"):
        for torn in folder.glob(".*.tmp"):
            if not torn.name.startswith(f".{PAUSE}."):  # the app may be writing it just now
                torn.unlink(missing_ok=True)
