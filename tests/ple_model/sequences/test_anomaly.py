"""The anomaly score: what it is made of, and that an encoder which knows a rhythm ranks broken ones first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ple_model.errors import UserError
from ple_model.sequences.anomaly import (
    AnomalyScale,
    anomaly_scores,
    fit_anomaly_scale,
    signs,
    step_errors,
)
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.outlook import surprises
from ple_model.sequences.planted import PlantSettings, plant
from ple_model.sequences.series import Series


def rhythm(n: int, seed: int) -> np.ndarray:
    """A weekly wave of own phase and height, with a little noise."""
    rng = np.random.default_rng(seed)
    phase, height = rng.random((n, 1, 1)) * 7, 1 + rng.random((n, 1, 1))
    x = height * np.sin(2 * np.pi * (np.arange(42)[None, :, None] + phase) / 7) * np.array([1.0, 0.5])
    return (x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> SequenceEncoder:
    torch.manual_seed(0)
    made = SequenceEncoder(EncoderConfig(patch=7, stride=7, width=16, layers=1, heads=2), 2, 42)
    optimizer = torch.optim.Adam(made.parameters(), 5e-3)
    x = Series.whole(torch.from_numpy(rhythm(64, 0)))
    g = torch.Generator().manual_seed(0)
    for _ in range(100):
        hidden = (torch.rand(64, 6, generator=g) < 0.4).repeat_interleave(7, dim=1)
        encoded = made(x, hidden)
        told = made.denormalise(made.restored(encoded), encoded)
        optimizer.zero_grad()
        ((told - x.values).square().mean(dim=2) * hidden).sum().backward()
        optimizer.step()
    return made.eval()


def test_every_seen_step_is_told_once_from_the_others(trained: SequenceEncoder) -> None:
    x = torch.from_numpy(rhythm(3, 1))
    seen = torch.ones(3, 42, dtype=torch.bool)
    seen[0, :10] = False
    errors = step_errors(trained, Series(x, seen))
    assert (np.isnan(errors).any(axis=2) == ~seen.numpy()).all()
    changed = x.clone()
    changed[1, -3, 0] += 5.0
    moved = step_errors(trained, Series(changed, seen)) - errors
    assert moved[1, -3, 0] > 1.0
    same_block = np.abs(moved[1, -7:, 0])
    same_block[-3] = 0
    assert same_block.max() < 1e-4  # a step that is told is not seen: nor do its neighbours in the block see it
    assert np.nanmax(np.abs(moved[[0, 2]])) < 1e-5


def test_scores_by_hand() -> None:
    """Two numbers that go together: one that goes against the other is further away than two that go further alike."""
    cov = np.array([[1.0, 0.6], [0.6, 1.0]])
    scale = AnomalyScale(
        np.ones(1), np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.linalg.inv(cov), np.array([1.0, 2.0, 2.0, 3.0]), 2
    )
    along, against = np.array([3.0, 3.0]), np.array([3.0, 1.0])  # (1, 1) and (1, -1) deviations
    found = scale.of(np.stack([along, against, np.array([np.nan, 3.0]), np.full(2, np.nan)]))
    assert found[0] == pytest.approx(np.sqrt(2 / 1.6))
    assert found[1] == pytest.approx(np.sqrt(2 / 0.4))
    assert found[2] == pytest.approx(np.sqrt(1 / 0.64))  # what is unknown is usual
    assert np.isnan(found[3])
    np.testing.assert_allclose(scale.percentile(np.array([0.0, 2.0, 9.0, np.nan])), [0.0, 50.0, 100.0, np.nan])


def test_the_signs_of_the_last_steps_by_hand(trained: SequenceEncoder) -> None:
    x = Series.whole(torch.from_numpy(rhythm(3, 1)))
    x.seen[1, -14:-2] = False
    x.seen[2, -14:] = False
    errors = step_errors(trained, x)
    found = signs(trained, x, errors, last=14)
    assert found.shape == (3, 4)  # no outlook: mean and largest error of two channels
    late = errors[0, -14:]
    np.testing.assert_allclose(found[0], np.log(np.concatenate([late.mean(axis=0), late.max(axis=0)])))
    np.testing.assert_allclose(found[1, :2], np.log(errors[1, -2:].mean(axis=0)))
    assert np.isnan(found[2]).all()


def test_a_surprise_is_what_came_beside_what_was_expected() -> None:
    torch.manual_seed(0)
    shape = EncoderConfig(patch=7, stride=7, width=16, layers=1, heads=2, outlook="on", ahead=[4, 20])
    net = SequenceEncoder(shape, 2, 42).eval()
    assert net.outlook is not None
    torch.nn.init.zeros_(net.outlook.weight)
    net.outlook.bias.data = torch.tensor([0.5, -1.0, 2.0, 0.0, 0.0, -4.0])
    x = torch.from_numpy(rhythm(3, 1))
    x[1, -6:] = 0.0
    seen = torch.ones(3, 42, dtype=torch.bool)
    seen[2, :-6] = False  # nobody before
    found = surprises(net, Series(x, seen), last=6)
    assert found.shape == (3, 3 * 3)  # runs of four and two steps, and of six of the twenty
    past = x[0, :-6].double()
    center, scale = past.mean(0), (past.var(0, correction=0) + shape.min_scale**2).sqrt()
    expected = (x[0, -6:-2].double().mean(0) - center) / scale - torch.tensor([0.5, -1.0])
    np.testing.assert_allclose(found[0, :2], expected.numpy(), rtol=1e-4)
    assert found[0, 2] == pytest.approx(np.log1p(np.exp(2.0)))  # it was not silent
    assert found[1, 2] == pytest.approx(np.log1p(np.exp(-2.0)))
    assert found[1, 8] == pytest.approx(np.log1p(np.exp(4.0)))  # silent, and held for unlikely
    assert np.isnan(found[2, :3]).all()
    assert surprises(SequenceEncoder(EncoderConfig(patch=7, stride=7), 2, 42), Series(x, seen), 6).shape == (3, 0)


def test_a_reference_is_ranked_as_those_who_come_later(trained: SequenceEncoder) -> None:
    """What is usual is of others: the percentiles of later customers are uniform, also where the reference is small."""
    usual = [Series.whole(torch.from_numpy(rhythm(40, 5)))]
    later = Series.whole(torch.from_numpy(rhythm(400, 6)))
    own = fit_anomaly_scale(trained, [Series.whole(torch.from_numpy(rhythm(200, 7)))], usual=usual)
    assert np.mean(own.percentile(anomaly_scores(trained, later, own))) == pytest.approx(50, abs=6)
    halves = fit_anomaly_scale(trained, [Series.whole(torch.from_numpy(rhythm(61, 8)))])
    assert len(halves.scores) == 30  # every second one says what is usual, and is not ranked
    assert np.mean(halves.percentile(anomaly_scores(trained, later, halves))) == pytest.approx(50, abs=10)


def test_what_nobody_has_counts_for_nothing() -> None:
    torch.manual_seed(0)
    shape = EncoderConfig(patch=7, stride=7, width=16, layers=1, heads=2, outlook="on", ahead=[4, 20])
    net = SequenceEncoder(shape, 2, 42).eval()
    fresh = Series.whole(torch.from_numpy(rhythm(6, 1)))
    fresh.seen[:, :20] = False  # 19 days before the last three: nothing to expect yet
    old = Series.whole(torch.from_numpy(rhythm(4, 2)))
    assert np.isnan(surprises(net, fresh, last=3)).all()
    assert not np.isnan(surprises(net, old, last=3)).any()
    scale = fit_anomaly_scale(net, [old], last=3, usual=[fresh])
    assert np.isfinite(scale.scores).all()
    assert len(scale.scores) == 4


def test_what_breaks_the_rhythm_is_ranked_high(trained: SequenceEncoder) -> None:
    scale = fit_anomaly_scale(trained, [Series.whole(torch.from_numpy(rhythm(100, 2)))], last=14)
    healthy = rhythm(60, 3)
    usual = scale.percentile(anomaly_scores(trained, Series.whole(torch.from_numpy(healthy)), scale))
    assert 30 < usual.mean() < 70
    for kind in ("spike", "gap", "drift", "frozen"):
        broken = plant(kind, healthy, PlantSettings(last=14), 1).values
        ranked = scale.percentile(anomaly_scores(trained, Series.whole(torch.from_numpy(broken)), scale))
        assert (ranked > usual).mean() > 0.8, kind


def test_nobody_to_compare_with_is_said(trained: SequenceEncoder) -> None:
    x = torch.from_numpy(rhythm(2, 0))
    with pytest.raises(UserError, match="no customer of the reference"):
        fit_anomaly_scale(trained, [Series(x, torch.zeros(2, 42, dtype=torch.bool))])
