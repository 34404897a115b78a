"""Checks of inputs that are there, finite, and wrong: another customer's, a stand-in for a missing value, rows twice."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.consistency import ConsistencyStats, InputSkill, StandIn
from analysis.stats.run import Statistics
from ple_model.presence import is_part

PRESENCE = "data.presence"
INPUTS = 3
"""Inputs with one number at the same edge of their columns from which it is a limit."""
PROVEN = ("swapped", "reversed", "shifted", "constant")


def _consistency(s: Statistics) -> ConsistencyStats:
    if s.consistency is None:
        raise NotMeasured("It was not measured whether the inputs of a row go together.")
    return s.consistency


@check("INPUT-JOIN", "Every input goes with the other inputs of its row as it did in training.", PRESENCE)
def joined(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """An input that the others no longer tell; one finding for all where most are lost."""
    x = _consistency(s)
    if x.reason:
        raise NotMeasured(x.reason)
    if not x.skill:
        raise NotMeasured("No input is told by others: how they go together cannot be judged.")
    if x.displaced:
        yield _displaced(x, t)
    # an explanation that brings the skill back is proof, however much was left without it
    lost = {k: v for k, v in x.skill.items() if v.high < t.join_kept or v.kind in PROVEN}
    renumbered = {"cluster_ids", "cluster_probs"} <= lost.keys() and lost["cluster_probs"].kind == "columns"
    for key, skill in lost.items():
        if renumbered and key == "cluster_ids":
            continue  # the number of a cluster is the place of its column
        what, cause = CLUSTERS if renumbered and key == "cluster_probs" else _became(key, skill)
        experts = [e for e in s.facts.experts if key in s.facts.reads.get(e, ())]
        yield Finding(
            "INPUT-JOIN",
            "error",
            key,
            what,
            (
                Evidence("share of its skill that is left", skill.kept, t.join_kept, x.rows),
                Evidence("upper end of the 99 % interval", skill.high, t.join_kept, x.customers),
                Evidence("R2 from the other inputs at training", skill.then),
                Evidence("R2 now", skill.now, None, x.rows),
                Evidence("experts that read it", float(len(experts)), text=", ".join(experts)),
            ),
            PRESENCE,
            cause,
            Fix(
                "", None, None, "Join this input again by customer and cut-off, with the run's own preprocess/, and build anew."
            ),
        )


def _displaced(x: ConsistencyStats, t: Thresholds) -> Finding:
    """One finding for all columns that stand elsewhere."""
    first = max(x.displaced, key=lambda d: d.last - d.first)
    more = len(x.displaced) - 1
    still = sum(v.high < t.join_kept for v in x.skill.values())
    columns = sum(d.last - d.first + 1 for d in x.displaced)
    start, end, had = first.first_name, first.last_name, (first.first + first.by, first.last + first.by)
    if not first.by:
        what = (
            f"The columns of `features` from {first.first} (`{start}`) to {first.last} (`{end}`) are sorted otherwise than in "
            "training."
        )
    elif more:
        what = (
            f"Columns {first.first} (`{start}`) to {first.last} (`{end}`) of `features` hold the values of columns {had[0]} to "
            f"{had[1]}; {more} more blocks of columns stand elsewhere too."
        )
    else:
        what = (
            f"Columns {first.first} (`{start}`) to {first.last} (`{end}`) of `features` hold the values of columns {had[0]} to "
            f"{had[1]}."
        )
    return Finding(
        "INPUT-JOIN",
        "error",
        "features",
        what,
        (
            Evidence("columns that stand elsewhere", float(columns), 0.0, x.rows),
            Evidence("places they moved by", float(-first.by)),
            Evidence("inputs that are lost once they are put back", float(still), 0.0),
        ),
        PRESENCE,
        "A column was added, dropped or moved upstream, and those behind it are read by their position."
        if first.by
        else "The columns were written in another order, and are read by their position.",
        Fix("", None, None, "Write the columns in the order of the training's schema, by name, and build anew."),
    )


CLUSTERS = (
    "The clusters are numbered otherwise than in training: `cluster_probs` has its columns in another order.",
    "The clustering was fitted again, or its numbers were given anew: a cluster's number means another group of customers.",
)


def _became(key: str, skill: InputSkill) -> tuple[str, str]:
    """(verdict, cause) of an input that is lost."""
    left = f"{max(skill.kept, 0.0):.0%}"
    if skill.kind == "swapped":
        return (
            f"`{key}` holds the values of `{skill.other}`: only {left} of what other inputs told of it is left.",
            f"Two inputs were exchanged: `{key}` and `{skill.other}`.",
        )
    if skill.kind == "constant":
        return (
            f"`{key}` says the same of all rows, although it is marked as there.",
            "Either it was not delivered and a default was filled in for everybody, or rows are marked as having it that have "
            "not.",
        )
    if skill.kind == "columns":
        return (
            f"`{key}` has its columns in another order: only {left} of what other inputs told of it is left.",
            "The columns of this input are not in the order in which the model learned them.",
        )
    if skill.kind == "mixed":
        return (
            f"`{key}` has its columns mixed among each other otherwise than in training: only {left} of what other inputs told "
            "of it is left.",
            "What makes this input was fitted anew, so that its axes are others, or some of its columns stand in other rows.",
        )
    if skill.kind == "reversed":
        return (
            f"`{key}` runs backwards in time: only {left} of what other inputs told of it is left.",
            "The steps of this sequence are in reversed order: the newest stand where the oldest were.",
        )
    if skill.kind == "shifted":
        return (
            f"`{key}` is that of the neighbouring row: only {left} of what other inputs told of it is left.",
            "This input was joined by position and is off by one row.",
        )
    if skill.kind == "rows":
        return (
            f"`{key}` is not those customers': only {left} of what other inputs told of it is left.",
            "Its values look as in training, but stand in other customers' rows: a join by position, or a lost sort order.",
        )
    return (
        f"`{key}` no longer goes with the rest of its row: only {left} of what other inputs told of it is left.",
        "What makes this input was fitted anew or is another: its values mean something else than in training.",
    )


@check("INPUT-SENTINEL", "No value far beyond those of training is shared by many rows.", PRESENCE)
def sentinel(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding an input, of its worst column."""
    x = _consistency(s)
    if not x.columns:
        raise NotMeasured(x.reason or "The columns were not looked at for stand-ins.")
    shared = [one for one in x.stand_ins if one.share > t.sentinel_share]
    cut = _clipped(shared)
    if cut:
        yield _one_clip(cut, x, t)
    by_input: dict[str, list[StandIn]] = {}
    for one in shared:
        if one not in cut:
            by_input.setdefault(one.input, []).append(one)
    for key, found in by_input.items():
        first = max(found, key=lambda f: f.share)
        more = len(found) - 1
        yield Finding(
            "INPUT-SENTINEL",
            "error",
            key,
            f"`{first.column}` is {first.value:.6g} in {first.share:.1%} of rows, "
            + ("far beyond every value of training" if first.beyond else "a number that hardly two rows of training share")
            + (f"; {more} more columns of this input have one too." if more else "."),
            (
                Evidence("share of rows with the value", first.share, t.sentinel_share, first.rows, first.column),
                Evidence("largest share it can have had in training", first.trained),
                Evidence("columns of this input with such a value", float(len(found)), 0.0, x.columns),
            ),
            PRESENCE,
            "One number stands in for values that are missing or failed, and the model reads it as a measurement.",
            Fix(
                "",
                None,
                None,
                "Leave such values empty before the import (a missing value is marked as absent), and build anew.",
            ),
        )


def _clipped(shared: list[StandIn]) -> list[StandIn]:
    """Those at the edge of their column, with the same number at that edge of columns of several inputs: a limit, and no number
    that stands in for others."""
    groups: dict[tuple[float, int], list[StandIn]] = {}
    for one in shared:
        if one.edge and not one.beyond:
            groups.setdefault((one.value, one.edge), []).append(one)
    return [one for found in groups.values() if len({f.input for f in found}) >= INPUTS for one in found]


def _one_clip(cut: list[StandIn], x: ConsistencyStats, t: Thresholds) -> Finding:
    limits = ", ".join(f"{v:.6g}" for v in sorted({one.value for one in cut}))
    inputs = sorted({one.input for one in cut})
    first = max(cut, key=lambda one: one.share)
    return Finding(
        "INPUT-SENTINEL",
        "error",
        "features" if all(map(is_part, inputs)) else "inputs",
        f"{len(cut)} columns of {len(inputs)} inputs are cut off at {limits}: many rows hold exactly that, none goes beyond "
        "it, and those of training did.",
        (
            Evidence("share of rows with the value", first.share, t.sentinel_share, first.rows, first.column),
            Evidence("largest share it can have had in training", first.trained),
            Evidence("columns that are cut off there", float(len(cut)), 0.0, x.columns, ", ".join(inputs)),
        ),
        PRESENCE,
        "The values were clipped or saturated on their way here: what lay beyond the limit became the limit.",
        Fix("", None, None, "Deliver these columns without the limit, as in training, and build anew."),
    )


@check("INPUT-DUPLICATE", "No customer is there twice at one cut-off.", PRESENCE)
def duplicate(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The same customer and cut-off more than once; or rows of different names that say the same in nearly all columns."""
    x = _consistency(s)
    if x.across > x.twice / 2:
        share = x.across / max(x.measured, 1)
        yield Finding(
            "INPUT-DUPLICATE",
            "error",
            "rows",
            f"{x.across} rows ({share:.1%}) are of a customer and cut-off that is in more than one split: {x.splits}.",
            (
                Evidence("rows that are in more than one split", float(x.across), 0.0, x.measured, x.example),
                Evidence("splits", None, text=x.splits),
            ),
            PRESENCE,
            "The rows of one split were delivered as another's: what is measured on them was learned or counted twice.",
            Fix("", None, None, "Give each customer and cut-off to one split alone, then build anew."),
        )
        return
    if x.twice:
        share = x.twice / max(x.measured, 1)
        yield Finding(
            "INPUT-DUPLICATE",
            "error",
            "rows",
            f"{x.twice} rows ({share:.1%}) are of a customer and cut-off that is there more than once.",
            (Evidence("rows that are there more than once", float(x.twice), 0.0, x.measured, x.example),),
            PRESENCE,
            "A join multiplied rows, or the same extract was loaded twice: these customers count more than once.",
            Fix("", None, None, "Keep one row a customer and cut-off, then build anew."),
        )
        return
    if x.compared < t.min_rows:
        raise NotMeasured(f"Not enough rows to say: {x.compared} were compared, {t.min_rows} needed.")
    if x.repeated > x.repeated_then + t.repeated_share:
        yield Finding(
            "INPUT-DUPLICATE",
            "warning",
            "rows",
            f"{x.repeated:.1%} of rows say the same as another customer's of that date; in training {x.repeated_then:.1%} did.",
            (Evidence("rows that say the same as another", x.repeated, x.repeated_then + t.repeated_share, x.compared),),
            PRESENCE,
            "Rows were copied under another customer's name, or an input was filled from one customer for many.",
            Fix("", None, None, "Look at how the customers' names were joined to these rows, and build anew."),
        )
