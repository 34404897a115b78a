"""Has the share of positives of a label moved, or the level of its amounts? Asked by the check of it, and by those that would
explain it otherwise."""

from __future__ import annotations

import math

from analysis.checks.thresholds import Thresholds
from analysis.stats.labels import AmountLevel, Rate


def away(r: Rate, t: Thresholds, side: int) -> bool:
    """Beyond chance and far from both training's share and the model's."""
    # of several customers each counted once, the training's own share being all but certain beside these rows
    own = math.sqrt(max(r.trained * (1 - r.trained), 1e-12) / max(r.customers, 1))
    gaps = ((r.here - r.trained) / own, (r.here - r.expected) / max(r.spread, 1e-9))
    ratios = [math.log(max(r.here, 1e-9) / max(x, 1e-9)) for x in (r.trained, r.expected)]
    return all(side * g > t.rate_deviations for g in gaps) and all(side * x > math.log(t.rate_change) for x in ratios)


def opposite(r: Rate, t: Thresholds) -> bool:
    """Is it the share of the negatives?"""
    return abs(r.here - (1 - r.expected)) < abs(r.here - r.expected) / 4


def turned_in_training(r: Rate, t: Thresholds) -> bool:
    """Is it the share of training's negatives? The model, whose probabilities were fitted on other rows than it learnt from,
    may well expect as many as there are."""
    if not (0 < r.here < 1 and 0 < r.trained < 1):
        return False
    here, trained = (math.log(x / (1 - x)) for x in (r.here, r.trained))
    error = math.sqrt(r.trained * (1 - r.trained) / max(r.customers, 1))
    far = abs(here - trained) > math.log(t.rate_turned) and abs(r.here - r.trained) > t.rate_deviations * error
    return far and abs(here + trained) < abs(here - trained) / 4  # as much nearer as `opposite` asks


def moved(r: Rate, t: Thresholds) -> bool:
    """Labels of other customers keep the share: where it moved, no join explains them."""
    return not opposite(r, t) and (turned_in_training(r, t) or away(r, t, -1) or away(r, t, 1))


def level_away(v: AmountLevel, t: Thresholds) -> bool:
    """Amounts beyond chance and far from both those of training and the model's, on one side of both."""
    sides = {math.copysign(1, g) for g in (v.from_trained, v.from_expected) if abs(g) > t.rate_deviations}
    ratios = [math.log(v.here / x) for x in (v.trained, v.expected)]
    beyond = min(abs(v.from_trained), abs(v.from_expected)) > t.rate_deviations
    return beyond and len(sides) == 1 and all(abs(x) > math.log(t.rate_change) for x in ratios)
