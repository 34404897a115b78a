"""Warped distances against a plain recurrence; the bound, the search and the shortlist."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.sequences.neighbours import (
    lower_bound,
    nearest,
    nearest_by_embedding,
    shortlist_recall,
    standardised,
    warped_distance,
    warping_path,
)


def plain_distance(a: np.ndarray, b: np.ndarray, band: int) -> float:
    """The recurrence as it is written in Sakoe and Chiba, cell by cell."""
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0.0
    for i in range(1, len(a) + 1):
        for j in range(max(1, i - band), min(len(b), i + band) + 1):
            cost[i, j] = (a[i - 1] - b[j - 1]) ** 2 + min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
    return float(np.sqrt(cost[-1, -1]))


def walks(n: int, length: int, seed: int) -> np.ndarray:
    return standardised(np.random.default_rng(seed).standard_normal((n, length)).cumsum(axis=1))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.integers(2, 30), band=st.integers(0, 9))
def test_the_distance_is_the_recurrence_s_and_the_bound_stays_below_it(seed: int, length: int, band: int) -> None:
    a, b = walks(2, length, seed)
    distance = warped_distance(a, b, band)
    assert distance == pytest.approx(plain_distance(a, b, band), abs=1e-9)
    assert lower_bound(b[None], a, band)[0] <= distance + 1e-9
    assert distance <= np.linalg.norm(a - b) + 1e-9  # no warp is one of the paths


def test_without_a_band_the_distance_is_that_of_the_points() -> None:
    a, b = walks(2, 40, 1)
    assert warped_distance(a, b, 0) == pytest.approx(np.linalg.norm(a - b))


def test_a_shifted_copy_is_near_by_warping_and_its_path_shows_the_shift() -> None:
    day = np.zeros(60)
    day[[10, 30, 45]] = 1.0
    moved = np.roll(day, 3)
    assert warped_distance(day, moved, 5) == 0.0
    path = warping_path(day, moved, 5)
    assert (10, 13) in path
    assert path[0] == (0, 0)
    assert path[-1] == (59, 59)
    assert max(abs(i - j) for i, j in path) <= 5
    assert all(0 <= c - a <= 1 and 0 <= d - b <= 1 for (a, b), (c, d) in pairwise(path))


def test_the_search_finds_what_brute_force_finds_with_fewer_distances() -> None:
    pool = walks(300, 50, 3)
    found = nearest(pool, pool[7], 10, band=5, leave_out=7)
    brute = np.array([plain_distance(pool[7], p, 5) for p in pool])
    brute[7] = np.inf
    assert found.index.tolist() == np.argsort(brute)[:10].tolist()
    np.testing.assert_allclose(found.distance, np.sort(brute)[:10], atol=1e-9)
    assert found.computed < 299


def test_a_pool_smaller_than_asked_gives_all_others() -> None:
    pool = walks(4, 20, 0)
    assert sorted(nearest(pool, pool[0], 10, leave_out=0).index.tolist()) == [1, 2, 3]


def test_a_shortlist_of_everybody_loses_nothing_and_one_at_random_does() -> None:
    pool = walks(200, 30, 5)
    assert shortlist_recall(pool, pool, range(5), size=199) == 1.0
    noise = np.random.default_rng(0).standard_normal((200, 4))
    assert shortlist_recall(pool, noise, range(5), size=20) < 0.6
    found = nearest_by_embedding(pool, pool, 3, size=199)
    assert found.index.tolist() == nearest(pool, pool[3], leave_out=3).index.tolist()


def test_a_constant_series_stays_finite() -> None:
    assert standardised(np.ones((1, 9))).tolist() == [[0.0] * 9]
