"""PersLay's fallback per row, its counts of points, and packing against padding."""

from __future__ import annotations

import dataclasses

import torch

from ple_model.config import load_config
from ple_model.context import ModelContext
from ple_model.experts.perslay import PersLay
from tests.factories import random_inputs, without


def build() -> PersLay:
    torch.manual_seed(0)
    return PersLay(load_config("small").shared_experts["perslay"], ModelContext(), 0.1).eval()  # type: ignore[arg-type]


def test_rows_without_diagrams_use_the_summary_and_others_do_not() -> None:
    model = build()
    inputs = random_inputs(4, absent={"tda_short_diagrams": [1], "tda_long_diagrams": [1]})
    assert inputs.tda_features is not None
    with torch.no_grad():
        before, _, aux = model(inputs)
        after = model(dataclasses.replace(inputs, tda_features=inputs.tda_features + 1.0))[0]
    assert aux.internals["from_diagrams"].tolist() == [True, False, True, True]
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]])
    assert not torch.allclose(after[1], before[1], atol=1e-3)


def test_values_under_the_padding_change_nothing() -> None:
    model, inputs = build(), random_inputs(4)
    assert inputs.tda_short_diagrams is not None
    assert inputs.tda_short_mask is not None
    padded = torch.where(inputs.tda_short_mask[..., None], inputs.tda_short_diagrams, torch.nan)
    with torch.no_grad():
        before, after = model(inputs)[0], model(dataclasses.replace(inputs, tda_short_diagrams=padded))[0]
    torch.testing.assert_close(after, before)


def test_points_that_die_before_birth_are_counted_and_left_out() -> None:
    model, inputs = build(), random_inputs(3)
    assert inputs.tda_long_diagrams is not None
    assert inputs.tda_long_mask is not None
    broken = inputs.tda_long_diagrams.clone()
    broken[1, 0, :2] = torch.tensor([5.0, 1.0])
    shorter = inputs.tda_long_mask.clone()
    shorter[1, 0] = False
    with torch.no_grad():
        out, _, aux = model(dataclasses.replace(inputs, tda_long_diagrams=broken))
        wanted = model(dataclasses.replace(inputs, tda_long_mask=shorter))[0]
    assert aux.internals["bad_points"].tolist() == [[0, 0], [0, 1], [0, 0]]
    torch.testing.assert_close(out, wanted)


def test_without_a_mask_zero_points_are_padding() -> None:
    model = build()
    with torch.no_grad():
        masked = model(random_inputs(3))[0]
        bare = model(dataclasses.replace(random_inputs(3), tda_short_mask=None, tda_long_mask=None))[0]
    torch.testing.assert_close(bare, masked)


def test_a_row_with_short_diagrams_alone_is_drawn_from_them() -> None:
    with torch.no_grad():
        aux = build()(without(random_inputs(3), ("tda_long_diagrams",)))[2]
    assert aux.internals["from_diagrams"].all()
    assert (aux.internals["valid_points"][:, 1] == 0).all()
