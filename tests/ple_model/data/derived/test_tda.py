"""Persistence: a circle is one loop, summaries by hand, rows independent of workers."""

from __future__ import annotations

import numpy as np
import pytest
from ripser import ripser

from ple_model.data.derived.tda import (
    GRID,
    H2_POINTS,
    busyness,
    compute_topology,
    delay_embedding,
    diagrams,
    global_stats,
    landmarks,
    landscape,
    summaries,
)


def test_a_circle_has_one_loop() -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    diagram, mask = diagrams(np.stack([np.cos(angle), np.sin(angle)], axis=1)[None], (0, 1), 200)
    loops = diagram[0][mask[0] & (diagram[0, :, 2] == 1)]
    assert len(loops) == 1
    birth, death = loops[0, :2]
    assert birth == pytest.approx(2 * np.sin(np.pi / 40), rel=1e-4)  # the side of the polygon
    assert death == pytest.approx(2 * np.sin(14 * np.pi / 40), rel=1e-4)  # 14 steps: the first that a triangle needs
    assert (mask[0] & (diagram[0, :, 2] == 0)).sum() == 39
    stats = summaries(diagram, mask, (0, 1))
    assert stats[0, 12] == 1
    assert stats[0, 14] == pytest.approx(death - birth)


def test_a_sphere_has_one_void() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 300, 3))
    x /= np.linalg.norm(x, axis=2, keepdims=True)
    distance = np.linalg.norm(x[0][:, None] - x[0][None], axis=2)
    x = x[:, landmarks(distance[None], 48)[0]]  # evenly spread
    diagram, mask = diagrams(x, (0, 1, 2), 150)
    voids = diagram[0][mask[0] & (diagram[0, :, 2] == 2)]
    assert len(voids) >= 1
    assert (voids[:, 1] - voids[:, 0]).max() > 0.3


@pytest.mark.parametrize("distinct", [1, 2, 3, 4, 30])
def test_ripser_finds_the_same(distinct: int) -> None:
    """Of points that lie on one another too, which are taken once here and are all there for the other library."""
    rng = np.random.default_rng(distinct)
    cloud = rng.normal(size=(distinct, 3))[rng.integers(0, distinct, 40)]
    diagram, mask = diagrams(cloud[None], (0, 1, 2), 150)
    distance = np.linalg.norm(cloud[:, None] - cloud[None], axis=2)
    marks = landmarks(distance[None], H2_POINTS)[0]
    expected = ripser(distance, maxdim=1, distance_matrix=True)["dgms"]
    expected.append(ripser(distance[np.ix_(marks, marks)], maxdim=2, distance_matrix=True)["dgms"][2])
    for k, pairs in enumerate(expected):
        kept = pairs[np.isfinite(pairs[:, 1]) & (pairs[:, 1] - pairs[:, 0] > 1e-6)]
        found = diagram[0][mask[0] & (diagram[0, :, 2] == k), :2]
        assert np.sort(found, axis=0) == pytest.approx(np.sort(kept, axis=0), abs=1e-6)


def test_summaries_by_hand() -> None:
    diagram = np.zeros((1, 10, 3), np.float32)
    diagram[0, :3] = [[0, 1, 0], [0, 3, 0], [1, 2, 1]]
    mask = np.arange(10)[None] < 3
    stats = summaries(diagram, mask, (0, 1))[0]
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert stats[:10] == pytest.approx([2, 4, 3, 1, 2, 1, 3, entropy, 0, 2])
    assert stats[11] == pytest.approx(np.sqrt(10))
    assert stats[12:22] == pytest.approx([1, 1, 1, 0, 1, 0, 1, 0, 1, 2])
    overall = global_stats(diagram, mask, (0, 1), stats[None])[0]
    assert overall[:6] == pytest.approx([np.log(3), 0.8, 1.5, 0, 0, entropy / np.log(2)])


def test_the_landscape_is_a_tent() -> None:
    diagram = np.zeros((1, 4, 3), np.float32)
    diagram[0, 0] = [1, 3, 0]
    mask = np.array([[True, False, False, False]])
    tent = np.maximum(np.minimum(GRID - 1, 3 - GRID), 0)
    assert landscape(diagram, mask)[0] == pytest.approx(tent)
    assert summaries(diagram, mask, (0,))[0, 10] == pytest.approx(np.sqrt(2 / 3), rel=0.02)


def test_a_long_diagram_keeps_the_most_persistent_points() -> None:
    cloud = np.random.default_rng(0).normal(size=(1, 60, 2))
    whole, mask = diagrams(cloud, (0, 1), 200)
    few, few_mask = diagrams(cloud, (0, 1), 20)
    assert few_mask.all()
    life = np.sort((whole[0, :, 1] - whole[0, :, 0])[mask[0]])[::-1]
    assert np.sort(few[0, :, 1] - few[0, :, 0])[::-1] == pytest.approx(life[:20])


def test_delay_embedding_by_hand() -> None:
    assert delay_embedding(np.arange(5.0)[None], 2, 2)[0].tolist() == [[0, 2], [1, 3], [2, 4]]


def year(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """[n, 365, 4] and [n, 365]: row 0 is silent; odd rows have a 28-day cycle of events in the app, even ones the same days
    shuffled. Sessions come on the same irregular days in both."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n, 365, 4), np.float32)
    wave = rng.poisson(8 * np.exp(np.sin(2 * np.pi * np.arange(365) / 28)), (n, 365)).astype(np.float32)
    for i in range(0, n, 2):
        wave[i] = rng.permutation(wave[i])
    out[:, :, 2] = rng.random((n, 365)) < 0.4
    out[:, :, 0] = rng.exponential(20, (n, 365)) * out[:, :, 2]
    out[:, :, 1] = out[:, :, 0] > 0
    out[0] = 0
    return out, wave * out[:, :, 2]


def test_busyness_by_hand() -> None:
    actions = np.array([[0, 0, 6, 0, 0, 0, 2, 4]], float)
    found = np.expm1(busyness(actions, actions > 0, 6, window=2))
    # windows ending on days 2 to 7: {0, 6}, {6, 0}, none, none, {0, 2}, {2, 4}
    assert found[0].tolist() == pytest.approx([6, 6, 6, 6, 2, 3])


def test_a_cycle_of_sessions_draws_a_longer_loop_than_the_same_days_shuffled() -> None:
    found = compute_topology(*year(41))
    longest = found.short_stats[:, 14]
    assert longest[1::2].mean() > 1.3 * longest[2::2].mean()


def test_a_silent_customer_is_absent_and_everything_is_finite() -> None:
    found = compute_topology(*year(6))
    assert found.p_tda_short_diagrams.tolist() == [False] + [True] * 5
    assert not found.short_mask[0].any()
    assert not found.p_tda_long_diagrams[0]
    for name, values in vars(found).items():
        assert np.isfinite(values).all(), name
    assert found.short_stats.shape == (6, 24)
    assert found.long_stats.shape == (6, 36)
    assert found.phase.shape == (6, 10)
    assert found.global_stats.shape == (6, 30)


def test_workers_and_blocks_change_nothing() -> None:
    x = year(8)
    whole, cut = compute_topology(*x), compute_topology(*x, workers=2, block_rows=3)
    for name, values in vars(whole).items():
        assert np.array_equal(values, getattr(cut, name)), name
