"""A cycle in what is done on active days is found with its length, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.explain.origin.waves import CHANCE, DAYS, FEWEST, Wave, fitted


def days(period: float, seed: int, swing: float = 1.2, every: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """(day, actions) of visits some days apart, whose actions follow a cycle."""
    rng = np.random.default_rng(seed)
    day = np.unique(np.floor(np.cumsum(rng.exponential(every, DAYS)))).astype(float)
    day = day[day < DAYS]
    return day, rng.poisson(8 * np.exp(swing * np.sin(2 * np.pi * day / period + 1))).astype(float)


@pytest.mark.parametrize("period", [13.0, 21.0, 38.0])
def test_a_planted_cycle_comes_back_with_its_length_and_its_ends(period: float) -> None:
    found = [fitted(*days(period, seed)) for seed in range(5)]
    told = [w for w in found if w is not None]
    assert len(told) == 5
    assert all(abs(w.period - period) < 0.1 * period for w in told)
    assert all(w.low < 5 < 15 < w.high for w in told)


def test_where_there_is_no_cycle_hardly_any_is_told() -> None:
    told = sum(fitted(*days(20.0, seed, swing=0.0)) is not None for seed in range(100))
    assert told <= 100 * CHANCE + 3 * np.sqrt(100 * CHANCE)


def test_too_few_days_and_days_that_are_all_alike_have_no_cycle() -> None:
    day, done = days(13.0, 1)
    assert fitted(day[: FEWEST - 1], done[: FEWEST - 1]) is None
    assert fitted(day, np.full(len(day), 7.0)) is None


def test_its_part_and_the_rest_add_up() -> None:
    said = Wave(37.6, 2.2, 20.7).told(0.3, 0.4)
    assert said.en.endswith("rises and falls about every 38 days, from about 2 to about 21")
    assert said.ko.endswith("약 38일마다 하루 약 2건에서 약 21건까지 오르내림")
    assert dict(said.through) == {"tda_short": 0.3, "rest": pytest.approx(0.1)}
