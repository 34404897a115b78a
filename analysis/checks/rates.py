"""Checks of how many positives a yes-or-no label has, and of where they are missing."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.labels import labels, other_unit
from analysis.checks.positives import away, level_away, opposite, turned_in_training
from analysis.checks.registry import NotMeasured, check
from analysis.checks.renumbered import CLASSES
from analysis.checks.thresholds import Thresholds
from analysis.stats.labels import AmountLevel, Rate
from analysis.stats.run import Statistics


@check("LABEL-RATE", "Every label has as many positives, or amounts as large, as training and the model say.", None)
def positives(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Far fewer or more positives than in training and than the model expects of these rows; none where others have some; or as
    many as training has negatives."""
    found = labels(s, t)
    judged = {k: v for k, v in found.items() if v.kind == "binary" and v.rate is not None and v.values > 1}
    amounts = {k: v for k, v in found.items() if v.level is not None and v.values > 1 and not other_unit(v, t)}
    for task, v in amounts.items():
        if v.level is not None and level_away(v.level, t):
            yield _level(task, v.level, t)
    if not judged and not amounts:
        raise NotMeasured("No yes-or-no label has enough rows, or it is not known how many positives it had in training.")
    for task, v in judged.items():
        r, lost = v.rate, v.missing
        assert r is not None
        if opposite(r, t):
            continue  # 0 and 1 are exchanged in all rows: the order of the predictions says so
        if turned_in_training(r, t):
            yield _turned(task, r)
            continue
        few, many = away(r, t, -1), away(r, t, 1)
        if not few and not many and lost is None:
            continue
        where = "" if lost is None else f"{', '.join(lost.values[:CLASSES])}{', ...' if len(lost.values) > CLASSES else ''}"
        yield Finding(
            "LABEL-RATE",
            "error" if lost is not None or r.here < r.expected / 2 or r.here > 2 * r.expected else "warning",
            task,
            f"Positives of {task} are missing where `{lost.column}` is {where}: {lost.seen:.0f} of {lost.expected:.0f} to be "
            "expected; all other rows have theirs."
            if lost is not None
            else f"{r.here:.1%} of the labels of {task} are positive, {r.trained:.1%} in training; the model expects "
            f"{r.expected:.1%} of these rows.",
            (
                Evidence("share of positives", r.here, r.trained, r.n),
                Evidence("share that the model expects of these rows", r.expected, None, r.n),
                Evidence("its standard error", r.spread, None, r.customers),
                *(
                    ()
                    if lost is None
                    else (
                        Evidence("share of rows with these values", lost.share, None, r.n, where),
                        Evidence("positives of all other rows, over those expected", lost.others),
                    )
                ),
            ),
            None,
            "The events that make this label were not delivered for these customers: a missing outcome was read as none."
            if lost is not None
            else "The events that make this label were not delivered for some customers, or its condition was another then."
            if few
            else "The label's condition is another, its events count twice, or 0 and 1 are exchanged in some of the rows.",
            Fix("", None, None, "Compare the label's events by segment and date with those of training, and build again."),
        )


def _turned(task: str, r: Rate) -> Finding:
    return Finding(
        "LABEL-RATE",
        "error",
        task,
        f"{r.here:.1%} of the labels of {task} are positive, and {1 - r.trained:.1%} of those in training are negative: 0 and "
        "1 were exchanged there.",
        (
            Evidence("share of positives", r.here, r.trained, r.n),
            Evidence("share of negatives in training", 1 - r.trained),
            Evidence("share that the model expects of these rows", r.expected, None, r.n),
        ),
        None,
        "The label of the training rows means the opposite of what it means in these: it was inverted in one of them.",
        Fix("", None, None, "Turn the label round where it is the wrong way, and train again."),
    )


def _level(task: str, v: AmountLevel, t: Thresholds) -> Finding:
    less = v.here < v.expected
    return Finding(
        "LABEL-RATE",
        "error" if v.here < v.expected / 2 or v.here > 2 * v.expected else "warning",
        task,
        f"The labels of {task} are {v.here / v.trained:.2g} times as large as in training, and {v.here / v.expected:.2g} times "
        "as large as the model expects of these rows.",
        (
            Evidence("typical label", v.here, v.trained, v.n),
            Evidence("what the model expects of these rows", v.expected, None, v.n),
            Evidence("standard errors from training", abs(v.from_trained), t.rate_deviations, v.customers),
            Evidence("standard errors from what the model expects", abs(v.from_expected), t.rate_deviations, v.customers),
        ),
        None,
        "The time that this label looks ahead was cut short, a part of its events was not delivered, or its rule is another."
        if less
        else "Its events count twice, the time that it looks ahead is longer, or its rule is another.",
        Fix("", None, None, "Compare the label's events by segment and date with those of training, and build again."),
    )
