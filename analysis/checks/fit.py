"""Checks of how a training went as a whole: did it learn by heart, stop too soon, or step too far or not at all?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.loss import LOSSES, training_of
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.fit import Course, course
from analysis.stats.run import Statistics

REFERENCE_RATE = 5e-4
"""The reference's learning rate."""
NEXT_DROPOUT = 0.1
"""What a training without dropout is advised to try: half of the reference's."""


def _course(s: Statistics) -> Course:
    """The curve, or `NotMeasured` where no epoch has a validation figure."""
    found = course(training_of(s))
    if found.best() is None:
        raise NotMeasured("No epoch recorded a loss on the validation rows.")
    return found


@check("FIT-OVER", "The validation loss did not turn while the training loss went on falling.", LOSSES)
def over(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """No epoch of a phase beats a constant on the validation rows while the training rows are learned, or training on after the
    best epoch lost all that was learnt, both of most tasks; a note where half of it was lost."""
    c = _course(s)
    if len(c) < t.min_epochs:
        raise NotMeasured(f"Not enough epochs to say: {len(c)} recorded, {t.min_epochs:.0f} needed.")
    for epochs in c.phases():
        best, last = int(epochs[np.argmin(c.valid[epochs])]), int(epochs[-1])
        rise, learnt = float(c.valid[last] - c.valid[best]), float(1 - c.valid[best])
        by_heart = float(1 - c.train[best])
        turned = rise >= max(t.fit_rise, t.fit_lost * learnt) and c.train[last] < c.train[best]
        apart = _not_carried(c, best, t)
        # where something is left, the weights of the best epoch are kept and hold it: early stopping did its work
        harm = apart or (rise >= max(2 * t.fit_rise, learnt) and c.most(c.tasks[last] > c.tasks[best]))
        if not turned and not apart:
            continue
        rows = _training_rows(s)
        yield Finding(
            "FIT-OVER",
            "warning" if harm else "info",
            "run",
            f"After epoch {c.epoch[best]:.0f} the validation loss rose by {rise:.2f} of a constant's while the training loss "
            f"fell on: the model learns its {rows} training rows by heart."
            if turned
            else f"The model learns its {rows} training rows by heart: at its best it takes {by_heart:.2f} of a constant's "
            f"loss away on them, and {learnt:.2f} on others.",
            (
                Evidence("rise of the validation loss over the constant's", rise, t.fit_rise, len(epochs)),
                Evidence("best validation loss over the constant's", float(c.valid[best]), 1.0),
                Evidence("training loss over the constant's in that epoch", float(c.train[best])),
                Evidence("training skill minus validation skill", float(c.gap[best])),
                Evidence("training rows", float(rows)),
            ),
            LOSSES,
            "There are too few training rows for a model of this size, or nothing keeps it from learning them by heart.",
            _against_learning_by_heart(s),
        )
        return


def _not_carried(c: Course, at: int, t: Thresholds) -> bool:
    """What the training rows taught by this epoch does not hold on others, in most tasks: where the others hold and a few pull
    the mean up, it is these tasks' labels that are to be asked, and not the size of the model."""
    by_heart = float(1 - c.train[at])
    return by_heart >= t.fit_rise and float(c.valid[at]) >= 1 and c.most(c.tasks[at] >= 1)


def _training_rows(s: Statistics) -> int:
    assert s.training is not None
    counts = [int(n) for v in s.training.table("train", "n").values() for n in v[np.isfinite(v)][:1]]
    return max(counts, default=0)


def _against_learning_by_heart(s: Statistics) -> Fix:
    for key in ("global.dropout", "global.expert_dropout"):
        old = float(s.facts.get(key, NEXT_DROPOUT))
        if old < NEXT_DROPOUT:
            return Fix(key, old, NEXT_DROPOUT, "Switch dropout on; more training rows (more customers or cut-offs) help more.")
    decay = float(s.facts.get("training.weight_decay", 0.01))
    return Fix("training.weight_decay", decay, 10 * decay, "Train on more customers or cut-offs, or decay the weights more.")


@check("FIT-UNDER", "The validation loss had stopped falling before the training ended.", LOSSES)
def under(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The last epoch is the best and brought much; of a single epoch, its end is far below its mean."""
    c = _course(s)
    best, known = c.best(), np.flatnonzero(np.isfinite(c.valid))
    if best != int(known[-1]):
        return
    alone = len(known) == 1
    before = float(c.train[best] if alone else np.min(c.valid[known[:-1]]))
    if not np.isfinite(before):
        raise NotMeasured(f"Not enough epochs to say: {len(known)} recorded, {t.min_epochs:.0f} needed.")
    gain = before - float(c.valid[best])
    if gain < t.fit_gain or _not_carried(c, best, t):  # more epochs do not help a model that learns by heart
        return
    first = c.phases()[0]
    short = len(first) == 1 or c.valid[first[:-1]].min() - c.valid[first[-1]] >= t.fit_gain
    phase = 1 if short else int(c.phase[best])
    key = f"training.phase{phase}_epochs"
    old, rate = int(s.facts.get(key, len(known))), float(s.facts.get("training.learning_rate", 5e-4))
    slow = c.valid[best] >= 1 and c.reach < 1
    yield Finding(
        "FIT-UNDER",
        "warning",
        "run",
        f"The training ended after epoch {c.epoch[best]:.0f} while the validation loss was still falling, by {gain:.2f} of a "
        "constant's in the last one.",
        (
            Evidence("fall in the last epoch over the constant's", gain, t.fit_gain, len(known)),
            Evidence("validation loss over the constant's", float(c.valid[best]), 1.0),
            Evidence("epochs", float(len(known))),
            Evidence("all steps together, in shares of the weights' size", c.reach if np.isfinite(c.reach) else None, 1.0),
        ),
        LOSSES,
        "The steps are too small for so few of them." if slow else "The training was given too few epochs.",
        Fix("training.learning_rate", rate, 10 * rate, "Train with a larger learning rate.")
        if slow
        else Fix(key, old, 2 * old, "Train for more epochs; early stopping ends it when nothing is gained any more."),
    )


@check(
    "FIT-LINEAR",
    "Every task takes something of what the network adds to its linear map, or has no such map.",
    LOSSES,
    unplantable="it tells of a choice that training made, not of something broken; tests/ple_model/test_blend.py makes it",
)
def linear(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Tasks whose share of what is added to their fitted map is 0: what is said of gates, experts and edges is not theirs."""
    alone = s.facts.linear
    if not alone:
        return
    yield Finding(
        "FIT-LINEAR",
        "info",
        "tasks",
        f"{len(alone)} of {len(s.facts.blend)} tasks are their fitted linear map alone (brands: how often each is bought): "
        f"{', '.join(alone)}. No expert, gate or edge has a say in them.",
        (
            Evidence("tasks that take nothing of what the network adds", float(len(alone)), text=", ".join(alone)),
            Evidence(
                "shares of the others",
                None,
                text=", ".join(f"{k} {v:.1f}" for k, v in s.facts.blend.items() if v > 0),
            ),
        ),
        LOSSES,
        "On the validation rows the network added nothing to these tasks that stands out from chance: too few rows, or all "
        "that the inputs tell is told by the columns one by one.",
        Fix(
            "",
            None,
            None,
            "Train on more customers or cut-offs; with direct_path.blend none, brands with training.brand_blend none, they "
            "take all that is added.",
        ),
    )


@check("FIT-RATE", "The steps of the training were neither too large nor too small.", LOSSES)
def rate(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Steps so large that nothing settles, or so small that nothing moved."""
    c = _course(s)
    old = float(s.facts.get("training.learning_rate", 5e-4))
    yield from _too_large(c, old, t)
    if not (s.facts.run.get("parent") and float(np.nanmin(c.valid)) < 1):  # weights of another run are meant to move little
        yield from _too_small(c, old, t)


def _too_large(c: Course, old: float, t: Thresholds) -> Iterator[Finding]:
    """The weights grew to a multiple of what they began with; without their record, a training that ends above the constant and
    no better than it began."""
    grown = float(np.nanmax(c.growth)) if np.isfinite(c.growth).any() else float("nan")
    climbed = bool(len(c) >= t.min_epochs and np.nanmin(c.valid) >= 1 and c.train[-1] > max(1.0, c.train[0]))
    if grown >= t.weight_growth or (np.isnan(grown) and climbed):
        yield Finding(
            "FIT-RATE",
            "warning",
            "learning_rate",
            f"The weights grew to {grown:.1f} times what they began with: at a learning rate of {old:g} nothing settles."
            if np.isfinite(grown)
            else f"The training loss climbed and no epoch beats a constant: the learning rate of {old:g} is too high.",
            (
                Evidence(
                    "size of the weights over that at the start", grown if np.isfinite(grown) else None, t.weight_growth, len(c)
                ),
                Evidence("best validation loss over the constant's", float(np.nanmin(c.valid)), 1.0),
                Evidence("training loss over the constant's at the end", float(c.train[-1])),
            ),
            LOSSES,
            "The learning rate is too high: each step undoes the one before.",
            Fix("training.learning_rate", old, _usual(old), "Train with a smaller learning rate."),
        )


def _usual(old: float) -> float:
    """Ten times less, and no more than the reference's where that is still too high."""
    return min(old / 10, REFERENCE_RATE) if old > REFERENCE_RATE else old / 10


def _too_small(c: Course, old: float, t: Thresholds) -> Iterator[Finding]:
    """All steps together moved the weights by a small share of their size at most; without their record, the loss stood still
    above the constant's."""
    best = float(np.nanmin(c.valid))
    known = np.flatnonzero(np.isfinite(c.valid))
    still = len(known) >= t.min_epochs and best >= 1 and 1 - best / float(c.valid[known[0]]) < t.fit_gain
    if c.reach < t.step_reach or (np.isnan(c.reach) and still):
        yield Finding(
            "FIT-RATE",
            "warning",
            "learning_rate",
            f"All steps together could move the weights by {c.reach:.1%} of their size at most: at a learning rate of "
            f"{old:g} the model stayed as it was initialised."
            if np.isfinite(c.reach)
            else f"The validation loss stood still above a constant's at a learning rate of {old:g}.",
            (
                Evidence(
                    "all steps together, in shares of the weights' size",
                    c.reach if np.isfinite(c.reach) else None,
                    t.step_reach,
                ),
                Evidence("validation loss over the constant's, first epoch", float(c.valid[known[0]])),
                Evidence("validation loss over the constant's, best epoch", best, 1.0, len(known)),
            ),
            LOSSES,
            "The learning rate is too low for the number of steps.",
            Fix("training.learning_rate", old, max(10 * old, REFERENCE_RATE), "Train with a larger learning rate."),
        )
