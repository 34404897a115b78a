"""A training from where its checkpoint stands to its end: phases of epochs, early stopping, resume (see `ple_model.train`)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ple_model.adapters import add_adapters, drop_adapters, merged
from ple_model.baseline_folder import StoredBaselines
from ple_model.blend import choose_blends
from ple_model.checkpoint import Checkpoint, Position, load_checkpoint, restore_rng, rng_states, save_checkpoint
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision, machine
from ple_model.disk import DiskFull, disk_full, is_disk_full
from ple_model.distill import lessons
from ple_model.distill.teacher import Teacher, teacher_of
from ple_model.distill.teaching import Teaching
from ple_model.epochlog import EpochSums, Validation, validate
from ple_model.errors import UserError
from ple_model.files import load_weights, write_tensors
from ple_model.finish import finish
from ple_model.fitted_start import start_as_fitted, wants_fit
from ple_model.model import PLEClusterAdaTT
from ple_model.new_run import now
from ple_model.progress import Callback
from ple_model.run import Run, load_run, write_config
from ple_model.skill import measure, stored
from ple_model.start_from import WEIGHTS, drop_start, kept_start
from ple_model.training.feed import on_device
from ple_model.training.pause import NAME as PAUSE
from ple_model.training.pause import Pause
from ple_model.training.ranks import ONE, Ranks, Wishes
from ple_model.training.report import Report
from ple_model.training.session import LostProcess, Options, Session, Stop, Stopped
from ple_model.training.steps import Steps

FINISHING = 3
"""`Position.phase` when only calibration, metrics and sample are left."""


def drop_checkpoint(run_dir: Path) -> None:
    """Of a training that has ended, with the weights that it started from and what its teacher said."""
    (run_dir / "state" / "checkpoint.safetensors").unlink(missing_ok=True)
    drop_start(run_dir)
    lessons.drop(run_dir / "state")


class Trainer:
    """One training."""

    def __init__(
        self, run: Run, dataset: Dataset, options: Options, progress: Callback | None, stop: Stop | None,
        teacher: Teacher | None = None, ranks: Ranks = ONE,
    ) -> None:  # fmt: skip
        self.run, self.dataset, self.options, self.config, self.ranks = run, dataset, options, run.config, ranks
        self.manifest, self._stop = run.manifest, stop or (lambda: False)
        ranks.require(run.config)
        device = ranks.device(options.device, run.manifest.device)
        saved = load_checkpoint(run.path / "state")
        self.start = kept_start(run.path) if saved is None else None
        begin = 1 if self.start is None else self.start.phase
        position = Position(phase=begin, warnings=list(run.manifest.warnings)) if saved is None else saved.position
        torch.manual_seed(ranks.seed(self.config.training.seed))
        context = run.context()
        self.model = PLEClusterAdaTT(self.config, context).to(device)
        if self.start is not None:
            load_weights(self.model, self.start.weights, run.path / "state" / WEIGHTS)
        add_adapters(self.model)
        precision = Precision.choose(device, self.config.training.amp)
        self.session = Session(run, dataset, self.model, context, device, precision, position, EpochSums(), ranks)
        self.position, self.sums = position, self.session.sums
        self.teacher = teacher
        self.teaching = Teaching(run.path / "state", self.model) if self.config.distillation.enabled else None
        self.lessons = dataset
        self.steps = Steps(self.session, self.teaching)
        self.best: dict[str, Tensor] = {}
        self.resumed = saved is not None
        if saved is not None:
            self._restore(saved)
        self.report = Report(self.session, self.steps, progress)
        self.log = self.report.log
        self._stepping = 0.0
        self._pause = Pause((run.path / "state" / PAUSE, *options.pause_files) if ranks.first else ())
        self._began, self._worked_before = self._pause.clock(), position.worked
        self._last_save = time.monotonic()

    def run_to_end(self) -> Run:
        """Until it has ended, is stopped or fails: each is told in the log and the manifest."""
        try:
            self.report.begin(self.resumed)
            self._prepare_lessons()
            self._fit_start()
            # of a run that is resumed in a newer format than it was started in
            self._write(lambda: write_config(self.run.path, self.config))
            self._save_manifest(
                status="running", finished=None, reason=None, device=self.session.device.type, amp=self.session.precision.amp,
                machine=machine(self.session.device), command=self.manifest.command or self.options.command,
            )  # fmt: skip
            while self.position.phase < FINISHING:
                self._phase()
            self.ranks.first_does(self._end)
        except Stopped:
            self._save_manifest(status="stopped", reason="asked to stop")
            self.log.write("stopped", epoch=self.position.epoch, step=self.position.step)
        except LostProcess:  # as if this process had died too
            raise
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

    def _prepare_lessons(self) -> None:
        """What the teacher says of the training rows; those answers that a killed training left are taken as they are."""
        if self.teaching is None or self.position.phase >= FINISHING:
            return

        def tell(share: float) -> None:
            self.log.write("teacher", share=round(share, 4))
            self._stand_still()
            if self._stopping():
                raise Stopped

        model = None
        if not lessons.complete(self.run.path / "state"):
            given = None if self.teacher is None else self.teacher.run
            model = teacher_of(self.teaching.plan, given).model(str(self.session.device))
        self.lessons = self.teaching.prepare(self.dataset, model, tell)

    def _fit_start(self) -> None:
        """Fit the direct path's linear map where a new training starts with one. It takes no random number and is kept by a
        checkpoint: a training killed before begins again, with the same weights."""
        started = self.start is not None and self.start.fitted
        if self.resumed or started or not wants_fit(self.model):
            return

        def tell(share: float, what: str) -> None:
            self.log.write("fit", share=round(share, 4), what=what)
            self._stand_still()
            if self._stopping():
                raise Stopped  # without a checkpoint: what is resumed is a start from the beginning

        def fit() -> None:
            start_as_fitted(self.model, self.dataset, tell, self.options.starts)

        self.ranks.first_does(fit)
        self.ranks.hand_out(self.model)
        self._checkpoint()

    def _save_manifest(self, **changes: Any) -> None:
        worked = round(self._worked(), 1)
        self.manifest = dataclasses.replace(
            self.manifest, warnings=list(self.position.warnings), seconds=worked, **changes
        )  # fmt: skip
        self._write(lambda: self.manifest.save(self.run.path))

    def _write(self, work: Callable[[], None]) -> None:
        """What one process alone writes for all."""
        if self.ranks.first:
            work()

    def _worked(self) -> float:
        """Seconds that this process and those before it have worked on the run."""
        return self._worked_before + self._pause.clock() - self._began

    # --- one phase

    def _phase(self) -> None:
        p, t = self.position, self.config.training
        self.report.begin_phase()
        while p.phase_epoch < self.session.phase_epochs and p.since_best < t.patience and p.epoch <= t.max_epochs:
            self._epoch()
            p.phase_epoch += 1
            p.epoch += 1
            p.step, p.seconds = 0, 0.0
            p.skipped, p.skipped_why, p.lost, p.step_size = 0, "", {}, {}
            self.sums.clear()
            self._checkpoint()
            self._heed()
        if p.since_best >= t.patience:
            self.log.write("phase", phase=p.phase, epoch=p.epoch - 1, ended="early stopping", best_epoch=p.best_epoch)
        self._load_best()
        p.phase = p.phase + 1 if p.phase == 1 and t.phase2_epochs > 0 and p.epoch <= t.max_epochs else FINISHING
        p.phase_epoch, p.since_best, p.step = 0, 0, 0
        if p.phase < FINISHING:
            self.steps.begin_phase()
        self._checkpoint()

    # --- one epoch

    def _epoch(self) -> None:
        p = self.position
        self.model.train()
        self.model.set_blends({})  # training is for the whole; the shares are chosen at the end of the epoch
        began, first = self._pause.clock(), p.step
        self.steps.measuring = 0.0
        batches = self.ranks.batches(
            self.lessons, self.session.batch_size, seed=self.config.training.seed, epoch=p.epoch, start=p.step
        )
        before = p.seconds
        for inputs in on_device(batches, self.session.device):
            self.steps.take(inputs, self.log)
            p.step += 1
            p.total_steps += 1
            self._stepping = self._pause.clock() - began
            p.seconds = before + self._stepping
            self.report.step(p.step - first, self._pause.clock() - began)
            if p.step < self.session.steps:
                self._heed(self._save_is_due())
        p.total_seconds += p.seconds
        self._end_of_epoch()

    def judge(self, dataset: Dataset) -> Validation:
        """Shares where validation chooses them, and losses, on the validation rows of `dataset`."""
        s = self.session
        if self.model.blends():
            self.model.set_blends(choose_blends(self.model, dataset, s.batch_size, s.precision, self.ranks))
        return validate(self.model, dataset, s.context, s.batch_size, s.precision, self.position.epoch, self.ranks)

    def _end_of_epoch(self) -> None:
        p = self.position
        validation = self.judge(self.dataset)
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
            if self.model.shared_frozen:
                self._keep_dictionary()
        self.report.epoch(validation, better, self._stepping)

    # --- state

    def _save_is_due(self) -> bool:
        every = self.options.checkpoint_steps
        due = time.monotonic() - self._last_save >= self.options.checkpoint_seconds
        return due or bool(every and self.position.step % every == 0)

    def _stopping(self) -> bool:
        return self._stop() or (self.ranks.first and (self.run.path / "state" / "stop").exists())

    def _stand_still(self) -> None:
        """While somebody asks for a pause."""

        def begin() -> None:
            self.log.write("paused", epoch=self.position.epoch, step=self.position.step)

        self._pause.wait(self._stopping, begin, lambda: self.log.write("continued", epoch=self.position.epoch))

    def _heed(self, save: bool = False) -> None:
        """Do what is asked for between two steps: keep the state, stand still, stop."""
        asked = self.ranks.agreed(Wishes(save, self._pause.asked(), self._stopping()))
        if asked.save:
            self._checkpoint()
        if asked.pause and not asked.stop:
            self._checkpoint()
            self.ranks.first_does(self._stand_still)
            asked = self.ranks.agreed(Wishes(stop=self._stopping()))
        if asked.stop:
            self._checkpoint()
            raise Stopped

    def _checkpoint(self) -> None:
        self.position.progress_size, self.position.sum_names = self.log.size, self.sums.names
        self.position.worked = self._worked()
        found = Checkpoint(
            position=self.position, model=self.model.state_dict(), best=self.best, sums=self.sums.state(),
            optimizer=self.steps.optimizer.state_dict(), scheduler=self.steps.scheduler.state_dict(),
            scaler=self.steps.scaler.state_dict(), rng=self.ranks.rng(rng_states(self.session.device)),
            aside={} if self.teaching is None else self.teaching.weights(),
        )  # fmt: skip
        self._write(lambda: save_checkpoint(self.run.path / "state", found))
        self._last_save = time.monotonic()

    def _restore(self, saved: Checkpoint) -> None:
        path = self.run.path / "state" / "checkpoint.safetensors"
        self.best = saved.best
        load_weights(self.model, saved.model, path)
        if self.teaching is not None:
            self.teaching.restore(saved.aside)
        if self.position.phase < FINISHING:  # at the end no step is left, and the optimizer may be that of either phase
            try:
                self.steps.optimizer.load_state_dict(saved.optimizer)
            except (ValueError, KeyError) as e:
                raise UserError(f"{path} does not fit the run's config: {' '.join(str(e).split())}") from e
            self.steps.scheduler.load_state_dict(saved.scheduler)
        if saved.scaler:
            self.steps.scaler.load_state_dict(saved.scaler)
        self.sums.restore(self.position.sum_names, saved.sums, self.session.device)
        own = self.ranks.own_rng(saved.rng)
        if own is None:  # there were fewer processes: numbers that none of them has drawn
            torch.manual_seed(self.ranks.seed(self.config.training.seed + self.position.total_steps))
        else:
            restore_rng(own, self.session.device)
        if self.best:
            self._write_best()

    def _write_best(self) -> None:
        best = merged(self.best, self.config)
        self._write(lambda: write_tensors(self.run.path / "model.safetensors", best, {"format": "pt"}))

    def _keep_dictionary(self) -> None:
        """The sparse autoencoder as it is now beside the best weights: it reads what the frozen experts say, which they said
        then too, no prediction depends on it, and it has learnt on since."""
        now = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items() if k.startswith("sae.")}
        if now:
            self.best |= now
            self._write_best()

    def _load_best(self) -> None:
        """Go on from the phase's best weights. Gates that are frozen by now stay frozen."""
        frozen = self.model.gates_frozen
        if self.best:
            load_weights(self.model, self.best, self.run.path / "model.safetensors")
        if frozen:
            self.model.freeze_gates()

    def _end(self) -> None:
        """What is left after the last epoch, for one process alone."""
        self.ranks = ONE
        self._finish()
        # the log first: killed after it, the run goes on from its checkpoint and cuts the log back to it
        self.log.write("finished", seconds=self.position.total_seconds, best=self.position.best, **self.report.blends())
        self._save_manifest(status="finished", finished=now())
        drop_checkpoint(self.run.path)

    def _finish(self) -> None:
        baselines = self._baselines() if self.options.baselines else None  # a stop leaves a checkpoint: with adapters still
        self.model.eval()
        drop_adapters(self.model)
        self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        self._write_best()
        customers = self.options.sample_customers
        tell = self.report.ending
        for text in finish(self.run.path, self.model, self.dataset, customers=customers, baselines=baselines, tell=tell):
            self.report.warn(text)

    def _baselines(self) -> StoredBaselines | None:
        """Those that lie with the dataset, or measured now; a training does not fail for want of them."""
        found = stored(self.dataset)
        if found is not None:
            return found

        def tell(share: float, what: str) -> None:
            self.report.baselines(share, what)
            self._heed()

        try:
            found = measure(self.dataset, tell)
        except UserError as e:
            self.report.warn(f"the baselines were not measured: {e}")
            return None
        if found.unkept:
            self.report.warn(f"the baselines could not be kept with the dataset: {found.unkept}")
        return found
