"""RawScale keeps scale: standardisation by training statistics, not per row."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ple_model.context import ModelContext
from ple_model.errors import UserError
from ple_model.experts.raw_scale import RawScale, RawScaleParams
from ple_model.schema import load_schema
from tests.factories import random_inputs

N_RAW = len(load_schema().names[load_schema().raw])


def test_standardisation_is_the_signed_log_by_training_statistics() -> None:
    context = ModelContext(raw_mean=tuple([2.0] * N_RAW), raw_std=(0.0, *[4.0] * (N_RAW - 1)))
    expert = RawScale(RawScaleParams(), context, 0.0)
    raw = torch.zeros(1, N_RAW)
    raw[0, :3] = torch.tensor([torch.e - 1, torch.e**10 - 1, -(torch.e**6 - 1)])
    z = expert.standardise(raw)[0]
    torch.testing.assert_close(z[:4], torch.tensor([-1.0, 2.0, -2.0, -0.5]))  # a constant column is not divided


def test_multiplying_all_amounts_moves_the_output() -> None:
    """A LayerNorm over the raw columns would hide this."""
    expert, inputs = RawScale(RawScaleParams(), ModelContext(), 0.0).eval(), random_inputs(3)
    richer = dataclasses.replace(inputs, features=torch.cat([inputs.features[:, :644], 100 * inputs.features[:, 644:]], dim=1))
    with torch.no_grad():
        assert (expert(inputs)[0] - expert(richer)[0]).abs().mean() > 0.02


def test_statistics_travel_with_the_checkpoint_and_a_wrong_width_is_named() -> None:
    assert {"raw_mean", "raw_std"} <= set(RawScale(RawScaleParams(), ModelContext(), 0.0).state_dict())
    with pytest.raises(UserError, match="raw_std: 3 values, expected 90"):
        RawScale(RawScaleParams(), ModelContext(raw_std=(1.0, 1.0, 1.0)), 0.0)
