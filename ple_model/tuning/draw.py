"""The next settings to try, drawn by an Optuna sampler from the trials so far.

A sampler sees a copy of the study in memory and is seeded by the study's seed and the trial's number: what it draws depends on
the trials before alone, so that a study that was killed and resumed draws what an undisturbed one would have drawn. The drawn
trial then enters the journal whole, by one line. With several processes the trials before depend on who was quicker.

The strategy `staged` is the reference's: trials of its first half are random; the box around the best three to five of them is
then searched by the sampler, which is shown those of the first half that lie in the box.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ple_model.errors import UserError
from ple_model.tuning.dimension import Dimension, Value
from ple_model.tuning.record import Sampler, StudySpec

GRID_POINTS = 5
"""Of a numeric range in a grid, ends included."""
STARTUP = 10
"""Random trials before a Bayesian sampler trusts what it knows: Optuna's own default; fewer where the whole budget is small."""
BEST = (3, 5)
"""The reference's "best three to five" around which the second stage searches."""
SPREAD = 0.25
"""By this share of its width the box reaches beyond the best trials on either side: the optimum may lie just outside."""


def quiet() -> None:
    """Optuna says what it does in lines of its own; the study folder says it already."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def distribution(one: Dimension) -> BaseDistribution:
    """As Optuna has it; ordered choices are searched as their places in the list."""
    if one.kind == "choice":
        return IntDistribution(0, len(one.choices) - 1) if one.ordered else CategoricalDistribution(list(one.choices))
    if one.kind == "int":
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def stored(one: Dimension, value: Value) -> Any:
    """A value as Optuna keeps it."""
    return one.choices.index(str(value)) if one.kind == "choice" and one.ordered else value


def shown(one: Dimension, value: Any) -> Value:
    """What Optuna drew, as it is tried."""
    if one.kind != "choice":
        return one.rounded(float(value))
    return one.choices[int(value)] if one.ordered else str(value)


def grid(space: Sequence[Dimension]) -> list[dict[str, Value]]:
    """Every combination, the last key changing fastest: all choices, and `GRID_POINTS` of a range."""
    return [dict(zip([d.key for d in space], values, strict=True)) for values in itertools.product(*map(points, space))]


def grid_size(space: Sequence[Dimension]) -> int:
    return math.prod(len(points(d)) for d in space)


def points(one: Dimension) -> list[Value]:
    """Values of one key in a grid."""
    if one.kind == "choice":
        return list(one.choices)
    between = np.geomspace if one.log else np.linspace
    return list(dict.fromkeys(one.rounded(float(v)) for v in between(one.low, one.high, GRID_POINTS)))


def draw(
    spec: StudySpec, space: Sequence[Dimension], past: Sequence[FrozenTrial], number: int, sampler: Sampler, name: str
) -> dict[str, Value]:
    """Settings of the trial `number` (from 0). `past`: all trials before it in the study `name`. `UserError` where a grid has
    no more."""
    if sampler == "grid":
        every = grid(space)
        if number >= len(every):
            raise UserError(f"the grid has {len(every)} points, all of them were tried")
        return every[number]
    study = optuna.create_study(
        direction="maximize", study_name=name, storage=optuna.storages.InMemoryStorage(), pruner=optuna.pruners.NopPruner(),
        sampler=_sampler(spec, sampler, number, len(space)),
    )  # fmt: skip
    study.add_trials(_seen(space, past))
    trial = study.ask({d.key: distribution(d) for d in space})
    return {d.key: shown(d, trial.params[d.key]) for d in space}


def _seen(space: Sequence[Dimension], past: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that lie in the space, in its own ranges; the others' settings are not of this stage."""
    into = {d.key: distribution(d) for d in space}
    found = []
    for trial in past:
        if trial.params.keys() != into.keys():
            continue
        if all(into[k]._contains(into[k].to_internal_repr(v)) for k, v in trial.params.items()):
            found.append(
                create_trial(
                    state=trial.state,
                    values=None if trial.state == TrialState.RUNNING else trial.values,
                    params=trial.params,
                    distributions=into,
                    intermediate_values=trial.intermediate_values,
                )
            )
    return found


def _sampler(spec: StudySpec, name: Sampler, number: int, keys: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0])
    startup = STARTUP if not spec.trials else min(STARTUP, max(3, spec.trials // 3))
    if spec.strategy == "staged":
        startup = 0  # its first stage was the start
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)


def box(space: Sequence[Dimension], best: Sequence[Mapping[str, Value]]) -> tuple[Dimension, ...]:
    """The space narrowed to the settings of the best trials and a little beyond; a key that they agree on keeps its
    neighbours."""
    return tuple(_narrowed(d, [b[d.key] for b in best]) for d in space)


def _narrowed(one: Dimension, values: Sequence[Value]) -> Dimension:
    if one.kind == "choice":
        if not one.ordered:
            return replace(one, choices=tuple(c for c in one.choices if c in values))
        at = [one.choices.index(str(v)) for v in values]
        return replace(one, choices=one.choices[max(0, min(at) - 1) : max(at) + 2])
    scale = (lambda x: math.log(x)) if one.log else (lambda x: x)
    back = (lambda x: math.exp(x)) if one.log else (lambda x: x)
    low, high = scale(min(map(float, values))), scale(max(map(float, values)))
    whole = scale(one.high) - scale(one.low)
    reach = SPREAD * max(high - low, 0.2 * whole)  # of trials that agree, the neighbourhood is a twentieth of the whole range
    low, high = max(one.low, back(low - reach)), min(one.high, back(high + reach))
    if one.kind == "int":
        low, high = max(one.low, math.floor(low)), min(one.high, math.ceil(high))
    return replace(one, low=low, high=high) if low < high else one


def how_many(finished: int) -> int:
    """Of how many best trials the box is made: a fifth of those that finished, three to five."""
    return min(max(BEST[0], round(finished / 5)), BEST[1])
