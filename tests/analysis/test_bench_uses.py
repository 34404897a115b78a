"""Whether the model uses a cause: what is moved from others and what is not, and when a use is proved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.bench.uses import Carrying, Use
from ple_model.interval import Interval
from ple_model.schema import load_schema
from tests.factories import random_inputs

SCHEMA = load_schema()


def test_all_that_carries_a_cause_comes_from_the_same_other_customer_and_nothing_else() -> None:
    carrying = Carrying.of(["visit_rhythm"], SCHEMA, ("features", "txn_seq", "session_seq", "collaborative_features"))
    assert carrying.fields == {"txn_seq", "session_seq"}
    named = {c.name for c in SCHEMA.columns if carrying.columns[c.index]}
    assert "gap_std_90d" in named
    assert "spend_28d" not in named
    assert {c.name for c in SCHEMA.columns if c.part == "mamba_temporal"} <= named  # a part that speaks as one
    inputs, order = random_inputs(5, seed=2), torch.tensor([3, 0, 4, 1, 2])
    moved = carrying.from_others(inputs, order)
    columns = torch.from_numpy(carrying.columns)
    assert torch.equal(moved.features[:, columns], inputs.features[order][:, columns])
    assert torch.equal(moved.features[:, ~columns], inputs.features[:, ~columns])
    assert moved.txn_seq is not None
    assert inputs.txn_seq is not None
    assert torch.equal(moved.txn_seq, inputs.txn_seq[order])
    assert moved.collaborative_features is inputs.collaborative_features


@pytest.mark.parametrize(
    ("rise", "along", "used"),
    [
        ((0.01, 0.03), None, True),
        ((-0.01, 0.03), None, False),
        ((0.01, 0.03), (0.1, 0.4), True),
        ((0.01, 0.03), (-0.4, -0.1), True),
        ((0.01, 0.03), (-0.1, 0.4), False),
        ((float("nan"), float("nan")), None, False),
    ],
)
def test_a_use_is_proved_by_the_loss_and_by_its_direction_where_that_can_be_told(
    rise: tuple[float, float], along: tuple[float, float] | None, used: bool
) -> None:
    told = None if along is None else Interval(float(np.mean(along)), *along)
    assert Use(Interval(float(np.mean(rise)), *rise), told, 100).used is used
