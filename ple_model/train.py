"""Training of PLE-Cluster-adaTT in two phases (reference, "Training").

- Phase 1 trains everything; phase 2 everything but the shared experts, which are in eval mode and out of the optimizer. A phase
  starts from the best weights so far, with a fresh optimizer and schedule.
- AdamW, a cosine schedule (stepped every batch; `schedule.py`), gradient clipping, fp16 on a GPU. The sparse autoencoder has
  its own parameter group and clipping: its input is detached, so neither its scale nor its gradient touches the model.
- Epochs count from 1. At the **end** of `adatt.freeze_epoch` the adaTT coefficients and the CGC gates become constants.
- With `direct_path.blend` an epoch's end chooses how much every task takes of what is added to its map (`blend.py`), and the
  epoch is judged with it.
- Early stopping per phase on the mean over tasks of validation loss / constant-predictor loss. The evidential terms are left
  out: the ramp of their KL would trip it.
- The state is saved at the end of each epoch and every `checkpoint_seconds`, so that a killed training resumes exactly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ple_model.badstep import LOGGED, bad_step
from ple_model.baseline_folder import StoredBaselines
from ple_model.blend import choose_blends
from ple_model.checkpoint import Checkpoint, Position, load_checkpoint, restore_rng, rng_states, save_checkpoint
from ple_model.config import Config
from ple_model.constants import ratios
from ple_model.context import ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision, memory_mb, pick_device
from ple_model.disk import DiskFull, disk_full, is_disk_full
from ple_model.epochlog import EpochSums, GradientNorms, StepSizes, Validation, validate
from ple_model.errors import UserError
from ple_model.files import load_weights, write_tensors
from ple_model.fitted_start import start_as_fitted, wants_fit
from ple_model.model import PLEClusterAdaTT
from ple_model.new_run import create_run, now
from ple_model.optimizer import optimizer_groups
from ple_model.output import LossBreakdown, PLEClusterOutput
from ple_model.progress import Callback, ProgressWriter
from ple_model.run import (
    Run,
    load_run,
    lock_path,
    write_config,
)
from ple_model.schedule import schedule

STEP_EVENT_SECONDS = 0.5
BAD_STEPS = 25
"""Consecutive steps with a loss or gradient that is not finite after which a training gives up."""
SCALING_STEPS = 10
"""fp16: an epoch may skip so many steps while the loss scale is sought, without a warning."""
TITLES = {"sae": "weights of the sparse autoencoder", "evidential": "evidential heads"}
"""Onlookers in words."""
FINISHING = 3
"""`Position.phase` when only calibration, metrics and sample are left."""

Stop = Callable[[], bool]


@dataclasses.dataclass(frozen=True)
class Options:
    """How a training runs, without effect on its numbers (except `device`)."""

    device: str = "auto"
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    """Save every so many steps too."""
    sample_customers: int = 2000
    baselines: bool = False
    """At the end, measure the dataset's baselines if it has none; without it what is there is carried."""


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
) -> Run:
    """Train a run folder to its end, or until `stop()` is true or a file `state/stop` appears; then the run can be resumed.

    With `resume` a run that is there goes on under its own config; one that is not is started, and a finished one is
    returned as it is. `device` is that of `options` unless it is given. `progress` receives each line of progress.jsonl as a
    dict. `UserError` if the device is not there, if the folder is taken, if another process trains it, if the data is not the
    run's, or if the loss stays without a finite value.
    """
    run_dir = Path(run_dir)
    options = options or Options()
    options = options if device is None else dataclasses.replace(options, device=device)
    pick_device(options.device)
    exists = (run_dir / "manifest.json").exists()
    if exists and not resume:
        raise UserError(f"{run_dir} already holds a run; --resume goes on with it, or choose another folder")
    if not exists:
        create_run(dataset, run_dir, config, preset=preset, device=options.device)
    run = load_run(run_dir)
    if run.manifest.status == "finished":
        _drop_checkpoint(run_dir)  # of a training that was killed after its last word
        return run
    if dataset.manifest.fingerprint != run.manifest.data.fingerprint:
        raise UserError(
            f"{dataset.path} is not the dataset of {run_dir}: fingerprint {dataset.manifest.fingerprint[:12]}, "
            f"the run was started on '{run.manifest.data.name}' {run.manifest.data.fingerprint[:12]}"
        )
    (run_dir / "state").mkdir(exist_ok=True)
    lock = FileLock(lock_path(run_dir))
    try:
        with lock.acquire(timeout=0), torch.random.fork_rng():
            _sweep(run_dir)
            return Trainer(run, dataset, options, progress, stop).run_to_end()
    except Timeout as e:
        raise UserError(f"{run_dir} is being trained by another process") from e


def _drop_checkpoint(run_dir: Path) -> None:
    (run_dir / "state" / "checkpoint.safetensors").unlink(missing_ok=True)


def _sweep(run_dir: Path) -> None:
    """Remove what a killed training left half written, and the stop file that ended the last one. Only under the lock."""
    (run_dir / "state" / "stop").unlink(missing_ok=True)
    for folder in (run_dir, run_dir / "state", run_dir / "preprocess"):
        for torn in folder.glob(".*.tmp"):
            torn.unlink(missing_ok=True)


class Stopped(Exception):
    """Someone asked the training to stop; the state is saved."""


class Trainer:
    """One training, from where its checkpoint stands to its end."""

    def __init__(self, run: Run, dataset: Dataset, options: Options, progress: Callback | None, stop: Stop | None) -> None:
        self.run, self.dataset, self.options = run, dataset, options
        self.config, self.manifest = run.config, run.manifest
        self.device = pick_device(options.device if options.device != "auto" else _recorded(run.manifest.device))
        self.precision = Precision.choose(self.device, self.config.training.amp)
        self._stop = stop or (lambda: False)
        self.context: ModelContext = run.context()
        self.steps = -(-dataset.rows("train") // self.manifest.batch_size)
        torch.manual_seed(self.config.training.seed)
        self.model = PLEClusterAdaTT(self.config, self.context).to(self.device)
        self.measure_every = self.model.adatt.interval(self.steps)
        self.norms = GradientNorms(self.model)
        self.sums = EpochSums()
        self.sizes = StepSizes(self.model)
        self._step_size: dict[str, float] = {}
        self.best: dict[str, Tensor] = {}
        self.position = Position(warnings=list(self.manifest.warnings))
        self.resumed = self._restore()
        path = run.path / "progress.jsonl"
        self.log = ProgressWriter(path, size=self.position.progress_size, callback=progress)
        self._bad_steps = 0
        self._measuring = self._stepping = 0.0
        self._last_event = self._last_save = time.monotonic()

    # --- the whole

    def run_to_end(self) -> Run:
        try:
            self._announce()
            self._fit_start()
            write_config(self.run.path, self.config)  # of a run that is resumed in a newer format than it was started in
            self._save_manifest(
                status="running", finished=None, reason=None, device=self.device.type, amp=self.precision.amp
            )  # fmt: skip
            while self.position.phase < FINISHING:
                self._phase()
            self._finish()
            # the log first: killed after it, the run goes on from its checkpoint and cuts the log back to it
            self.log.write("finished", seconds=self.position.total_seconds, best=self.position.best, **self._blends())
            self._save_manifest(status="finished", finished=now())
            _drop_checkpoint(self.run.path)
        except Stopped:
            self._save_manifest(status="stopped", reason="asked to stop")
            self.log.write("stopped", epoch=self.position.epoch, step=self.position.step)
        except Exception as e:
            error = disk_full(e, self.run.path) if is_disk_full(e) else e
            with contextlib.suppress(DiskFull, OSError):  # of a disk that is full to the last byte only the error is left
                self._save_manifest(status="failed", reason=" ".join(str(error).split()) or type(error).__name__)
                self.log.write("failed", reason=str(error))
            if error is not e:
                raise error from e
            raise
        finally:
            self.log.close()
        return load_run(self.run.path)

    def _announce(self) -> None:
        threads = torch.get_num_threads()
        common = {"device": self.device.type, "amp": self.precision.amp, "threads": threads}
        if not self.resumed:
            t = self.config.training
            self.log.write(
                "start", preset=self.manifest.preset, parameters=self.manifest.parameters, steps_per_epoch=self.steps,
                epochs=[t.phase1_epochs, t.phase2_epochs], max_epochs=t.max_epochs, batch_size=self.manifest.batch_size,
                tasks=list(self.model.tasks), experts=list(self.model.expert_names), rows=dict(self.dataset.manifest.splits),
                weight_norm=self.sizes.norms(), **common,
            )  # fmt: skip
            for text in self.manifest.warnings:
                self.log.write("warning", text=text)
        else:
            self.log.write("resumed", epoch=self.position.epoch, step=self.position.step, phase=self.position.phase, **common)
            if threads != self.manifest.threads:
                self._warn(
                    f"resumed with {threads} threads, the run was started with {self.manifest.threads}: last bits may differ"
                )
            if self.device.type != self.manifest.device:
                self._warn(f"resumed on {self.device.type}, the run was started on {self.manifest.device}: numbers may differ")

    def _fit_start(self) -> None:
        """Fit the direct path's linear map where a new training starts with one. It takes no random number and is kept by a
        checkpoint: a training killed before begins again, with the same weights."""
        if self.resumed or not wants_fit(self.model):
            return

        def tell(share: float, what: str) -> None:
            self.log.write("fit", share=round(share, 4), what=what)
            if self._stopping():
                raise Stopped  # without a checkpoint: what is resumed is a start from the beginning

        start_as_fitted(self.model, self.dataset, tell)
        self._checkpoint()

    def _warn(self, text: str) -> None:
        if text not in self.position.warnings:
            self.position.warnings.append(text)
        self.log.write("warning", text=text)

    def _save_manifest(self, **changes: Any) -> None:
        self.manifest = dataclasses.replace(self.manifest, warnings=list(self.position.warnings), **changes)
        self.manifest.save(self.run.path)

    # --- one phase

    def _phase_epochs(self) -> int:
        t = self.config.training
        return t.phase1_epochs if self.position.phase == 1 else t.phase2_epochs

    def _phase(self) -> None:
        p, t = self.position, self.config.training
        self._begin_phase()
        while p.phase_epoch < self._phase_epochs() and p.since_best < t.patience and p.epoch <= t.max_epochs:
            self._epoch()
            p.phase_epoch += 1
            p.epoch += 1
            p.step, p.seconds = 0, 0.0
            p.skipped, p.skipped_why, p.lost = 0, "", {}
            self.sums.clear()
            self._checkpoint()
            self._check_stop()
        if p.since_best >= t.patience:
            self.log.write("phase", phase=p.phase, epoch=p.epoch - 1, ended="early stopping", best_epoch=p.best_epoch)
        self._load_best()
        p.phase = p.phase + 1 if p.phase == 1 and t.phase2_epochs > 0 and p.epoch <= t.max_epochs else FINISHING
        p.phase_epoch, p.since_best, p.step = 0, 0, 0
        if p.phase < FINISHING:
            self._build_optimizer()
        self._checkpoint()

    def _begin_phase(self) -> None:
        p = self.position
        if p.phase_epoch == 0 and p.step == 0:
            self.log.write("phase", phase=p.phase, epoch=p.epoch, epochs=self._phase_epochs(), frozen=self._frozen())

    def _frozen(self) -> dict[str, bool]:
        return {"gates": bool(self.model.gates_frozen), "shared": self.model.shared_frozen}

    def _build_optimizer(self) -> None:
        """AdamW over what trains in this phase; the sparse autoencoder's parameters are a group of their own."""
        t = self.config.training
        self.model.freeze_shared(self.position.phase >= 2 and t.freeze_shared_in_phase2)
        self.optimizer = torch.optim.AdamW(optimizer_groups(self.model), lr=t.learning_rate, weight_decay=t.weight_decay)
        self.scheduler = schedule(self.optimizer, t, self.position.phase)
        self.scaler = self.precision.scaler()

    # --- one epoch

    def _epoch(self) -> None:
        p = self.position
        self.model.train()
        if self.model.direct is not None:
            self.model.direct.set_blends({})  # training is for the whole; the shares are chosen at the end of the epoch
        began, first = time.monotonic(), p.step
        self._measuring = 0.0
        batches = self.dataset.batches(
            "train", self.manifest.batch_size, shuffle=True, seed=self.config.training.seed, epoch=p.epoch, start=p.step
        )
        before = p.seconds
        for batch in batches:
            self._step(batch.inputs.to(self.device, non_blocking=True))
            p.step += 1
            p.total_steps += 1
            self._stepping = time.monotonic() - began
            p.seconds = before + self._stepping
            self._step_event(p.step - first, time.monotonic() - began)
            if p.step < self.steps:
                self._maybe_save()
                self._check_stop()
        p.total_seconds += p.seconds
        self._end_of_epoch()

    def _step(self, inputs: Any) -> None:
        p = self.position
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            output = self.model(inputs)
            losses = self.model.losses(output, inputs.targets or {}, epoch=p.epoch)
        if p.step % self.measure_every == 0:
            self._measure_gradients(losses)
        self.scaler.scale(losses.total + losses.sae_total).backward()  # type: ignore[no-untyped-call]
        lost = self.norms.drop_lost(losses)  # before the loss scaler looks, which would skip everybody's step for them
        self.scaler.unscale_(self.optimizer)
        norm, by_module = self.norms.clip()
        finite = bool(torch.isfinite(losses.main) & torch.isfinite(norm))
        last = p.step == self.steps - 1  # of an epoch: no checkpoint lies between it and the epoch's line
        if last:
            self.sizes.before()
        if finite or self.scaler.is_enabled():  # the scaler skips such a step by itself and lowers its scale
            self.scaler.step(self.optimizer)
        if last:
            self._step_size = self.sizes.after()
        self.scaler.update()
        self.model.project()
        self.scheduler.step(p.phase_epoch + (p.step + 1) / self.steps)
        self.sums.add(losses, by_module, len(inputs), finite, lost)
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if finite:
            p.lost |= {name: p.lost.get(name, 0) + 1 for name in lost}
        else:
            self._skipped(inputs, output, losses, by_module)

    def _skipped(self, inputs: Any, output: PLEClusterOutput, losses: LossBreakdown, gradients: Mapping[str, Tensor]) -> None:
        """Count a step that was not taken, and say why. A gradient alone may overflow while fp16 seeks its scale."""
        p = self.position
        p.skipped += 1
        why = bad_step(inputs, output, losses, gradients)
        seeking = self.scaler.is_enabled() and not why.tasks and not why.inputs
        if not seeking:
            p.skipped_why = p.skipped_why or f"the first at step {p.step + 1}: {why}"
            if p.skipped <= LOGGED:
                self.log.write(
                    "skipped", epoch=p.epoch, step=p.step + 1, tasks=list(why.tasks), inputs=why.inputs, rows=why.rows,
                    cause=why.cause,
                )  # fmt: skip
        if self._bad_steps >= BAD_STEPS:
            raise UserError(
                f"epoch {p.epoch}, step {p.step + 1}: the loss or its gradient was not finite for {BAD_STEPS} steps; {why}; "
                "lower training.learning_rate or look at the inputs with `ple validate`"
            )

    def _measure_gradients(self, losses: LossBreakdown) -> None:
        """adaTT's measurement; not while the shared experts, at which it is taken, do not train."""
        if self.config.adatt.enabled and not self.model.shared_frozen and not self.model.adatt_frozen:
            began = self._clock()
            self.model.adatt.measure(losses.raw, self.model.last_layer_parameters(), scale=self.scaler.get_scale())
            self._measuring += self._clock() - began

    def _clock(self) -> float:
        """Seconds, after the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()

    def _measuring_share(self) -> float | None:
        """Seconds of adaTT's measurement over those of the rest of the epoch (of its part since a resume); None without one."""
        rest = self._stepping - self._measuring
        return self._measuring / rest if self._measuring > 0 and rest > 0 else None

    def _end_of_epoch(self) -> None:
        p = self.position
        if self.model.direct is not None and self.config.direct_path.blend == "validation":
            found = choose_blends(self.model, self.dataset, self.manifest.batch_size, self.precision)
            self.model.direct.set_blends(found)
        validation = validate(self.model, self.dataset, self.context, self.manifest.batch_size, self.precision, p.epoch)
        mean = validation.mean_ratio
        better = mean is not None and math.isfinite(mean) and (p.best is None or mean < p.best)
        adatt = self.config.adatt
        if adatt.enabled and p.epoch >= adatt.freeze_epoch and not self.model.adatt_frozen:
            self.model.freeze_gates()
            self.log.write("freeze", epoch=p.epoch, what=["cgc", "adatt"])
        if better or not self.best:
            p.best, p.best_epoch, p.since_best = mean if better else None, p.epoch, 0
            self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
            self._write_best()
        else:
            p.since_best += 1
        self._epoch_event(validation, better)

    # --- reporting

    def _eta(self) -> float | None:
        """Seconds to the end of the planned epochs at the pace so far; early stopping may end it before."""
        p, t = self.position, self.config.training
        if not p.total_steps:
            return None
        spent = p.total_seconds + (p.seconds if p.step < self.steps else 0.0)
        later = t.phase2_epochs if p.phase == 1 else 0
        epochs = min(self._phase_epochs() - p.phase_epoch + later, t.max_epochs - p.epoch + 1)
        return max(0.0, spent / p.total_steps * (epochs * self.steps - p.step))

    def _step_event(self, steps: int, seconds: float) -> None:
        now = time.monotonic()
        if now - self._last_event < STEP_EVENT_SECONDS:
            return
        self._last_event = now
        p = self.position
        self.log.write(
            "step", step=p.step, steps=self.steps, epoch=p.epoch, phase=p.phase, total=self.sums.last_total(),
            samples_per_s=steps * self.manifest.batch_size / max(seconds, 1e-9), eta_s=self._eta(),
        )  # fmt: skip

    def _epoch_event(self, validation: Validation, better: bool) -> None:
        p = self.position
        resident, gpu = memory_mb(self.device)
        train_part = self.sums.means()
        learned = train_part.train | self._train_ratio(train_part.train["tasks"])
        self.log.write(
            "epoch", epoch=p.epoch, phase=p.phase, lr=self.optimizer.param_groups[0]["lr"], steps=self.steps,
            samples_per_s=train_part.rows / max(p.seconds, 1e-9), seconds=p.seconds, eta_s=self._eta(), rss_mb=resident,
            device_mem_mb=gpu, train=learned, valid=validation.to_dict(), s=self.model.log_variances(),
            gates=validation.gates, gate_entropy=validation.gate_entropy, grad_norm=train_part.grad_norm,
            hmm_grad=train_part.hmm_grad, adatt=self.model.adatt_report(), frozen=self._frozen(), best=better,
            nonfinite_steps=train_part.nonfinite, onlooker_nonfinite=self._lost(), adatt_time_share=self._measuring_share(),
            step_size=self._step_size, weight_norm=self.sizes.norms(), **self._blends(),
        )  # fmt: skip
        if train_part.nonfinite > self._allowed:
            self._warn(
                f"epoch {p.epoch}: {train_part.nonfinite} steps were skipped, their loss or gradient was not finite; "
                f"{p.skipped_why or 'the cause is not known'}"
            )
        for name, steps in self._lost().items():
            self._warn(
                f"epoch {p.epoch}: the {TITLES[name]} stayed as they were in {steps} steps, their own loss or gradient was "
                "no number; no prediction depends on them"
            )
        if validation.left_out and validation.left_out not in p.warnings:
            self._warn(validation.left_out)

    def _blends(self) -> dict[str, Any]:
        """By task the share that it takes of what is added to its fitted map, where the config lets it choose."""
        found = {} if self.model.direct is None else self.model.direct.blends()
        return {"blend": {k: round(v, 4) for k, v in found.items()}} if found else {}

    def _train_ratio(self, losses: Mapping[str, float | None]) -> dict[str, float | None]:
        """Mean over tasks of training loss / constant predictor's loss: what `mean_ratio` of the validation is held against."""
        found = ratios({k: v for k, v in losses.items() if v is not None}, self.context)
        return {"mean_ratio": math.fsum(found.values()) / len(found) if found else None}

    @property
    def _allowed(self) -> int:
        """Steps of an epoch that may be skipped without a word: while fp16 seeks its scale."""
        return SCALING_STEPS if self.scaler.is_enabled() else 0

    def _lost(self) -> dict[str, int]:
        """Onlookers that alone were not finite in more steps of this epoch than is normal."""
        return {name: steps for name, steps in self.position.lost.items() if steps > self._allowed}

    # --- state

    def _maybe_save(self) -> None:
        every = self.options.checkpoint_steps
        due = time.monotonic() - self._last_save >= self.options.checkpoint_seconds
        if due or (every and self.position.step % every == 0):
            self._checkpoint()

    def _stopping(self) -> bool:
        return self._stop() or (self.run.path / "state" / "stop").exists()

    def _check_stop(self) -> None:
        if self._stopping():
            self._checkpoint()
            raise Stopped

    def _checkpoint(self) -> None:
        self.position.progress_size, self.position.sum_names = self.log.size, self.sums.names
        save_checkpoint(
            self.run.path / "state",
            Checkpoint(
                position=self.position, model=self.model.state_dict(), best=self.best, sums=self.sums.state(),
                optimizer=self.optimizer.state_dict(), scheduler=self.scheduler.state_dict(), scaler=self.scaler.state_dict(),
                rng=rng_states(self.device),
            ),
        )  # fmt: skip
        self._last_save = time.monotonic()

    def _restore(self) -> bool:
        saved = load_checkpoint(self.run.path / "state")
        if saved is None:
            self._build_optimizer()
            return False
        self.position, self.best = saved.position, saved.best
        path = self.run.path / "state" / "checkpoint.safetensors"
        self._build_optimizer()
        load_weights(self.model, saved.model, path)
        try:
            self.optimizer.load_state_dict(saved.optimizer)
        except (ValueError, KeyError) as e:
            raise UserError(f"{path} does not fit the run's config: {' '.join(str(e).split())}") from e
        self.scheduler.load_state_dict(saved.scheduler)
        if saved.scaler:
            self.scaler.load_state_dict(saved.scaler)
        self.sums.restore(self.position.sum_names, saved.sums, self.device)
        restore_rng(saved.rng, self.device)
        if self.best:
            self._write_best()
        return True

    def _write_best(self) -> None:
        write_tensors(self.run.path / "model.safetensors", self.best, {"format": "pt"})

    def _load_best(self) -> None:
        """Go on from the phase's best weights. Gates that are frozen by now stay frozen."""
        frozen = self.model.gates_frozen
        if self.best:
            load_weights(self.model, self.best, self.run.path / "model.safetensors")
        if frozen:
            self.model.freeze_gates()

    def _finish(self) -> None:
        from ple_model.finish import finish

        self.model.eval()
        self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        self._write_best()
        baselines = self._baselines() if self.options.baselines else None
        customers = self.options.sample_customers
        for text in finish(self.run.path, self.model, self.dataset, customers=customers, baselines=baselines):
            self._warn(text)

    def _baselines(self) -> StoredBaselines | None:
        """Those that lie with the dataset, or measured now; a training does not fail for want of them."""
        from ple_model.skill import measure, stored

        found = stored(self.dataset)
        if found is not None:
            return found

        def tell(share: float, what: str) -> None:
            self.log.write("baselines", share=round(share, 4), what=what)
            self._check_stop()

        try:
            found = measure(self.dataset, tell)
        except UserError as e:
            self._warn(f"the baselines were not measured: {e}")
            return None
        if found.unkept:
            self._warn(f"the baselines could not be kept with the dataset: {found.unkept}")
        return found


def _recorded(kind: str) -> str:
    """The device kind of a run that is resumed, if this machine has it."""
    return kind if kind != "cuda" or torch.cuda.is_available() else "cpu"
