"""Checks of the gradient flow: zero where it should be, zero where it should not (reference, "Gradient flow")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.loss import skipped_epochs, training_of
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from analysis.stats.training import TrainingStats

NORMS = "training.gradients"


def _last(epochs: np.ndarray, mask: np.ndarray) -> float:
    return float(epochs[mask][-1])


def _gradients(s: Statistics) -> tuple[TrainingStats, dict[str, np.ndarray]]:
    """The training record and the gradient norms by module, NaN in epochs of which every step was skipped because its loss was
    not finite: LOSS-NAN says so, and a gradient that was never taken is not a gradient of 0."""
    h = training_of(s)
    skipped = skipped_epochs(h)
    if skipped.all():
        raise NotMeasured("No step of this training had a finite loss.")
    return h, {name: np.where(skipped, np.nan, values) for name, values in h.table("grad_norm").items()}


@check("GRAD-SHARED-ZERO", "The shared experts receive gradients whenever they should.", NORMS)
def shared_zero(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A shared expert's gradient is 0: expected in phase 2, an error in phase 1."""
    h, norms = _gradients(s)
    if not any(e in norms for e in s.facts.experts):
        raise NotMeasured("Gradient norms were not recorded.")
    # a freeze is expected in phase 2 alone: one that acts in phase 1 is the fault
    frozen = h.frozen("shared") & ~(h.phase() == 1)
    zero = {e: np.nan_to_num(norms[e], nan=np.inf) <= t.gradient_zero for e in s.facts.experts if e in norms}
    quiet = [e for e, z in zero.items() if (z & frozen).any()]
    if quiet:
        epoch = _last(h.epoch, zero[quiet[0]] & frozen)
        yield Finding(
            "GRAD-SHARED-ZERO",
            "info",
            "shared experts",
            f"Expected: {len(quiet)} shared experts had no gradient in phase 2 (last in epoch {epoch:.0f}): it freezes them.",
            (
                Evidence("experts without gradient", float(len(quiet))),
                Evidence("freeze_shared_in_phase2", float(bool(s.facts.get("training.freeze_shared_in_phase2")))),
            ),
            NORMS,
            "training.freeze_shared_in_phase2 takes the shared experts out of the optimizer.",
        )
    for expert, z in zero.items():
        early = z & ~frozen
        if not early.any():
            continue
        epochs = int(early.sum())
        starved = s.share(expert) >= t.fallback_error
        yield Finding(
            "GRAD-SHARED-ZERO",
            "info" if starved else "error",
            expert,
            f"{expert} had no gradient in {epochs} epoch(s) of phase 1" + (": expected, it has no input." if starved else "."),
            (
                Evidence("gradient norm", float(norms[expert][early][-1]), t.gradient_zero, len(h)),
                Evidence("epochs", float(epochs), 0.0),
            ),
            NORMS,
            "It has no input, so nothing flows back."
            if starved
            else "The expert is frozen, detached, or dead, in a phase in which it should learn.",
            None
            if starved
            else Fix("", None, None, "Check that its parameters are in the optimizer and that its output is not detached."),
            (f"ablate.{expert}=zero",),
        )


@check("GRAD-CGC-ZERO", "The gates receive gradients until they are frozen.", NORMS)
def cgc_zero(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Gate gradient 0: expected after freeze_epoch, an error before."""
    h, found = _gradients(s)
    norms = found.get("cgc")
    if norms is None:
        raise NotMeasured("The gates' gradient norm was not recorded.")
    zero = np.nan_to_num(norms, nan=np.inf) <= t.gradient_zero
    freeze = int(s.facts.get("adatt.freeze_epoch", 1))
    early = zero & (h.epoch <= freeze)
    if early.any():
        yield Finding(
            "GRAD-CGC-ZERO",
            "error",
            "gates",
            f"The gates had no gradient in {int(early.sum())} epoch(s) up to freeze_epoch {freeze}.",
            (
                Evidence("gradient norm", float(norms[early][-1]), t.gradient_zero, len(h)),
                Evidence("freeze epoch", float(freeze)),
            ),
            NORMS,
            "The gates are frozen or detached before their time.",
            Fix("adatt.freeze_epoch", freeze, max(freeze, 7), "Let the gates learn before they freeze."),
        )
    elif zero.any():
        yield Finding(
            "GRAD-CGC-ZERO",
            "info",
            "gates",
            f"Expected: the gates have no gradient after epoch {freeze}, where they were frozen.",
            (Evidence("epochs without gradient", float(zero.sum()), None, len(h)), Evidence("freeze epoch", float(freeze))),
            NORMS,
            "Frozen on purpose at adatt.freeze_epoch.",
        )


@check("GRAD-ADATT-MEMORY", "Gradient extraction costs little beside training.", NORMS)
def adatt_memory(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Time or memory of adaTT's gradient extraction out of proportion."""
    h = training_of(s)
    share = h.series("adatt_time_share")
    memory = h.series("adatt", "memory_ratio")
    if not (np.isfinite(share).any() or np.isfinite(memory).any()):
        # the speed of epochs with and without it says more of what else the machine did meanwhile
        raise NotMeasured("The cost of gradient extraction was not recorded.")
    # the median: one epoch in which something else took the machine says nothing
    cost = 1 + float(np.nanmedian(share)) if np.isfinite(share).any() else 1.0
    ratio = float(np.nanmax(memory)) if np.isfinite(memory).any() else 1.0
    evidence = (
        Evidence("step time with extraction over without", cost, t.interval_time, len(h)),
        Evidence("peak memory ratio", ratio, 2.0, len(h)),
    )
    cost = max(cost, ratio / 2 * t.interval_time)
    if cost > t.interval_time:
        old = int(s.facts.get("adatt.grad_interval", 10))
        yield Finding(
            "GRAD-ADATT-MEMORY",
            "warning",
            "adatt",
            f"Gradient extraction makes a step cost {cost:.1f} times as much on average.",
            evidence,
            NORMS,
            "Gradients are taken too often, or retained graphs pile up (the peak falls only with the method).",
            Fix("adatt.grad_interval", old, max(50, 5 * old), "Take the gradients less often."),
        )


@check("GRAD-BRAND-WEAK", "The brand task gets a gradient of normal size.", NORMS)
def brand_weak(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The brand tower's gradient is weak, or its temperature makes it so."""
    brands = [k for k in s.facts.tasks if s.facts.kinds.get(k) == "contrastive"]
    if not brands:
        return
    task = brands[0]
    temperature = s.facts.brand_temperature
    h = training_of(s)
    towers = h.table("tower_grad")
    weak, value = temperature > t.brand_temperature, None
    if task in towers and len(towers) > 2:
        others = np.nanmedian([np.nanmedian(v) for k, v in towers.items() if k != task])
        value = float(np.nanmedian(towers[task]) / others) if others > 0 else None
        weak = weak or (value is not None and value < t.brand_gradient)
    if weak:
        yield Finding(
            "GRAD-BRAND-WEAK",
            "warning",
            task,
            f"The gradient of {task} is weak: its temperature of {temperature:g} flattens the choice among brands.",
            (
                Evidence("temperature", temperature, t.brand_temperature),
                Evidence("tower gradient over the median tower's", value, t.brand_gradient),
            ),
            NORMS,
            "The InfoNCE temperature is too high.",
            Fix("training.temperature", temperature, 0.05 if temperature <= 0.1 else 0.07, "Lower the temperature."),
        )
