"""Who falls silent: what is told is of the newest days alone, and how right it was is counted on others, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.sequences.silence import judged, silences
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import Series

LENGTH, AHEAD = 20, [2, 6]


@pytest.fixture
def net() -> SequenceEncoder:
    torch.manual_seed(0)
    config = EncoderConfig(width=8, heads=2, layers=1, patch=4, stride=4, outlook="on", ahead=AHEAD)
    return SequenceEncoder(config, 2, LENGTH).eval()


def test_what_is_told_does_not_hear_the_oldest_days(net: SequenceEncoder) -> None:
    values = torch.randn(4, LENGTH, 2)
    assert net.outlook is not None
    net.outlook.bias.data[-1] += 10.0  # for itself the longer silence would be the likelier one
    told = silences(net, Series.whole(values))
    assert told.shape == (4, 2)
    assert (told[:, 1] <= told[:, 0]).all()
    values[:, : max(AHEAD)] += 5.0
    np.testing.assert_array_equal(silences(net, Series.whole(values)), told)
    values[:, max(AHEAD)] += 5.0
    assert (silences(net, Series.whole(values)) != told).all()
    plain = SequenceEncoder(EncoderConfig(width=8, heads=2, layers=1, patch=4, stride=4), 2, LENGTH)
    assert silences(plain, Series.whole(values)).shape == (4, 0)


def test_how_right_it_was_by_hand(net: SequenceEncoder) -> None:
    values = torch.rand(5, LENGTH, 2) + 0.1
    values[1, -6:] = 0.0  # silent for two and for six days
    values[2, -6:-4] = 0.0  # for two
    values[4, -6:] = 0.0  # the encoder learnt from this one
    seen = torch.ones(5, LENGTH, dtype=torch.bool)
    seen[3, :-6] = False  # nobody yet when it was told
    others = np.array([True, True, True, True, False])
    found = judged(net, Series(values, seen), others)
    told = silences(net, Series(values[:3, :-6], seen[:3, :-6]))
    assert [(r.steps, r.tested) for r in found] == [(2, 3), (6, 3)]
    assert [r.happened for r in found] == pytest.approx([2 / 3, 1 / 3])
    assert [r.told for r in found] == pytest.approx(told.mean(0).tolist())
    quiet, loud = told[1:3, 0], told[0, 0]
    assert found[0].auc == pytest.approx(float(np.mean(quiet > loud)))
    assert judged(net, Series(values, seen), np.zeros(5, bool)) == ()
