"""What a training tells while it runs: the lines of `progress.jsonl`, and the warnings that stay with the run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from ple_model.constants import ratios
from ple_model.device import memory_mb
from ple_model.epochlog import Validation
from ple_model.progress import Callback, NoProgress, ProgressWriter, read_progress
from ple_model.training.remaining import Remaining
from ple_model.training.session import Session
from ple_model.training.steps import Steps

STEP_EVENT_SECONDS = 0.5
FORETOLD = ("step", "epoch", "baselines", "ending")
"""Lines that hold how long it still takes: that is reckoned before they are written."""
SCALING_STEPS = 10
"""fp16: an epoch may skip so many steps while the loss scale is sought, without a warning."""
TITLES = {"sae": "weights of the sparse autoencoder", "evidential": "evidential heads"}
"""Onlookers in words."""


class Report:
    """Of one training."""

    def __init__(self, session: Session, steps: Steps, callback: Callback | None) -> None:
        self.session, self.steps = session, steps
        path = session.run.path / "progress.jsonl"
        self.remaining = Remaining()

        def hear(line: dict[str, Any]) -> None:
            if line["event"] not in FORETOLD:
                self.remaining.hear(line)
            if callback is not None:
                callback(line)

        first = session.ranks.first
        self.log = ProgressWriter(path, size=session.position.progress_size, callback=hear) if first else NoProgress()
        for line in read_progress(path):
            self.remaining.hear(line)
        self._last_event = time.monotonic()

    def begin(self, resumed: bool) -> None:
        """The training's first line, or that it goes on."""
        s, p, manifest, threads = self.session, self.session.position, self.session.run.manifest, torch.get_num_threads()
        common = {"device": s.device.type, "amp": s.precision.amp, "threads": threads}
        common |= {"processes": s.ranks.world} if s.ranks.world > 1 else {}
        if not resumed:
            t = s.config.training
            self.log.write(
                "start", preset=manifest.preset, parameters=manifest.parameters, steps_per_epoch=s.steps,
                epochs=[t.phase1_epochs, t.phase2_epochs], max_epochs=t.max_epochs, batch_size=manifest.batch_size,
                tasks=list(s.model.tasks), experts=list(s.model.expert_names), rows=dict(s.dataset.manifest.splits),
                weight_norm=self.steps.sizes.norms(), **common,
            )  # fmt: skip
            if manifest.encoder is not None:
                self.log.write("encoder", text=str(manifest.encoder))
            for text in manifest.warnings:
                self.log.write("warning", text=text)
            return
        self.log.write("resumed", epoch=p.epoch, step=p.step, phase=p.phase, **common)
        if threads != manifest.threads:
            self.warn(f"resumed with {threads} threads, the run was started with {manifest.threads}: last bits may differ")
        if s.ranks.world != manifest.world_size:
            self.warn(
                f"resumed with {s.ranks.world} processes, the run was started with {manifest.world_size}: dropout is drawn "
                "otherwise and last bits may differ"
            )
        if s.device.type != manifest.device:
            self.warn(f"resumed on {s.device.type}, the run was started on {manifest.device}: numbers may differ")

    def begin_phase(self) -> None:
        p = self.session.position
        if p.phase_epoch == 0 and p.step == 0:
            self.log.write(
                "phase", phase=p.phase, epoch=p.epoch, epochs=self.session.phase_epochs, frozen=self.session.frozen
            )  # fmt: skip

    def warn(self, text: str) -> None:
        """Kept with the run, once."""
        if text not in self.session.position.warnings:
            self.session.position.warnings.append(text)
        self.log.write("warning", text=text)

    def step(self, steps: int, seconds: float) -> None:
        """Where the epoch stands, `steps` and `seconds` after it began or was resumed; not more often than anybody can read."""
        now = time.monotonic()
        if now - self._last_event < STEP_EVENT_SECONDS:
            return
        self._last_event = now
        s, p = self.session, self.session.position
        self.log.write(
            "step", step=p.step, steps=s.steps, epoch=p.epoch, phase=p.phase, total=s.sums.last_total(),
            samples_per_s=steps * s.batch_size / max(seconds, 1e-9),
            eta_s=self._left("step", step=p.step, phase=p.phase),
        )  # fmt: skip

    def epoch(self, validation: Validation, better: bool, stepping: float) -> None:
        """The line of an epoch that took `stepping` seconds (since a resume), and what it warns of."""
        s, p = self.session, self.session.position
        resident, gpu = memory_mb(s.device)
        train_part = s.sums.means()
        learned = train_part.train | self._train_ratio(train_part.train["tasks"])
        self.log.write(
            "epoch", epoch=p.epoch, phase=p.phase, lr=self.steps.learning_rate, steps=s.steps,
            samples_per_s=train_part.rows / max(p.seconds, 1e-9), seconds=p.seconds,
            eta_s=self._left("epoch", epoch=p.epoch, phase=p.phase, seconds=p.seconds), rss_mb=resident,
            device_mem_mb=gpu, train=learned, valid=validation.to_dict(), s=s.model.log_variances(),
            gates=validation.gates, gate_entropy=validation.gate_entropy, grad_norm=train_part.grad_norm,
            hmm_grad=train_part.hmm_grad, adatt=s.model.adatt_report(), frozen=s.frozen, best=better,
            nonfinite_steps=train_part.nonfinite, onlooker_nonfinite=self._lost(),
            adatt_time_share=self._measuring_share(stepping), step_size=p.step_size,
            weight_norm=self.steps.sizes.norms(), **self.blends(),
        )  # fmt: skip
        if train_part.nonfinite > self._allowed:
            self.warn(
                f"epoch {p.epoch}: {train_part.nonfinite} steps were skipped, their loss or gradient was not finite; "
                f"{p.skipped_why or 'the cause is not known'}"
            )
        for name, steps in self._lost().items():
            self.warn(
                f"epoch {p.epoch}: the {TITLES[name]} stayed as they were in {steps} steps, their own loss or gradient was "
                "no number; no prediction depends on them"
            )
        if validation.left_out and validation.left_out not in p.warnings:
            self.warn(validation.left_out)

    def blends(self) -> dict[str, Any]:
        """By task the share that it takes of what is added to its start, where the config lets it choose."""
        found = self.session.model.blends()
        return {"blend": {k: round(v, 4) for k, v in found.items()}} if found else {}

    def _left(self, event: str, **values: Any) -> float | None:
        """Seconds that are left when this line is written, which holds them; early stopping may end the training before."""
        self.remaining.hear({"event": event, "time": time.time(), **values})
        return self.remaining.seconds()

    def baselines(self, share: float, what: str) -> None:
        """How far the measurement of the dataset's baselines is."""
        self.log.write("baselines", share=round(share, 4), what=what, eta_s=self._left("baselines", share=share))

    def ending(self, what: str) -> None:
        """What the end of the training does now."""
        self.log.write("ending", what=what, eta_s=self._left("ending"))

    def _train_ratio(self, losses: Mapping[str, float | None]) -> dict[str, float | None]:
        """Mean over tasks of training loss / constant predictor's loss: what `mean_ratio` of the validation is held against."""
        found = ratios({k: v for k, v in losses.items() if v is not None}, self.session.context)
        return {"mean_ratio": math.fsum(found.values()) / len(found) if found else None}

    def _measuring_share(self, stepping: float) -> float | None:
        """Seconds of adaTT's measurement over those of the rest of the epoch (of its part since a resume); None without one."""
        measuring = self.steps.measuring
        rest = stepping - measuring
        return measuring / rest if measuring > 0 and rest > 0 else None

    @property
    def _allowed(self) -> int:
        """Steps of an epoch that may be skipped without a word: while fp16 seeks its scale."""
        return SCALING_STEPS if self.steps.scaler.is_enabled() else 0

    def _lost(self) -> dict[str, int]:
        """Onlookers that alone were not finite in more steps of this epoch than is normal."""
        return {name: steps for name, steps in self.session.position.lost.items() if steps > self._allowed}
