"""A changed tensor is told from its mark with how it changed, and what is told is proven."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.tensor_marks import change, mark


def _tensor(seed: int, n: int) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_the_same_bytes_are_no_change_and_type_and_shape_count() -> None:
    x = _tensor(0, 20)
    assert change(mark(x), x.clone()) is None
    assert change(mark(x), x.double()) is not None
    assert change(mark(x), x.view(3, 20)) is not None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.integers(2, 400), st.sampled_from([0.5, -3.0, 1e4, -999.0, math.nan, math.inf, 0.0]))
def test_one_replaced_value_is_found_with_what_it_was(seed: int, n: int, value: float) -> None:
    x = _tensor(seed, n)
    k = seed * 7 % x.numel()
    y = x.clone()
    y.view(-1)[k] = value
    found = change(mark(x), y)
    assert found is not None
    assert (found.how, found.place, found.was) == ("value", k, float(x.view(-1)[k]))
    np.testing.assert_equal(found.now, value)


@pytest.mark.parametrize("factor", [0.001, 20.0, -1.0, 0.0])
def test_a_factor_is_found(factor: float) -> None:
    x = _tensor(1, 50)
    found = change(mark(x), x * factor)
    assert found is not None
    assert found.how == "factor"
    assert found.factor == pytest.approx(factor, rel=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_rounding_to_16_bits_is_found_and_no_other_numbers_that_they_hold(kind: torch.dtype) -> None:
    x = _tensor(4, 50)
    found = change(mark(x), x.to(kind).float())
    assert found is not None
    assert found.how == "rounded"
    other = change(mark(x), _tensor(5, 50).to(kind).float())
    assert other is not None
    assert other.how == "other"


def test_an_order_and_anything_else_are_told_apart() -> None:
    x = _tensor(2, 50)
    shuffled = x.view(-1)[torch.randperm(150, generator=torch.Generator().manual_seed(0))].view(50, 3)
    assert [getattr(change(mark(x), y), "how", None) for y in (shuffled, _tensor(3, 50), x + 0.1)] == [
        "order",
        "other",
        "other",
    ]


def test_whole_numbers_and_single_values_are_marked_too() -> None:
    for x, y in ((torch.tensor(3), torch.tensor(4)), (torch.tensor([1, 2, 3]), torch.tensor([1, 9, 3]))):
        found = change(mark(x), y)
        assert found is not None
        assert found.how == "value"
    assert change(mark(torch.tensor(True)), torch.tensor(False)) is not None
    assert change(mark(torch.zeros(0)), torch.zeros(0)) is None
