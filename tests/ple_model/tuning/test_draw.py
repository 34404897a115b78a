"""What is drawn next: by the trials before and the seed alone, within the ranges, and narrower in the second stage."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from ple_model.errors import UserError
from ple_model.tuning.dimension import Dimension, Value
from ple_model.tuning.draw import box, distribution, draw, grid, grid_size, how_many, points, quiet, stored
from ple_model.tuning.record import Sampler, StudySpec

RATE = Dimension("training.learning_rate", "float", 1e-4, 1e-2, True)
DROP = Dimension("global.dropout", "float", 0.0, 0.5)
BATCH = Dimension("training.batch_size", "choice", choices=("32", "64", "128", "256"))
KIND = Dimension("training.schedule", "choice", choices=('"cosine"', '"warm_restarts"'))
EPOCHS = Dimension("training.phase1_epochs", "int", 4, 24)
SPACE = (RATE, DROP, BATCH, KIND, EPOCHS)

quiet()


def _spec(sampler: Sampler = "tpe", seed: int = 0, trials: int = 30) -> StudySpec:
    return StudySpec(Path("/d"), "f", "small", (), {}, SPACE, sampler, "none", "plain", "mean", 0, seed, trials, "cpu", "now")


def _trial(params: Mapping[str, Value], value: float) -> FrozenTrial:
    return create_trial(
        state=TrialState.COMPLETE, value=value, params={d.key: stored(d, params[d.key]) for d in SPACE},
        distributions={d.key: distribution(d) for d in SPACE},
    )  # fmt: skip


def _past(n: int, sampler: Sampler) -> list[FrozenTrial]:
    """Trials whose value is highest at a rate of 1e-3 without dropout."""
    found: list[FrozenTrial] = []
    for number in range(n):
        params = draw(_spec(sampler), SPACE, found, number, sampler, "s")
        rate, drop = params["training.learning_rate"], params["global.dropout"]
        assert isinstance(rate, float)
        assert isinstance(drop, float | int)
        found.append(_trial(params, -abs(rate - 1e-3) * 100 - float(drop)))
    return found


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_what_is_drawn_follows_from_what_was_before_and_the_seed(sampler: Sampler) -> None:
    past = _past(11, sampler)
    again = draw(_spec(sampler), SPACE, past, 11, sampler, "s")
    assert again == draw(_spec(sampler), SPACE, list(past), 11, sampler, "s")
    if sampler != "gp":  # whose best guess may be the same from any start
        assert again != draw(_spec(sampler, seed=1), SPACE, past, 11, sampler, "s")
        assert again != draw(_spec(sampler), SPACE, past, 12, sampler, "s")


def test_the_bayesian_samplers_look_where_it_is_good() -> None:
    for sampler, n in (("tpe", 24), ("gp", 14)):
        past = _past(n, sampler)
        early, late = (sum(t.params["global.dropout"] for t in part) / 4 for part in (past[:4], past[-4:]))
        assert late < early, sampler


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_a_random_draw_stays_in_its_ranges_and_can_be_typed_again(seed: int) -> None:
    params = draw(_spec("random", seed=seed), SPACE, [], 0, "random", "s")
    for one in SPACE:
        value = params[one.key]
        if one.kind == "choice":
            assert value in one.choices
        else:
            assert not isinstance(value, str)
            assert one.low <= value <= one.high
            assert float(f"{value:.4g}") == value


def test_a_grid_is_every_combination_once_and_ends() -> None:
    space = (BATCH, DROP)
    every = [tuple(p.values()) for p in grid(space)]
    assert every == list(itertools.product(BATCH.choices, [0.0, 0.125, 0.25, 0.375, 0.5]))
    assert len(every) == grid_size(space)
    drawn = [draw(_spec("grid"), space, [], n, "grid", "s") for n in range(len(every))]
    assert [tuple(d.values()) for d in drawn] == every
    with pytest.raises(UserError, match="all of them were tried"):
        draw(_spec("grid"), space, [], len(every), "grid", "s")


def test_the_points_of_a_range_hold_both_ends() -> None:
    assert points(RATE) == [1e-4, pytest.approx(3.162e-4), 1e-3, pytest.approx(3.162e-3), 1e-2]
    assert points(Dimension("k", "int", 1, 3)) == [1, 2, 3]


def test_the_box_holds_the_best_and_a_little_more() -> None:
    best = [{RATE.key: 1e-3, DROP.key: 0.1, BATCH.key: "64", KIND.key: '"cosine"', EPOCHS.key: 8},
            {RATE.key: 2e-3, DROP.key: 0.2, BATCH.key: "64", KIND.key: '"cosine"', EPOCHS.key: 10}]  # fmt: skip
    rate, drop, batch, kind, epochs = box(SPACE, best)
    assert RATE.low < rate.low < 1e-3 < 2e-3 < rate.high < RATE.high
    assert (drop.low, drop.high) == (pytest.approx(0.1 - 0.25 * 0.1), pytest.approx(0.2 + 0.25 * 0.1))
    assert batch.choices == ("32", "64", "128")
    assert kind.choices == ('"cosine"',)
    assert epochs.low <= 8
    assert epochs.high >= 10
    assert epochs.low == int(epochs.low)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1e-4, 1e-2), st.sampled_from(BATCH.choices)), min_size=1, max_size=5))
def test_no_box_leaves_the_space_or_loses_a_best_one(best: list[tuple[float, str]]) -> None:
    rate, batch = box((RATE, BATCH), [{RATE.key: r, BATCH.key: b} for r, b in best])
    assert RATE.low <= rate.low < rate.high <= RATE.high
    assert all(rate.low <= r <= rate.high for r, _ in best)
    assert {b for _, b in best} <= set(batch.choices) <= set(BATCH.choices)


def test_three_to_five_are_the_best() -> None:
    assert [how_many(n) for n in (4, 15, 20, 25, 100)] == [3, 3, 4, 5, 5]
