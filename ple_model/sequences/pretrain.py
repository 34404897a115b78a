"""Pre-training of an encoder on the training customers' inputs before their cut-off; labels are never read.

Early stopping on the loss of the validation customers, whose masks and crops are the same in every epoch. The state is saved at
the end of each epoch and every `checkpoint_seconds` (`ple_model.checkpoint`), so that a stopped or killed training resumes
exactly. AdamW; the rate rises over the first steps and falls along a cosine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from ple_model.checkpoint import Checkpoint, Position, load_checkpoint, restore_rng, rng_states, save_checkpoint
from ple_model.data.dataset.reader import Dataset
from ple_model.device import machine, pick_device, same_device
from ple_model.disk import DiskFull, disk_full, is_disk_full
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.files import load_weights, write_json
from ple_model.memory import fits_memory
from ple_model.new_run import now
from ple_model.progress import Callback, ProgressWriter
from ple_model.provenance import code_commit, library_versions
from ple_model.run import lock_path
from ple_model.sequences.config import DAILY, PretrainConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderManifest, EncoderRun, load_encoder, write_encoder, write_encoder_config
from ple_model.sequences.objectives import Pretraining, require_patches
from ple_model.sequences.series import SEQUENCE_FIELDS, series_of
from ple_model.staging import staged_folder
from ple_model.training.feed import on_device
from ple_model.training.session import Options, Stop, Stopped

STEP_SECONDS = 0.5
"""Between step lines of progress.jsonl at least."""


def pretrain(
    dataset: Dataset,
    run_dir: Path,
    config: PretrainConfig,
    *,
    resume: bool = False,
    progress: Callback | None = None,
    stop: Stop | None = None,
    options: Options | None = None,
) -> EncoderRun:
    """Train an encoder run to its end, or until `stop()` is true; then it can be resumed.

    With `resume` a run that is there goes on under its own config. `UserError` if the folder is taken, if the dataset is
    another one or lacks the sequence, or if another process trains it.
    """
    options = options or Options()
    exists = (run_dir / "manifest.json").exists()
    if exists and not resume:
        raise UserError(f"{run_dir} already holds a run; --resume goes on with it, or choose another folder")
    if not exists:
        _create(dataset, run_dir, config, options)
    run = load_encoder(run_dir)
    if run.manifest.status == "finished":
        return run
    if dataset.manifest.fingerprint != run.manifest.fingerprint:
        raise UserError(
            f"{dataset.path} is not the dataset of {run_dir}: fingerprint {dataset.manifest.fingerprint[:12]}, "
            f"the run was started on '{run.manifest.dataset}' {run.manifest.fingerprint[:12]}"
        )
    (run_dir / "state").mkdir(exist_ok=True)
    try:
        with FileLock(lock_path(run_dir)).acquire(timeout=0), torch.random.fork_rng():
            return _Pretrainer(run, dataset, options, progress, stop or (lambda: False)).run_to_end()
    except Timeout as e:
        raise UserError(f"{run_dir} is being trained by another process") from e


def require_sequence(dataset: Dataset, field: str) -> None:
    """`UserError` where the dataset has no such series, or no customer to train on and to judge by."""
    have = [f for f in SEQUENCE_FIELDS if f in dataset.manifest.fields and dataset.manifest.presence.get(f, 1.0) > 0]
    if field not in have:
        others = f"; it has {', '.join(have)}: --set training.sequence={have[0]}" if have else ""
        raise UserError(f"{dataset.path} has no series '{field}' to learn from{others}")
    for split in ("train", "validation"):
        if dataset.rows(split) == 0:
            raise UserError(f"{dataset.path} has no rows in its {split} split; a pre-training needs them")


def _create(dataset: Dataset, run_dir: Path, config: PretrainConfig, options: Options) -> None:
    """A run folder that is ready to train, put in place by one rename."""
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(f"{run_dir} is not empty and holds no run; choose another folder")
    field = config.training.sequence
    require_sequence(dataset, field)
    length, channels = FIELD_SHAPES[field]
    require_patches(config.encoder, length)
    if config.encoder.outlook == "on" and field != DAILY:
        raise UserError(
            f"encoder.outlook: on is not valid for {field}: a session says how many days before the cut-off it was, which "
            f"gives away what came after it; it takes {DAILY}"
        )
    with fits_memory("an encoder of this config"):
        encoder = SequenceEncoder(config.encoder, channels, length)  # a configuration that gives no encoder is refused here
    with staged_folder(run_dir) as fresh:
        (fresh / "state").mkdir()
        write_encoder_config(fresh, config)
        write_json(fresh / "state" / "dataset.json", {"path": str(dataset.path.resolve())})
        EncoderManifest(
            status="running", created=now(), channels=channels, length=length, dataset=dataset.manifest.name,
            fingerprint=dataset.manifest.fingerprint,
            customers={split: dataset.rows(split) for split in ("train", "validation")},
            versions=library_versions(), parameters=sum(p.numel() for p in encoder.parameters()),
            device=pick_device(options.device).type, threads=torch.get_num_threads(), command=options.command,
            commit=code_commit(),
        ).save(fresh)  # fmt: skip


class _Pretrainer:
    """One pre-training, from where its checkpoint stands to its end."""

    def __init__(self, run: EncoderRun, dataset: Dataset, options: Options, progress: Callback | None, stop: Stop) -> None:
        self.run, self.dataset, self.options, self._stop = run, dataset, options, stop
        self.config, self.manifest = run.training, run.manifest
        self.device = same_device(options.device, run.manifest.device)
        torch.manual_seed(self.config.seed)
        with fits_memory("an encoder of this config"):
            self.model = Pretraining(SequenceEncoder(run.config, run.channels, run.length)).to(self.device)
        self.optimizer = torch.optim.AdamW(_groups(self.model, self.config.weight_decay), lr=self.config.learning_rate)
        self.steps = -(-dataset.rows("train") // self.config.batch_size)
        self.best: dict[str, Tensor] = {}
        self.sum = torch.zeros(2, dtype=torch.float64, device=self.device)
        """Losses of the epoch in progress and their number."""
        saved = load_checkpoint(run.path / "state")
        self.position = Position() if saved is None else saved.position
        if saved is not None:
            self._restore(saved)
        size = None if saved is None else saved.position.progress_size
        self.log = ProgressWriter(run.path / "progress.jsonl", size=size, callback=progress)
        self._began, self._before, self._last_save = time.monotonic(), self.position.worked, time.monotonic()
        self._told = 0.0

    def run_to_end(self) -> EncoderRun:
        p = self.position
        try:
            self._begin()
            while p.epoch <= self.config.epochs and p.since_best < self.config.patience:
                self._epoch()
                self._checkpoint()
                self._check_stop()
            # the log first: killed after it, the run goes on from its checkpoint and cuts the log back to it
            self.log.write("finished", epochs=p.epoch - 1, best=p.best, best_epoch=p.best_epoch, seconds=self._worked())
            self._save_manifest(status="finished", finished=now())
            (self.run.path / "state" / "checkpoint.safetensors").unlink(missing_ok=True)
        except Stopped:
            self._save_manifest(status="stopped", reason="asked to stop")
            self.log.write("stopped", epoch=p.epoch, step=p.step)
        except Exception as e:
            error = disk_full(e, self.run.path) if is_disk_full(e) else e
            with contextlib.suppress(DiskFull, OSError):
                self._save_manifest(status="failed", reason=" ".join(str(error).split()) or type(error).__name__)
                self.log.write("failed", reason=str(error))
            if error is not e:
                raise error from e
            raise
        finally:
            self.log.close()
        return load_encoder(self.run.path)

    def _begin(self) -> None:
        p = self.position
        self._save_manifest(status="running", finished=None, reason=None, device=self.device.type, machine=machine(self.device))
        if p.total_steps:
            self.log.write("resumed", epoch=p.epoch, step=p.step)
        else:
            self.log.write(
                "start", parameters=self.manifest.parameters, rows=self.manifest.customers, max_epochs=self.config.epochs,
                steps_per_epoch=self.steps, batch_size=self.config.batch_size, objective=self.run.config.objective,
                sequence=self.config.sequence, device=self.device.type,
            )  # fmt: skip

    # --- one epoch

    def _epoch(self) -> None:
        p, c = self.position, self.config
        self.model.train()
        began, first, before = time.monotonic(), p.step, p.seconds
        batches = self.dataset.batches(
            "train", c.batch_size, shuffle=True, seed=c.seed, epoch=p.epoch, start=p.step, fields=[c.sequence]
        )
        for inputs in on_device(batches, self.device):
            self._step(sum(self.model(series_of(inputs, c.sequence)).values(), self.sum.new_zeros(())))
            p.step += 1
            p.total_steps += 1
            p.seconds = before + time.monotonic() - began
            self._tell_step(p.step - first, time.monotonic() - began)
            if p.step < self.steps:
                if self._due():
                    self._checkpoint()
                self._check_stop()
        p.total_seconds += p.seconds
        self._end_of_epoch()

    def _step(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._factor()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        if not bool(torch.isfinite(norm)):
            self._refuse_step()
        self.optimizer.step()
        self.sum += torch.stack([loss.detach().double(), torch.ones_like(self.sum[0])])

    def _refuse_step(self) -> None:
        p = self.position
        raise UserError(
            f"epoch {p.epoch}, step {p.step + 1}: the loss or its gradient was not finite; lower training.learning_rate or "
            f"look at the inputs with `ple validate`"
        )

    def _factor(self) -> float:
        """Of the rate: a rise over the first steps, then a cosine to zero at the last epoch's end."""
        share = self.position.total_steps / max(1, self.steps * self.config.epochs)
        rise = min(1.0, max(0.01, share / self.config.warmup)) if self.config.warmup else 1.0
        return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def _end_of_epoch(self) -> None:
        p = self.position
        found = self.validation()
        valid = sum(found.values())
        better = math.isfinite(valid) and (p.best is None or valid < p.best)
        if better or not self.best:
            p.best, p.best_epoch, p.since_best = valid if better else None, p.epoch, 0
            self.best = {k: v.detach().cpu().clone() for k, v in self.model.encoder.state_dict().items()}
            self._write_best()
        else:
            p.since_best += 1
        total, count = self.sum.tolist()
        self.log.write(
            "epoch", epoch=p.epoch, steps=self.steps, loss=total / max(1.0, count), validation=valid, losses=found, best=better,
            seconds=round(p.seconds, 2), samples_per_s=self.dataset.rows("train") / max(1e-9, p.seconds),
            eta_s=(self.config.epochs - p.epoch) * self._worked() / p.epoch,
        )  # fmt: skip
        p.epoch += 1
        p.step, p.seconds = 0, 0.0
        self.sum.zero_()

    @torch.no_grad()
    def validation(self) -> dict[str, float]:
        """Mean losses by name on the validation customers, with the same masks and crops every time."""
        self.model.eval()
        total: dict[str, Tensor] = {}
        rows = 0
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed)
            batches = self.dataset.batches("validation", self.config.batch_size, fields=[self.config.sequence])
            for inputs in on_device(batches, self.device):
                for name, loss in self.model(series_of(inputs, self.config.sequence)).items():
                    total[name] = total.get(name, torch.zeros_like(loss)) + loss * len(inputs)
                rows += len(inputs)
        return {name: float(value) / rows for name, value in total.items()}

    def _tell_step(self, done: int, seconds: float) -> None:
        if time.monotonic() - self._told < STEP_SECONDS:
            return
        self._told = time.monotonic()
        p = self.position
        rate = done * self.config.batch_size / max(1e-9, seconds)
        left = (self.config.epochs - p.epoch + 1) * self.steps - p.step
        total, count = self.sum.tolist()
        self.log.write(
            "step", epoch=p.epoch, step=p.step, steps=self.steps, total=total / max(1.0, count), samples_per_s=rate,
            eta_s=left * self.config.batch_size / rate,
        )  # fmt: skip

    # --- state

    def _worked(self) -> float:
        return self._before + time.monotonic() - self._began

    def _save_manifest(self, **changes: Any) -> None:
        p = self.position
        spent = p.total_seconds + p.seconds
        taken = p.total_steps * self.config.batch_size
        self.manifest = dataclasses.replace(
            self.manifest, epochs=p.epoch - 1, best_epoch=p.best_epoch, best_loss=p.best, seconds=round(self._worked(), 1),
            samples_per_s=round(taken / spent, 1) if spent else None, **changes,
        )  # fmt: skip
        self.manifest.save(self.run.path)

    def _due(self) -> bool:
        every = self.options.checkpoint_steps
        due = time.monotonic() - self._last_save >= self.options.checkpoint_seconds
        return due or (every is not None and self.position.step % every == 0)

    def _check_stop(self) -> None:
        if self._stop():
            self._checkpoint()
            raise Stopped

    def _checkpoint(self) -> None:
        self.position.progress_size, self.position.worked = self.log.size, self._worked()
        save_checkpoint(
            self.run.path / "state",
            Checkpoint(
                position=self.position, model=self.model.state_dict(), best=self.best, sums={"loss": self.sum},
                optimizer=self.optimizer.state_dict(), scheduler={}, scaler={}, rng=rng_states(self.device),
            ),
        )  # fmt: skip
        self._last_save = time.monotonic()

    def _restore(self, saved: Checkpoint) -> None:
        path = self.run.path / "state" / "checkpoint.safetensors"
        self.best = saved.best
        load_weights(self.model, saved.model, path)
        try:
            self.optimizer.load_state_dict(saved.optimizer)
        except (ValueError, KeyError) as e:
            raise UserError(f"{path} does not fit the run's config: {' '.join(str(e).split())}") from e
        self.sum.copy_(saved.sums["loss"])
        restore_rng(saved.rng, self.device)
        if self.best:
            self._write_best()

    def _write_best(self) -> None:
        write_encoder(self.run.path, self.best)


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, offsets, gains and learned marks do not."""
    named = [(n, p) for n, p in model.named_parameters()]
    plain = [p for n, p in named if p.dim() < 2 or n.rsplit(".", 1)[-1] in ("place", "channel")]
    known = {id(p) for p in plain}
    return [
        {"params": [p for _, p in named if id(p) not in known], "weight_decay": decay},
        {"params": plain, "weight_decay": 0.0},
    ]
