"""Checks of logit transfer: over-reliance, inactive edges, order, and edges that ignore their source's size (reference)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.gates import no_say
from analysis.checks.loss import unlabelled
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from analysis.stats.transfer import TransferStats

DAG = "transfer.dag"


def _transfer(s: Statistics, t: Thresholds) -> TransferStats:
    if s.transfer is None:
        raise NotMeasured("Logit transfer was not measured.")
    need_rows(s.transfer.n, t)
    return s.transfer


@check("LT-OVERRELIANCE", "No task leans on another's prediction more than on itself.", DAG)
def overreliance(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The transferred part outweighs the target's own representation, or cutting it flips many decisions."""
    x = _transfer(s, t)
    old = float(s.facts.get("task_relationships.transfer_strength", 0.5))
    silent = unlabelled(s)
    for i, edge in enumerate(x.edges):
        source, target = edge.split(":")
        if target in silent:
            continue
        ratio, flips = float(x.mean_ratio[i]), float("nan")
        e = s.effects
        if e is not None and f"edge.{edge}=0" in e.interventions and e.n >= t.min_rows:
            flips = float(e.flip_share[e.interventions.index(f"edge.{edge}=0"), e.tasks.index(target)])
        if ratio >= t.transfer_ratio or flips >= t.transfer_flips:
            yield Finding(
                "LT-OVERRELIANCE",
                "warning",
                edge,
                f"{target} leans on {source}: the transfer is {ratio:.2f} times its own representation"
                + (f", and cutting it flips {flips:.0%} of decisions." if np.isfinite(flips) else "."),
                (
                    Evidence("alpha ||proj|| / ||h||", ratio, t.transfer_ratio, x.n),
                    Evidence("decisions flipped by the cut", flips, t.transfer_flips, e.n if e else None),
                    *no_say(s, target),
                ),
                DAG,
                "transfer_strength is too high.",
                Fix("task_relationships.transfer_strength", old, round(min(0.3, 0.6 * old), 4), "Weaken the transfer."),
                (f"edge.{edge}=0",),
            )


@check("LT-INACTIVE", "Every configured transfer edge is active.", DAG)
def inactive(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """An edge is configured but hands nothing on."""
    for edge in s.facts.get("task_relationships.transfers") or []:
        source, target = edge["source"], edge["target"]
        off = [k for k in (source, target) if k not in s.facts.tasks]
        if off:
            yield Finding(
                "LT-INACTIVE",
                "warning",
                f"{source}:{target}",
                f"The transfer {source} -> {target} is not applied: {' and '.join(off)} is switched off.",
                (Evidence("disabled tasks", float(len(off)), 0.0, text=", ".join(off)),),
                DAG,
                "A task of the pair is disabled.",
                Fix(f"task_experts.tasks.{off[0]}.enabled", False, True, "Enable the task, or drop the pair."),
            )
    strength = float(s.facts.get("task_relationships.transfer_strength", 0.5))
    if s.transfer is None:
        return
    silent = unlabelled(s)
    for i, name in enumerate(s.transfer.edges):
        if set(name.split(":")) & set(silent):
            continue
        ratio = float(s.transfer.mean_ratio[i])
        if s.transfer.n >= t.min_rows and ratio < 1e-6:
            yield Finding(
                "LT-INACTIVE",
                "warning",
                name,
                f"The transfer {name.replace(':', ' -> ')} adds nothing (strength {strength:g}).",
                (Evidence("alpha ||proj|| / ||h||", ratio, 1e-6, s.transfer.n), Evidence("transfer_strength", strength)),
                DAG,
                "The strength is 0 or the edge's projection is dead.",
                Fix("task_relationships.transfer_strength", strength, 0.5, "Switch the transfer on, or drop the pair."),
            )


@check("LT-ORDER", "Every source is computed before its target.", DAG)
def order(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A cycle is a configuration error before training; this guards what was run."""
    position = {k: i for i, k in enumerate(s.facts.execution_order)}
    if not position:
        raise NotMeasured("The execution order was not recorded.")
    for edge in s.facts.edges:
        source, target = edge.split(":")
        if position.get(source, -1) >= position.get(target, len(position)):
            yield Finding(
                "LT-ORDER",
                "error",
                edge,
                f"{target} runs before {source}, on whose prediction it depends.",
                (
                    Evidence("position of the source", float(position.get(source, -1))),
                    Evidence("position of the target", float(position.get(target, -1))),
                ),
                DAG,
                "The execution order is not a topological order of the edges.",
                Fix("task_relationships.transfers", edge, None, "Remove an edge of the cycle."),
            )


@check("LT-SCALE-FREE", "Targets answer to the size of their sources.", "transfer.dose")
def scale_free(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """LayerNorm over a one-dimensional source can ignore its size: information, with the dose-response as evidence."""
    if not s.dose:
        raise NotMeasured("The dose-response of the edges was not measured.")
    silent = unlabelled(s)
    for edge, d in s.dose.items():
        if set(edge.split(":")) & set(silent) or edge.split(":")[1] in s.facts.linear:
            continue
        if d.n >= t.min_rows and d.relative_range < t.scale_free:
            source, target = edge.split(":")
            yield Finding(
                "LT-SCALE-FREE",
                "info",
                edge,
                f"{target} does not react to the size of {source}: its answer moves by {d.range:.2g} over the whole range.",
                (
                    Evidence("range over the target's standard deviation", d.relative_range, t.scale_free, d.n),
                    Evidence("range of the answer", d.range),
                ),
                "transfer.dose",
                "LayerNorm over the projection of a one-dimensional source keeps only its sign; the bias decides.",
                None,
                (f"edge.{edge}=0",),
            )
