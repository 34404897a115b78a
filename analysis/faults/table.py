"""The score as text: the totals, a line a kind of fault, a line a check, and what was missed, false or harmless by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analysis.faults.fault import unplantable

SCORES = ("alarm", "subject", "cause", "first")


def lines(score: Any) -> Iterable[str]:
    """Of a `score.BenchmarkScore`, which knows this module."""
    s = score.summary()
    seeds = ", ".join(f"{n} ({r})" for n, r in s["seed_roles"].items())
    yield f"{s['faults']} faults in {s['cases']} cases on seeds {seeds}; {s['healthy_runs']} healthy runs"
    for use in score.once:
        yield f"seed {use.get('seed')} had been run before: {use.get('when')}, code {use.get('code')}"
    yield f"alarm                   {score.share('alarm')}"
    yield f"right subject           {score.share('subject')}"
    yield f"usable cause            {score.share('cause')}"
    yield f"  in the first headline {score.share('first')}"
    yield f"precision of alarms     {score.precision}"
    yield f"  each healthy one once {score.precision_once}"
    yield f"recall of clear faults  {score.recall}"
    yield f"fixes that clear        {score.fixes}"
    yield (
        f"alarms of healthy runs  {s['healthy_alarms']} in {s['healthy_runs']} runs, and {s['healthy_confirmed']} about skill "
        f"that other customers confirm; {s['healthy_silent']} runs say nothing"
    )
    yield ""
    titles = " ".join(f"{t:>7}" for t in ("harmful", *SCORES))
    yield f"{'kind':<13} {'faults':>6} {'cases':>5} {titles} {'precision':>10}"
    for c in score.by_kind():
        told = " ".join(f"{_of(c[of]):>7}" for of in SCORES)
        yield f"{c['kind']:<13} {c['faults']:>6} {c['cases']:>5} {c['harmful']:>7} {told} {_of(c['precision']):>10}"
    yield ""
    yield f"{'check':<22} {'clear':>5} {'found':>5} {'subtle':>8} {'void':>4} {'false':>5} {'fix':>6}  planted by"
    for c in score.by_check():
        subtle = f"{c['subtle_found']}/{c['subtle']}" if c["subtle"] else ""
        fix = f"{c['fix_clears']}/{c['fix_tried']}" if c["fix_tried"] else ""
        void = c["void"] or ""
        yield (
            f"{c['check']:<22} {c['clear']:>5} {c['found']:>5} {subtle:>8} {void:>4} {c['false_alarms'] or '':>5} {fix:>6}  "
            f"{', '.join(c['faults'])}"
        )
    named = (
        ("no usable cause", _untold(score)), ("missed", _misses(score)), ("false alarms", _false(score)),
        ("true of healthy runs", _confirmed(score)),
        ("did no harm, not scored", _harmless(score)), ("not plantable", _unplantable()),
    )  # fmt: skip
    for title, items in named:
        if items:
            yield ""
            yield f"{title}:"
            yield from (f"  {line}" for line in items)


def _of(ratio: dict[str, Any]) -> str:
    return f"{ratio['hits']}/{ratio['n']}"


def _untold(score: Any) -> list[str]:
    out = []
    for c in score.untold:
        assert c.told is not None
        said = ", ".join(c.told.headlines[:4]) or "no alarm"
        more = f" and {len(c.told.headlines) - 4} more" if len(c.told.headlines) > 4 else ""
        out.append(f"{c.fault} ({c.level}), seed {c.seed}; harm: {c.harm or 'clear'}; said: {said}{more}")
    return out


def _harmless(score: Any) -> list[str]:
    return [
        f"{c.fault} ({c.level}), seed {c.seed}: {c.harm}"
        for c in score.cases
        if c.harm is not None and c.told is not None and not c.void and not c.harmful
    ]


def _misses(score: Any) -> list[str]:
    return [
        f"{h.id} {h.subject}: {c.fault} ({c.level}), seed {c.seed}{f'; {c.error}' if c.error else ''}" for c, h in score.misses
    ]


def _false(score: Any) -> list[str]:
    on = "also on the healthy run"
    return [
        f"{a.severity} {a.id} {a.subject}: {c.fault} ({c.level}), seed {c.seed}{f'; {on}' if a.healthy and c.hits else ''}"
        for c, a in score.false_alarms
    ]


def _confirmed(score: Any) -> list[str]:
    return [f"{a.severity} {a.id} {a.subject}: {c.level}, seed {c.seed}" for c in score.cases for a in c.confirmed]


def _unplantable() -> list[str]:
    return [f"{id}: {why}" for id, why in unplantable().items()]
