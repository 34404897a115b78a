"""`ple bench reasons`: is the reason that is shown the true one? On a run trained on a synthetic bank, whose truth table says
what was planted in whom (`analysis.bench.planted` has the rule and the map from causes to inputs).

Every method of attribution goes through the same code as on pages: columns in real units, what is barred taken out, all columns
of one matter taken together, told by the facts of it that can be said, derived inputs by what they were made of, ordered by
`analysis.explain.reasons.reasons`. A customer counts as a hit at k if one of the first k reasons for the prediction **says** a
true cause: a fact that its sentence names carries it. *Counted*: one of all the columns whose contributions are in it does;
*either side*: of the first k reasons for and against it, by size. A true cause that no input can express is a miss, and how
many there were is reported. `chance` is exact: all that could be said for the customer's prediction, in random
order. Whether the model uses the cause at all is measured apart (`uses`): where it does not, no attribution can name it.

Faithfulness is the product's own (`analysis.explain.faithful`: deletion and insertion against random orders, infidelity
relative to predicting no change, likeness to the attributions of a model with fresh weights), and sensitivity (Yeh et al.
2019): the largest change of the groups' attributions, relative to their size, when the columns move by at most 0.02 of what
the normaliser makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, partial
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.bench.attributions import METHODS, Method, Question, moved
from analysis.bench.planted import Planted, rank, true_causes
from analysis.bench.reason_rows import FIRST, Places, rows
from analysis.bench.use_rows import use_rows
from analysis.bench.uses import measure_uses, weighs
from analysis.engine.attribution import Attribution, Tensors
from analysis.engine.explainer import Explainer, single
from analysis.engine.reference import Path as InputPath
from analysis.engine.score import Score, distribution
from analysis.explain import faithful
from analysis.explain.barred import BarredInputs, barred_inputs
from analysis.explain.links import Links, Side
from analysis.explain.origin.teller import Teller
from analysis.explain.reasons import Means, Subject, feature_contributions, gathered, reasons
from analysis.explain.source_columns import by_source
from analysis.explain.standing import standing
from analysis.results.explanation_parts import FeatureContribution
from ple_model.bench.measure import Row, Settings
from ple_model.bench.registry import Benchmark
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.presence import part_key
from ple_model.run import Run, load_run
from ple_model.schema import RAW_PART
from ple_model.ticker import counter

CUSTOMERS = 500
RADIUS, DRAWS = 0.02, 2
"""Of the sensitivity: how far a column moves at most, and how often."""
WEIGHED = 3
"""Of so many reasons the true cause should be one."""
ORDERS = 8
"""Random orders that deletion and insertion are held against."""


def chance(units: int, carriers: int, k: int) -> float:
    """The chance that one of `carriers` among `units` is among the first `k` in random order."""
    return 1.0 - comb(units - carriers, k) / comb(units, k) if units >= k else float(carriers > 0)


def run(settings: Settings) -> list[Row]:
    if settings.run is None or settings.events is None:
        raise UserError("ple bench reasons: give --run RUN and --events EVENTS, the folder of the bank that it was trained on")
    found = load_run(settings.run)
    planted = Planted.read(settings.events)
    names = _chosen("--method", settings.methods, METHODS) or list(METHODS)
    names = list(dict.fromkeys((next(iter(METHODS)), *names)))
    tasks, without = skilled(found, planted, settings.tasks)
    places = measure(
        found, planted, tasks, {n: METHODS[n] for n in names}, customers=settings.pick(settings.customers or CUSTOMERS, 4),
        tested=settings.tested, seed=settings.seed, progress=True,
    )  # fmt: skip
    asked = {t: sorted({c for cs in p.causes for c in cs}) for t, p in places.items() if p.customers}
    uses = measure_uses(Explainer.cached(found), found.sample(), planted, asked, settings.seed)
    return [*rows(places), *use_rows(places, uses), *without]


def _chosen(option: str, names: Sequence[str], known: Mapping[str, object] | Sequence[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise UserError(f"{option}: '{name}' is not known{did_you_mean(name, list(known))}")
    return list(names)


def skilled(found: Run, planted: Planted, wanted: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Tasks with a planted cause and skill; a row for each that is left out, which says why."""
    names = _chosen("--task", wanted, found.config.tasks) or list(found.config.tasks)
    kept, out = [], []
    for task in names:
        why = ""
        if task not in planted.tasks():
            why, value = "nothing planted in it", float("nan")
        else:
            told = standing(found, task) if found.context().learned(task) else None
            value = float("nan") if told is None else told.value
            if told is None or not told.has_skill:
                why = "no skill on rows that it did not learn from"
        if why:
            out.append(Row("reasons", f"{task}: left out, {why}; skill", value, unit="share"))
        else:
            kept.append(task)
    return kept, out


def measure(
    found: Run, planted: Planted, tasks: Sequence[str], methods: Mapping[str, Method], *, customers: int = CUSTOMERS,
    tested: int = 0, seed: int = 0, progress: bool = False,
) -> dict[str, Places]:  # fmt: skip
    """By task. Customers are drawn from the run's sample, those that training did not see first; `tested` of them, at most, are
    also asked how faithful each method is."""
    explainer, data = Explainer.cached(found), found.sample()
    places = {t: Places() for t in tasks}
    table = data.table(["customer_id", "cutoff", "split"])
    ids, dates, splits = (table.column(c).to_pylist() for c in ("customer_id", "cutoff", "split"))
    drawn = np.random.default_rng(seed).permutation(len(ids))
    order = sorted(drawn, key=lambda i: ("test", "validation", "train").index(splits[i]))
    rows_: list[int] = []
    seen: set[str] = set()
    for i in order:
        if len(rows_) < customers and ids[i] not in seen:
            seen.add(ids[i])
            rows_.append(int(i))
    show = counter("customers", quiet=not progress)
    medians = cache(planted.medians)
    for done, i in enumerate(rows_):
        asked = {}
        for task in tasks:
            day = date.fromisoformat(str(dates[i]))
            causes = true_causes(planted.weights(ids[i], task, day, medians(task, day)), task)
            if causes:
                asked[task] = causes
        if asked:
            _customer(explainer, data, i, asked, methods, places, seed + done, tested)
        show(done + 1, len(rows_))
    return places


def _customer(
    explainer: Explainer, data: Dataset, row: int, asked: Mapping[str, frozenset[str]], methods: Mapping[str, Method],
    places: Mapping[str, Places], seed: int, tested: int,
) -> None:  # fmt: skip
    batch = data.take([row])
    inputs = single(batch.inputs)
    path = InputPath.of(inputs, explainer.reference)
    alike: dict[str, tuple[str, ...]] = {}  # of the customer alone, whatever is asked
    with torch.no_grad():
        output = explainer.model.decode(explainer.model.encode(inputs))
    for task, causes in asked.items():
        if not bool(inputs.defined(task)[0]):
            continue
        spec = explainer.model.tasks[task]
        target = None
        if spec.kind in ("multiclass", "contrastive"):
            target = int(distribution(explainer.model, output, task)[0].argmax())
        elif spec.out_dim > 1:
            target = 0
        case = Question(explainer, path, Score(explainer.model, task, target, explainer.calibration.get(task)), (), seed)
        barred = barred_inputs(explainer.model.context.schema, explainer.run.config.explanations.barred)
        held, sources, groups = _told(case, data, barred, case.default.values)
        told_by = partial(Teller, explainer, data, batch, path)
        teller = told_by(held, task, target, barred.columns, barred.fields).remember(alike)
        together = gathered(sources, Means(alike=teller.alike, matter=teller.matter))
        case = replace(case, units=tuple(g.names for g in together), found=case.default)
        difference = case.default.difference
        sign = 1.0 if target is not None or difference >= 0 else -1.0
        subject = Subject(task, spec.title, "", spec.kind != "regression", spec.unit)
        links = Links(teller, subject)
        means = replace(teller.means(), agrees=links.agrees)
        every = Side.of(partial(reasons, sources, groups, subject, means=means), links, sign, len(sources) + len(groups)).told
        carriers = sum(rank(causes, [r.told]) is not None for r in every)
        into = places[task]
        into.customers.append(batch.customer_id[0])
        into.causes.append(causes)
        into.chance.append(tuple(chance(len(every), carriers, k) for k in FIRST))
        heard = weighs(explainer, path, case.score, causes)
        faith = len(into.customers) <= tested
        ask = _once(lambda keep: explainer.value_of_groups(path, case.score, keep))  # noqa: B023
        for name, method in methods.items():
            values = method(case)
            held, sources, groups = _told(case, data, barred, values)
            own = told_by(held, task, target, barred.columns, barred.fields).remember(alike)
            links = Links(own, subject)
            means = replace(own.means(), agrees=links.agrees)
            by = partial(reasons, sources, groups, subject, means=means)
            sides = [Side.of(by, links, s, FIRST[-1]).told for s in (sign, -sign)]
            both = sorted((r for side in sides for r in side), key=lambda r: -abs(r.contribution))
            if name == next(iter(methods)):
                least = abs(sides[0][:WEIGHED][-1].contribution) if sides[0] else 0.0
                into.weighs.append(heard >= least)
                into.named.append([r.told for r in sides[0][:WEIGHED]])
            into.shown.setdefault(name, []).append(rank(causes, [r.told for r in sides[0]]) or 0)
            into.counted.setdefault(name, []).append(rank(causes, [r.sources for r in sides[0]]) or 0)
            into.either.setdefault(name, []).append(rank(causes, [r.told for r in both[: FIRST[-1]]]) or 0)
            if faith:
                into.tests.setdefault(name, []).append(_tests(case, method, values, ask))


def _told(
    case: Question, data: Dataset, barred: BarredInputs, values: Tensors
) -> tuple[Attribution, tuple[FeatureContribution, ...], dict[str, float]]:
    """What reasons are made of, as pages make them: (attributions, columns in real units, groups of inputs) without what is
    barred."""
    path, schema = case.path, case.explainer.model.context.schema
    kept, _ = barred.split(path.fields, values, path.fields, 0.0)
    at, normalizer = path.fields.index("features"), data.normalizer()
    own, typical = (normalizer.inverse(t[at].numpy())[0] for t in (path.ends, path.starts))
    columns = feature_contributions(schema, kept[at][0].double().numpy(), own, typical, limit=None)
    return replace(case.default, values=kept), by_source(schema, columns), path.group_values(kept)


def _once(value: faithful.Value) -> faithful.Value:
    """The same, each row asked once: the random orders are the same for every method."""
    known: dict[bytes, float] = {}

    def ask(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        keys = [row.tobytes() for row in keep]
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            known.update(zip((keys[i] for i in new), value(keep[new]).tolist(), strict=True))
        return np.array([known[key] for key in keys])

    return ask


def _tests(case: Question, method: Method, values: Tensors, ask: faithful.Value) -> tuple[float, ...]:
    """(deletion, insertion, infidelity, sensitivity, likeness) of these attributions; NaN where there is nothing to tell.
    `ask`: the prediction with only some groups the customer's."""
    e, path, at = case.explainer, case.path, case.path.fields.index("features")
    groups = path.group_values(values)
    sizes = np.array([groups[g] for g in path.groups])
    full, empty = case.default.prediction, case.default.baseline
    removed = faithful.removal(sizes, ask, full, empty, orders=ORDERS, seed=case.seed)
    moves = []
    generator = torch.Generator().manual_seed(case.seed)
    # what the customer lacks has no value to move, and 0.02 of an amount in its own unit is no step of the others' size
    moving = torch.ones(path.ends[at].shape)
    for part, where in path.customer.parts.items():
        if part == RAW_PART or part_key(part) in path.absent:
            moving[:, where] = 0
    for _ in range(DRAWS):
        step = RADIUS * moving * (2 * torch.rand(moving.shape, generator=generator) - 1)
        there = moved(case, path.ends[at] + step.to(path.ends[at]))
        found = there.path.group_values(method(there))
        moves.append(float(np.linalg.norm([found[g] for g in path.groups] - sizes)))
    size = float(np.linalg.norm(sizes))
    fresh = Question(e, path, Score(e.untrained, case.score.task, case.score.target), case.units, case.seed, e.untrained)
    strange = method(fresh)
    likeness = faithful.alike(values[at][0].double().numpy(), strange[at][0].double().numpy())
    return removed.deletion, removed.insertion, removed.infidelity, max(moves) / size if size > 0 else float("nan"), likeness


BENCHMARKS = (
    Benchmark("reasons", "whether the reasons shown name the cause that was planted, by method (--run, --events)", run, True),
)
