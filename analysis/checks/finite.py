"""Checks of numbers that are no numbers (NaN, Inf): in the weights, the inputs and the predictions, with what they reach."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.finite import FiniteStats
from analysis.stats.run import Statistics

PRESENCE = "data.presence"


def _finite(s: Statistics) -> FiniteStats:
    if s.finite is None or s.finite.n == 0:
        raise NotMeasured("It was not counted which rows are numbers.")
    return s.finite


def _reach(x: FiniteStats | None) -> tuple[Evidence, ...]:
    """Predictions that are no numbers, as evidence."""
    if x is None or not x.n:
        return ()
    tasks = sorted(x.tasks, key=lambda t: -x.tasks[t])
    most = x.share(x.tasks[tasks[0]]) if tasks else 0.0
    return (
        Evidence("predictions that are no numbers", most, 0.0, x.n),
        Evidence("tasks they belong to", float(len(tasks)), text=", ".join(tasks)),
    )


@check("WEIGHTS-NONFINITE", "Every weight, buffer and scaler is a number.", "experts.health")
def weights(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """NaN or Inf in what training wrote, by module: everything that is measured of such a run is of a broken one."""
    if not s.n:
        raise NotMeasured("The weights were not looked at.")
    by_module: dict[str, list[str]] = {}
    for name in s.facts.nonfinite_parameters:
        by_module.setdefault(_module(name, s.facts.experts), []).append(name)
    for module, names in by_module.items():
        values = max(s.facts.nonfinite_values.get(n, float("nan")) for n in names)
        yield Finding(
            "WEIGHTS-NONFINITE",
            "error",
            module,
            f"{len(names)} tensors of `{module}` hold NaN or Inf, `{names[0]}` for one.",
            (
                Evidence("tensors", float(len(names)), 0.0, text=", ".join(names[:6])),
                Evidence("largest share of a tensor's values", values, 0.0),
                *_reach(s.finite),
            ),
            "experts.health",
            "The file of the weights was damaged, or training wrote numbers that had overflowed.",
            Fix("", None, None, "Take the file from where it was trained, or train again; nothing else opens this run."),
        )


def _module(name: str, experts: tuple[str, ...]) -> str:
    """The part of the model, or the file, that a tensor's name belongs to."""
    parts = name.split(".")
    if parts[0] == "experts" and len(parts) > 1 and parts[1] in experts:
        return parts[1]
    return parts[0]


@check("INPUT-NONFINITE", "Every input and label is a number.", PRESENCE)
def inputs(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """NaN or Inf in any input field or label: which rows, and which experts and tasks they reach."""
    x = _finite(s)
    for key in sorted(x.inputs, key=lambda k: (-x.inputs[k], k)):
        share = x.share(x.inputs[key])
        reached = x.reached.get(key, {})
        experts = [e for e in s.facts.experts if e in reached]
        tasks = sorted((k for k in s.facts.tasks if k in reached), key=lambda k: -reached[k])
        yield Finding(
            "INPUT-NONFINITE",
            "error",
            key,
            f"`{key}` holds NaN or Inf in {share:.2%} of rows; it reaches {len(experts)} experts and {len(tasks)} tasks.",
            (
                Evidence("rows with NaN or Inf", share, 0.0, x.n),
                Evidence("experts it reaches", float(len(experts)), 0.0, text=", ".join(experts)),
                Evidence("tasks it reaches", float(len(tasks)), 0.0, text=", ".join(tasks)),
                Evidence("predictions lost", x.share(max((reached[k] for k in tasks), default=0.0)), 0.0, x.n),
            ),
            PRESENCE,
            "What makes this field puts out values that are no numbers, or a row was marked present without any.",
            Fix("", None, None, "`ple validate` on the dataset names rows and customers; repair the feed and build again."),
        )


@check("OUTPUT-NONFINITE", "Every prediction and its uncertainty is a number.", None)
def outputs(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Predictions that are no numbers; each counts as a miss in every metric."""
    x = _finite(s)
    rows = {k: max(x.tasks.get(k, 0.0), x.heads.get(k, 0.0)) for k in s.facts.tasks if k in x.tasks or k in x.heads}
    if not rows:
        return
    worst = max(rows, key=lambda k: rows[k])
    share = x.share(rows[worst])
    if s.facts.nonfinite_parameters:
        cause = "Weights that are no numbers."
    elif x.inputs:
        cause = "Inputs that are no numbers."
    else:
        cause = "A number overflowed inside the model."
    yield Finding(
        "OUTPUT-NONFINITE",
        "error",
        worst if len(rows) == 1 else "tasks",
        f"The predictions or uncertainties of {len(rows)} tasks are no numbers, those of {worst} in {share:.2%} of rows.",
        (
            Evidence("rows", share, 0.0, x.n),
            Evidence("tasks", float(len(rows)), 0.0, text=", ".join(sorted(rows, key=lambda k: -rows[k]))),
            Evidence("experts with NaN or Inf", float(len(x.experts)), 0.0, text=", ".join(x.experts)),
        ),
        None,
        cause,
        Fix("", None, None, "Repair what WEIGHTS-NONFINITE and INPUT-NONFINITE name, else look at the ranges of the inputs."),
    )
