"""Optimisation steps: the forward and backward pass, clipping, the optimizer; one whose loss is no number is skipped."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ple_model.badstep import LOGGED, BadStep, bad_step, worst
from ple_model.batch import PLEClusterInput
from ple_model.distill.teaching import Teaching
from ple_model.epochlog import GradientNorms, StepSizes
from ple_model.errors import UserError
from ple_model.model_losses import counts_at_hand
from ple_model.optimizer import optimizer_groups
from ple_model.output import LossBreakdown
from ple_model.progress import ProgressWriter
from ple_model.schedule import schedule
from ple_model.training.session import Session

FUSED = ("cpu", "cuda")
"""Devices on which all weights of a group are updated in one pass: of `small` 3 ms a step instead of 15."""
BAD_STEPS = 25
"""Consecutive steps with a loss or gradient that is not finite after which a training gives up."""


class Steps:
    """The optimizer of a phase, and the steps it takes."""

    def __init__(self, session: Session, teaching: Teaching | None = None) -> None:
        self.session, self.teaching = session, teaching
        self.measure_every = session.model.adatt.interval(session.steps)
        self.sizes = StepSizes(session.model)
        self.measuring = 0.0
        """Seconds of adaTT's measurement in this epoch, since a resume."""
        self._norms = GradientNorms(session.model)
        self._bad_steps = 0
        self.begin_phase()

    def begin_phase(self) -> None:
        """AdamW over what trains in this phase; the sparse autoencoder's parameters are a group of their own."""
        model, position, t = self.session.model, self.session.position, self.session.config.training
        model.freeze_shared(position.phase >= 2 and t.freeze_shared_in_phase2)
        groups = optimizer_groups(model)
        if self.teaching is not None:
            groups += self.teaching.optimizer_groups()
        fused = self.session.device.type in FUSED or None
        self.optimizer = torch.optim.AdamW(groups, lr=t.learning_rate, weight_decay=t.weight_decay, fused=fused)
        self.scheduler = schedule(self.optimizer, t, position.phase)
        self.scaler = self.session.precision.scaler()
        self._trained = [q for group in self.optimizer.param_groups for q in group["params"]]

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def take(self, inputs: PLEClusterInput, log: ProgressWriter) -> None:
        """One step of the epoch in progress; one that cannot be taken is told to `log`."""
        p, model, ranks = self.session.position, self.session.model, self.session.ranks
        self.optimizer.zero_grad(set_to_none=True)
        batch, targets = ranks.batch(model, len(inputs), self.session.step_rows), inputs.targets or {}
        with self.session.precision.autocast():
            output = model(inputs)
            taught = None if self.teaching is None else self.teaching.losses(model, output, inputs)
            batch.count(lambda: counts_at_hand(model, output, targets))
            losses = model.losses(output, targets, epoch=p.epoch, taught=taught, batch=batch)
        if p.step % self.measure_every == 0:
            self._measure_gradients(losses)
        self.scaler.scale(losses.total + losses.sae_total).backward()  # type: ignore[no-untyped-call]
        losses = ranks.stepped(self._trained, losses)
        found = self._norms.measure(losses)  # before the loss scaler looks, which would skip everybody's step for an onlooker
        lost, finite = found.lost, found.finite
        self.scaler.unscale_(self.optimizer)
        by_module = self._norms.clip(found, self._loss_scale())
        middle = p.step == self.session.steps // 2  # the rates of an epoch's last step can be next to nothing
        if middle:
            self.sizes.before()
        if finite or self.scaler.is_enabled():  # the scaler skips such a step by itself and lowers its scale
            self.scaler.step(self.optimizer)
        if middle:
            p.step_size = self.sizes.after()
        self.scaler.update()
        model.project()
        self.scheduler.step(p.phase_epoch + (p.step + 1) / self.session.steps)
        self.session.sums.add(losses, by_module, batch.rows, finite, lost)
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if finite:
            p.lost |= {name: p.lost.get(name, 0) + 1 for name in lost}
        else:
            own = bad_step(inputs, output, losses, by_module).to_json() if batch.speaks else ""
            self._skipped(own, log)

    def _skipped(self, own: str, log: ProgressWriter) -> None:
        """Count a step that was not taken, and say why, from what this process (nothing where none of the batch's rows are its)
        and the others say of it. A gradient alone may overflow while fp16 seeks its scale."""
        p = self.session.position
        p.skipped += 1
        why = worst([BadStep.from_json(text) for text in self.session.ranks.told(own) if text])
        seeking = self.scaler.is_enabled() and not why.tasks and not why.inputs
        if not seeking:
            p.skipped_why = p.skipped_why or f"the first at step {p.step + 1}: {why}"
            if p.skipped <= LOGGED:
                log.write(
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
        model = self.session.model
        if self.session.config.adatt.enabled and not model.shared_frozen and not model.adatt_frozen:
            began = self._clock()
            model.adatt.measure(
                losses.learnt, model.last_layer_parameters(), scale=self._loss_scale(), whole=self.session.ranks.gradients
            )
            self.measuring += self._clock() - began

    def _loss_scale(self) -> Tensor:
        """What losses are multiplied by, on the device: nothing waits for it."""
        return self.scaler.scale(torch.ones((), device=self.session.device))

    def _clock(self) -> float:
        """Seconds, after the device has done what it was asked for."""
        if self.session.device.type == "cuda":
            torch.cuda.synchronize(self.session.device)
        return time.monotonic()
