"""The card of a run: its sections are those of Mitchell et al. 2019 ("Model Cards for Model Reporting"), in the order in which
model hubs show them.

Nothing is measured here. Numbers are those that the run folder and its stored analysis hold, as the pages show them; what is
not stored is said to be missing. What the model may be used for follows from the trust in each task.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis import headline
from analysis.card.use import uses
from analysis.card.words import Words
from analysis.diagnose import Diagnosis
from analysis.groups import RAW, groupings
from analysis.results.card import CardSection, ModelCard
from analysis.results.review import Level, ReviewBlock
from analysis.review.about import run_facts
from analysis.stats.skill import SPLITS, TaskSkill
from ple_model.barred_words import BARRED_KINDS
from ple_model.data.dataset.manifest import sha256_file
from ple_model.errors import UserError
from ple_model.interval import Interval
from ple_model.numerals import Language, clock, fixed
from ple_model.safe_paths import is_file

if TYPE_CHECKING:
    from ple_model.run import Run

LEVELS: dict[str, Level] = {"healthy": "ok", "broken": "withheld"}
"""Of the verdict's words those that are told by more than grey."""
BASELINES = ("linear", "boosting")
Rows = list[tuple[str, ...]]


def card(run: Run, found: Diagnosis | None, language: Language = "en") -> ModelCard:
    """The card of `run` with what `found` holds of it; None: nothing is stored, which the card says. `UserError` for a damaged
    run."""
    w = Words(language, run, found)
    about = run_facts(run)
    sections = (
        CardSection("details", w("details"), (ReviewBlock("", "facts", tuple(_details(w))),)),
        CardSection("use", w("use"), uses(w, about.generated)),
        CardSection("factors", w("factors"), (_lines(_factors(w)),)),
        CardSection("metrics", w("metrics"), (_lines([w("metrics_skill"), w("metrics_interval"), w("metrics_trust")]),)),
        CardSection("evaluation", w("evaluation"), (_evaluation(w),)),
        CardSection("training", w("training"), (ReviewBlock("", "facts", tuple(_training(w))),)),
        CardSection("results", w("results"), _results(w)),
        CardSection("ethics", w("ethics"), (_lines(_ethics(w, about.generated)),)),
        CardSection("caveats", w("caveats"), _caveats(w)),
        CardSection("made", w("made"), (ReviewBlock("", "facts", tuple(_made(w))),)),
    )
    level: Level = "unknown" if found is None else LEVELS.get(found.verdict.word, "unknown")
    footer = w("footer", release=run.manifest.versions.get("ple-scope", "–"))
    return ModelCard(language, run.name, w("title", run=run.name), w.verdict(), level, sections, footer)


def _lines(texts: list[str]) -> ReviewBlock:
    return ReviewBlock("", "lines", tuple((t,) for t in texts))


def _details(w: Words) -> Rows:
    m, config = w.run.manifest, w.run.config
    weights = w.run.path / "model.safetensors"
    rows: Rows = [
        (w("kind"), w("kind_said")),
        (w("preset"), m.preset),
        (w("parameters"), f"{m.parameters:,}" if m.parameters else "–"),
        (w("experts"), ", ".join(m.experts or config.shared_experts)),
        (w("tasks"), w("tasks_said", n=len(config.tasks), names=", ".join(config.tasks))),
        (w("status"), w(f"status_{w.run.state}")),
        (w("trained"), (m.finished or m.created)[:16].replace("T", " ") + " UTC"),
        (w("checksum"), sha256_file(weights) if is_file(weights) else w("no_weights")),
        (w("format"), str(m.format_version)),
    ]
    if m.parent:
        rows.append((w("parent"), m.parent))
    if m.teacher is not None:
        rows.append((w("teacher"), f"{m.teacher.name} ({m.teacher.fingerprint})"))
    if m.encoder is not None:
        rows.append((w("encoder"), f"{m.encoder.name} ({m.encoder.fingerprint}), {m.encoder.sequence}, {m.encoder.mode}"))
    return rows


def _factors(w: Words) -> list[str]:
    if w.found is None:
        return [w("groups_unstored")]
    names = [w.group(by.removeprefix(RAW)) for by in groupings(w.found.store)]
    return [w("groups", names=", ".join(names))] if names else [w("groups_none")]


def _evaluation(w: Words) -> ReviewBlock:
    if w.found is None:
        return _lines([w("unstored")])
    found = w.found.statistics.performance
    rows: Rows = [
        (w.split(split), w("rows_of", rows=f"{x.rows:,}", customers=f"{x.customers:,}")) for split, x in found.items()
    ]
    data = w.found.store.meta.get("data") or {}
    rows += [(w("name"), str(data.get("name", "–"))), (w("fingerprint"), str(data.get("fingerprint", "–")))]
    rows.append((w("analysis"), w.found.store.fingerprint))
    return ReviewBlock("", "facts", tuple(rows))


def _training(w: Words) -> Rows:
    data, context = w.run.manifest.data, w.run.context()
    rows: Rows = [
        (w("name"), data.name),
        (w("fingerprint"), data.fingerprint),
        (w("rows"), " · ".join(f"{w.split(k)} {v:,}" for k, v in data.rows.items()) or "–"),
    ]
    try:
        held = w.run.sample().manifest
    except UserError:
        held = None
    if held is not None:
        rows.append((w("cutoffs"), ", ".join(held.cutoffs) or w("no_cutoffs")))
        days = held.settings.get("horizon_days")
        if isinstance(days, int) and context.own is None:
            rows.append((w("horizon"), w("days", n=days)))
        if held.absent_sources:
            rows.append((w("absent"), ", ".join(held.absent_sources)))
    rows.append((w("columns"), f"{context.n_features:,}"))
    rows.append((w("currency"), context.currency or w("currency_unknown")))
    if silent := w.unlearned:
        rows.append((w("unlabelled"), ", ".join(silent)))
    return rows


def _results(w: Words) -> tuple[ReviewBlock, ...]:
    split, tasks = _skill(w)
    blocks = []
    if tasks:
        head = (w("task"), w("skill"), w("interval"), w("constant"), w("linear"), w("boosting"), w("n"), w("trust"))
        note = w("skill_of", split=w.split(split), customers=f"{max(t.customers for t in tasks.values()):,}")
        if alone := [task for task, one in tasks.items() if not one.baseline_skill.keys() & set(BASELINES)]:
            note = f"{note} {w('uncompared_tasks', tasks=', '.join(alone))}"
        if split == "train":
            note = f"{note} {w('flattered')}"
        rows = tuple(_skill_row(w, task, x) for task, x in tasks.items())
        blocks.append(ReviewBlock(w("skill_heading"), "table", rows, head, note, numbers=True, words=(7,)))
    else:
        blocks.append(_lines([w("unstored" if w.found is None else "no_skill")]))
    return (*blocks, *_metrics(w))


def _skill(w: Words) -> tuple[str, dict[str, TaskSkill]]:
    """As the overview shows it: of the split that tells most, the tasks that had labels in training."""
    stored = {} if w.found is None else w.found.statistics.skill
    split = next((s for s in SPLITS if stored.get(s)), "")
    return split, {k: x for k, x in stored.get(split, {}).items() if k not in w.unlearned}


def _skill_row(w: Words, task: str, x: TaskSkill) -> tuple[str, ...]:
    simple = [_three(x.baseline_skill.get(name)) for name in BASELINES]
    return (task, _three(x.skill.value), _interval(x.skill), "0", *simple, f"{x.rows:,}", w.trust(task))


def _three(value: float | None) -> str:
    """With three decimals, what rounds to nothing without a sign."""
    return fixed(value, 3, "–").replace("-0.000", "0.000")


def _interval(x: Interval) -> str:
    return f"{_three(x.low)} … {_three(x.high)}" if math.isfinite(x.low) else "–"


def _metrics(w: Words) -> tuple[ReviewBlock, ...]:
    """The headline metrics of the split that tells most: measured of the stored rows, else as the training wrote them."""
    if w.found is not None and w.found.statistics.performance:
        performance = w.found.statistics.performance
        split = next((s for s in SPLITS if s in performance), next(iter(performance)))
        lines, note = headline.rows(performance[split]), w("metrics_measured", split=w.split(split))
    elif splits := headline.kept_splits(w.run):
        split = splits[0]
        lines, note = headline.kept(w.run, split), w("metrics_kept", split=w.split(split))
    else:
        return (_lines([w("no_metrics")]),)
    head = (w("task"), w("metric"), w("value"), w("constant"), w("n"))
    rows = tuple(
        (r["task"], w(f"metric_{r['called']}"), _three(r["value"]), _three(r["constant"]), f"{r['n']:,}")
        for r in lines
        if r["task"] not in w.unlearned
    )
    return (ReviewBlock(w("metrics_heading"), "table", rows, head, note, numbers=True, words=(1,)),) if rows else ()


def _ethics(w: Words, generated: bool) -> list[str]:
    ko = w.language == "ko"
    barred = ", ".join(kind.title[ko] for kind in BARRED_KINDS.values())
    return [w("barred", names=barred), w("groups_say"), *([w("generated")] if generated else [])]


def _caveats(w: Words) -> tuple[ReviewBlock, ...]:
    blocks = []
    if w.found is None:
        blocks.append(_lines([w("undiagnosed")]))
    elif groups := [g for g in w.found.groups() if g.cause.alarm]:
        rows = tuple((w.severity(g.cause), g.cause.subject, w.said(g.cause.verdict), g.cause.id) for g in groups)
        head = (w("severity"), w("subject"), w("finding"), w("check"))
        folded = sum(len(g.followers) for g in groups)
        note = w("followers", n=folded) if folded else ""
        blocks.append(ReviewBlock(w("findings"), "table", rows, head, note))
    else:
        blocks.append(_lines([w("no_findings")]))
    if warnings := w.run.manifest.warnings:
        blocks.append(ReviewBlock(w("warnings"), "lines", tuple((w.said(x),) for x in warnings)))
    return tuple(blocks)


def _made(w: Words) -> Rows:
    m = w.run.manifest
    return [
        (w("command"), m.command or w("unknown")),
        (w("machine"), m.machine or w("unknown")),
        (w("device"), f"{m.device}, {w('threads', n=m.threads)}"),
        (w("seconds"), clock(m.seconds) if m.seconds is not None else w("unknown")),
        (w("batch"), f"{m.batch_size:,}"),
        (w("seed"), str(m.seed)),
        (w("commit"), m.commit or w("unknown")),
        (w("versions"), " · ".join(f"{k} {v}" for k, v in m.versions.items())),
    ]
