"""Which reasons carry a prediction, for whom: customers are drawn from a cohort, each is explained as on the page, and their
first reasons are counted.

`python -m analysis.explain.carried RUN DATA ANALYSIS TASK CLASS COHORT N` does it in a process of its own, which may be ended
at any time: a line `3/60` a customer, at the end one line of JSON. DATA and CLASS may be empty. Nothing is written.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.cohort import CohortFilter, from_url
from analysis.explain.customer import explain_row
from analysis.explain.lookup import Undefined, find_all
from analysis.explain.origin.told import FAMILIES, column_said, sentence_said, topic_of
from analysis.explain.ranks import quality, ranked
from analysis.explain.standing import standing
from analysis.i18n import catalogue
from analysis.opening import opened_dataset, opened_run
from analysis.results.carried import A_PERSON, NO_REASONS, CarriedCase, CarriedReason, CarriedReasons, FactWay
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Reason, Standing, matter_said
from analysis.store import AnalysisStore
from analysis.wording import title
from ple_model.errors import UserError, did_you_mean
from ple_model.json_text import plain
from ple_model.numerals import LANGUAGES
from ple_model.schema import FeatureSchema
from ple_model.wilson import wilson

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

SEED = 0
DRAWN, DRAWS = 60, (30, 60, 120)
EXAMPLES, CASES = 3, 8
"""So many customers are named for a reason, and so many reasons have an example told."""
EVERY = 2**31 - 1
"""All stored rows: the customers are drawn from the whole cohort."""
KINDS = ("binary", "multiclass", "regression")
"""Of tasks whose first choice is one of a few, or a number; a brand is one of too many."""
FAMILY_TITLES: Mapping[str, str] = {"cluster": "cluster_probs", "shape": "tda_features"}
"""The input whose title a family of inputs is called by."""
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class CarriedOrder:
    """Of whom. `target`: the class that is their first choice; None, for a task with a number: above the cohort's mean."""

    task: str
    target: int | None
    filters: tuple[CohortFilter, ...] = ()
    drawn: int = DRAWN
    barred: Sequence[str] | None = None
    """What may not be a reason; None: what the run's configuration says."""
    sensitive: Sequence[str] | None = None
    """What is marked in a reason; None: what the run's configuration says."""


def classes(run: Run, task: str) -> tuple[str, ...]:
    """The names of the classes that a task chooses among; empty for one with a number. `UserError` for a task with too many."""
    spec = run.config.tasks[task]
    if spec.kind not in KINDS:
        raise UserError(f"task '{task}' is answered with one of too many brands: whose first choice one is, are too few")
    if spec.kind != "multiclass":
        return ()
    return tuple(run.context().class_names.get(task) or spec.classes)


def class_of(run: Run, store: AnalysisStore, task: str, asked: str) -> int | None:
    """The number of a class by its name or number; without a name the class that most customers are recommended, or None where
    the task is answered with a number. `UserError` names the nearest."""
    names = classes(run, task)
    if not names:
        if asked:
            raise UserError(f"task '{task}' is answered with a number and has no class '{asked}': leave the class out")
        return None
    if not asked:
        found = Counter(int(c) for c in store.rows([f"c:{task}"])[f"c:{task}"].astype(float) if c >= 0)
        return found.most_common(1)[0][0] if found else 0
    if asked in names:
        return names.index(asked)
    if asked.isdecimal() and int(asked) < len(names):
        return int(asked)
    raise UserError(f"task '{task}' has no class '{asked}'{did_you_mean(asked, names)}")


def whose_choice(store: AnalysisStore, order: CarriedOrder) -> list[str]:
    """The customers of the cohort whose first choice it is, each by the latest row, in the order of their ids."""
    p, c = f"p:{order.task}", f"c:{order.task}"
    rows = store.rows(["row", "customer_id", p, *([] if order.target is None else [c])], order.filters, EVERY)
    value = rows[p].astype(float)
    known = np.isfinite(value)
    if order.target is None:
        chosen = known & (value > (value[known].mean() if known.any() else 0.0))
    else:
        chosen = known & (rows[c].astype(float) == order.target)
    chosen &= np.isin(rows["row"].astype(np.int64), store.latest())
    return sorted({str(x) for x in rows["customer_id"][chosen]})


def drawn(customers: Sequence[str], n: int) -> list[str]:
    """Up to `n` of them by a fixed seed; of two draws the smaller is part of the larger."""
    order = np.random.default_rng(SEED).permutation(len(customers))
    return [customers[int(i)] for i in order[:n]]


def carried(
    run: Run | Path | str, store: AnalysisStore, order: CarriedOrder, dataset: Dataset | Path | str | None = None,
    tick: Tick = lambda done, total: None,
) -> CarriedReasons:  # fmt: skip
    """What the reasons of a draw of customers have in common: each is explained as `explain_row` explains one. Nothing is
    worked out where the task has no skill. `store`: the run's measurement on `dataset` (None: its own sample)."""
    opened = opened_run(run)
    every = whose_choice(store, order)
    asked = drawn(every, order.drawn)
    data = opened_dataset(opened, dataset)
    count = CarriedCount(opened, order, len(every), len(asked))
    skill = standing(opened, order.task, data)
    if not asked or (skill is not None and skill.has_skill is False):
        return count.found((), {}, skill)
    rows = find_all(opened, asked, None, data if dataset is not None else None).rows
    told: list[Explanation] = []
    without: Counter[str] = Counter()
    tick(0, len(asked))
    for done, customer in enumerate(asked, 1):
        try:
            where, row = rows[customer]
            told.append(
                explain_row(
                    opened, where, row, order.task, target=order.target, barred=order.barred, sensitive=order.sensitive
                )
            )  # fmt: skip
        except Undefined:
            without["outside"] += 1
        except (KeyError, UserError, ValueError, ArithmeticError, RuntimeError):  # as in a batch of reports: the others count
            without["broken"] += 1
        tick(done, len(asked))
    return count.found(told, without, skill)


@dataclass(frozen=True)
class CarriedCount:
    """Counts over explanations. `customers`: how many were to be drawn from."""

    run: Run
    order: CarriedOrder
    customers: int
    drawn: int

    def found(self, explained: Sequence[Explanation], failed: Mapping[str, int], skill: Standing | None) -> CarriedReasons:
        """`failed`: customers without an explanation, by ground; `skill`: of the task."""
        task, target, context = self.order.task, self.order.target, self.run.context()
        spec, names = context.named(self.run.config.tasks)[task], classes(self.run, task)
        without = Counter(failed)
        without.update(ground for x in explained if (ground := without_reasons(x)))
        shown = [x for x in explained if not without_reasons(x)]
        person: Counter[str] = Counter(x.person_because for x in shown if x.person_because in A_PERSON)
        reasons = counted(shown, context.schema)
        return CarriedReasons(
            run=self.run.name,
            task=task,
            title=spec.title,
            target=target,
            target_name="" if target is None or target >= len(names) else names[target],
            score_unit="value" if spec.kind == "regression" else "probability",
            unit=spec.unit,
            customers=self.customers,
            drawn=self.drawn,
            seed=SEED,
            told=len(shown),
            without={g: without[g] for g in NO_REASONS},
            person={g: person[g] for g in A_PERSON},
            reasons=reasons,
            cases=cases(shown, reasons, context.schema),
            skill=skill,
            unsaid=float(np.median([x.share_of(x.unsaid.size) for x in shown])) if shown else None,
        )


def without_reasons(x: Explanation) -> str:
    """Why no reasons of an explanation are shown; empty where some are."""
    if x.withheld:
        return "check"
    return "" if x.reasons else "reasons"


def counted(explained: Sequence[Explanation], schema: FeatureSchema) -> tuple[CarriedReason, ...]:
    """The reasons for the prediction by what they are about, the most frequent first, then the strongest."""
    by: dict[str, list[tuple[Explanation, Reason]]] = {}
    for x in explained:
        for key, reason in {reason_key(r, schema): r for r in reversed(x.reasons)}.items():  # of two alike the stronger
            by.setdefault(key, []).append((x, reason))
    found = [_counted(key, whose, len(explained), schema) for key, whose in by.items()]
    return tuple(sorted(found, key=lambda r: (-r.count, -abs(r.effect), r.key)))


def _counted(key: str, whose: Sequence[tuple[Explanation, Reason]], n: int, schema: FeatureSchema) -> CarriedReason:
    low, high = wilson(len(whose), n)
    marked = [r for _, r in whose if r.sensitive]
    strongest = sorted(whose, key=lambda w: (-abs(w[1].contribution), w[0].customer_id))[:EXAMPLES]
    effect = float(np.median([r.contribution for _, r in whose]))
    titles = reason_titles(key, whose[0][1], schema)
    examples = tuple(x.customer_id for x, _ in strongest)
    kind = next((r.kind for r in marked if r.kind), None)
    usual = _usual([r for _, r in whose], schema)
    return CarriedReason(
        key, titles, len(whose), float(low), float(high), effect, usual, bool(marked), kind, examples
    )  # fmt: skip


def _usual(reasons: Sequence[Reason], schema: FeatureSchema) -> FactWay | None:
    ways = Counter((r.told[0], r.above) for r in reasons if r.above is not None and r.told[0] in schema.index)
    if not ways:
        return None
    (name, above), count = min(ways.items(), key=lambda w: (-w[1], w[0]))
    if 2 * count <= len(reasons):  # told of half or fewer: nothing is usual
        return None
    column = schema.column(name)
    by_rank = ranked(name) and not schema.own
    en, ko = (quality(name, x) if by_rank else column_said(column, x) for x in LANGUAGES)
    return FactWay((en, ko), bool(above), column.unit == "flag", count)


def reason_key(reason: Reason, schema: FeatureSchema) -> str:
    """What a reason is counted under: its matter; the column of a table of one's own; a derived input's family."""
    first = reason.sources[0]
    if reason.matter or first not in schema.index:
        return reason.matter or topic_of(first)
    return schema.column(first).how if schema.own else first


def reason_titles(key: str, reason: Reason, schema: FeatureSchema) -> tuple[str, str]:
    """What the row of a key is called, in English and Korean."""
    first = reason.sources[0]
    if not reason.matter and first in schema.index:
        en, ko = (_source_said(schema, first, x == "ko") for x in LANGUAGES)
    elif reason.matter and f"matter.{key.partition(':')[0]}" in catalogue("en"):
        en, ko = (matter_said(key, x) for x in LANGUAGES)
    else:
        group = FAMILY_TITLES.get(key, key) if key in FAMILIES else key
        en, ko = (title(group, x) for x in LANGUAGES)
    return en[:1].upper() + en[1:], ko


def _source_said(schema: FeatureSchema, name: str, korean: bool) -> str:
    """A column; of a category its name alone, without the value."""
    if ranked(name) and not schema.own:
        return quality(name, "ko" if korean else "en")
    column = schema.column(name)
    sentence = sentence_said(column.sentence_ko if korean else column.sentence_en, "ko" if korean else "en")
    return sentence.rpartition(": ")[0] or sentence if schema.own and column.unit == "flag" else sentence


def cases(explained: Sequence[Explanation], reasons: Sequence[CarriedReason], schema: FeatureSchema) -> tuple[CarriedCase, ...]:
    """Of the most frequent reasons those that are anybody's strongest, each with the customer whom it moves most of these."""
    first: dict[str, list[Explanation]] = {}
    for x in explained:
        first.setdefault(reason_key(x.reasons[0], schema), []).append(x)
    found = []
    for row in (r for r in reasons if r.key in first):
        x = min(first[row.key], key=lambda x: (-abs(x.reasons[0].contribution), x.customer_id))
        told = x.reasons[0]
        found.append(CarriedCase(x.customer_id, x.prediction, (told.fact("en"), told.fact("ko")), told.contribution))
    return tuple(found[:CASES])


def main(run: str, data: str, analysis: str, task: str, target: str, cohort: str, n: str) -> int:
    """The worker: how far it is and the answer on stdout, a sentence on stderr if it fails."""
    try:
        order = CarriedOrder(task, int(target) if target else None, from_url(cohort), int(n))
        found = carried(
            run, AnalysisStore(Path(analysis)), order, data or None,
            lambda done, total: print(f"{done}/{total}", flush=True),
        )  # fmt: skip
    except UserError as e:
        print(e, file=sys.stderr)
        return 2
    print(json.dumps(plain(found.to_dict()), ensure_ascii=True), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:8]))
