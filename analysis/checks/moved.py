"""Checks of parts that are not dead, but far from what they were at the end of training: an expert's size, a gate's mixture.

What they are held against is `fingerprint.json`: the same run's own outputs on its stored customers. No absolute size is right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from analysis.stats.written import Written


def _then(s: Statistics, t: Thresholds) -> Written:
    if s.written is None:
        raise NotMeasured("It was not looked at whether the run is what its training wrote.")
    if s.written.reason:
        raise NotMeasured(s.written.reason)
    if s.written.rows < t.min_rows:
        raise NotMeasured(f"Not enough stored customers to say: training kept {s.written.rows}, {t.min_rows} needed.")
    return s.written


@check("EXP-SCALE", "Every expert's output is as large as at the end of training.", "experts.health")
def scale(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Norm or spread of an expert's output many times, or a small part of, what it was."""
    if s.experts is None:
        raise NotMeasured("Expert outputs were not measured.")
    need_rows(s.experts.n, t)
    w, e = _then(s, t), s.experts
    for i, name in enumerate(e.names):
        norm, spread = w.expert_norm.get(name, math.nan), w.expert_spread.get(name, math.nan)
        if e.counted[i] < t.min_rows or not (norm > 0 and spread > 0):
            continue
        now = float(e.variance(name).sum()) ** 0.5
        ratios = {"norm": float(e.norm_mean[i]) / norm, "spread": now / spread}
        what = max(ratios, key=lambda k: abs(math.log(max(ratios[k], 1e-12))))
        ratio = ratios[what]
        if 1 / t.expert_scale <= ratio <= t.expert_scale:
            continue
        yield Finding(
            "EXP-SCALE",
            "warning",
            name,
            f"The output of {name} is {ratio:.3g} times as large as at the end of training."
            if what == "norm"
            else f"The output of {name} differs between rows {ratio:.3g} times as much as at the end of training.",
            (
                Evidence("mean norm, then and now", float(e.norm_mean[i]), norm, int(e.counted[i])),
                Evidence("standard deviation over rows, then and now", now, spread, int(e.counted[i])),
                Evidence("factor", ratio, t.expert_scale if ratio > 1 else 1 / t.expert_scale),
            ),
            "experts.health",
            "Its weights were scaled or partly replaced after the training, or its inputs are of another size.",
            Fix("", None, None, f"Take the weights of {name} from where it was trained, or look at its inputs' ranges."),
            (f"ablate.{name}=mean",),
        )


@check("GATE-JITTER", "The gates mix experts within a row as they did at the end of training.", "gates.heatmap")
def jitter(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Gates that decide each row by one expert, another one each time, although training had them mixed."""
    if s.gates is None:
        raise NotMeasured("Gate weights were not measured.")
    need_rows(s.gates.n, t)
    w, g = _then(s, t), s.gates
    found = []
    for i, task in enumerate(g.tasks):
        then = w.gate_top.get(task, math.nan)
        now = float(g.top_weight[i]) / g.n
        if len(g.experts) > 1 and 1 - now < t.gate_jitter * (1 - then) and float(g.mean[i].max()) < t.gate_collapse:
            found.append((task, then, now, float(g.mean[i].max())))
    if not found:
        return
    task, then, now, mean = max(found, key=lambda f: f[2] - f[1])
    yield Finding(
        "GATE-JITTER",
        "warning",
        task if len(found) == 1 else "gates",
        f"{len(found)} gates decide a row by one expert: in {task} it has {now:.0%} of the weight, {then:.0%} after training.",
        (
            Evidence("mean of a row's largest weight", now, then, g.n, task),
            Evidence("largest weight averaged over rows", mean, t.gate_collapse, g.n),
            Evidence("gates", float(len(found)), 0.0, len(g.tasks), ", ".join(f[0] for f in found)),
        ),
        "gates.heatmap",
        "The gates' weights were scaled, or the representation they read is larger: the softmax is saturated row by row.",
        Fix("", None, None, "Take the gates' weights from where they were trained; else look at which expert grew."),
        (f"gate_temperature.{task}=2",),
    )
