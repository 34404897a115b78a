"""Losses against a teacher: by hand, against PyTorch's own divergence, and their gradients beside those of hard labels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ple_model.context import LabelScaler
from ple_model.distill.hint import HintMap
from ple_model.distill.soft_losses import entropy, soft_amounts, soft_binary, soft_brands, soft_classes
from ple_model.losses import BrandTable
from ple_model.tasks import TASKS

G = torch.Generator().manual_seed(3)
NUMBER = st.floats(-50, 50, allow_subnormal=False)


def test_two_outcomes_by_hand() -> None:
    """Teacher 0.8, student 0.5: 0.8 ln(0.8 / 0.5) + 0.2 ln(0.2 / 0.5) = 0.37602 - 0.18326."""
    got = soft_binary(torch.tensor([math.log(4.0)]), torch.zeros(1), 1.0)
    assert got.item() == pytest.approx(0.192745, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_classes_are_torch_s_divergence_and_two_classes_are_two_outcomes(temperature: float) -> None:
    t, s = torch.randn(7, 5, generator=G), torch.randn(7, 5, generator=G)
    own = F.kl_div((s / temperature).log_softmax(1), (t / temperature).softmax(1), reduction="none").sum(1) * temperature**2
    torch.testing.assert_close(soft_classes(t, s, temperature), own)
    pair = [torch.stack([torch.zeros(7), x[:, 0]], dim=1) for x in (t, s)]
    torch.testing.assert_close(soft_classes(pair[0], pair[1], temperature), soft_binary(t[:, 0], s[:, 0], temperature))


@settings(max_examples=40, deadline=None)
@given(NUMBER, NUMBER, st.floats(1, 10, allow_subnormal=False))
def test_never_below_zero_and_zero_for_a_copy(teacher: float, student: float, temperature: float) -> None:
    t, s = torch.tensor([teacher]), torch.tensor([student], requires_grad=True)
    loss = soft_binary(t, s, temperature)
    loss.sum().backward()
    assert loss.item() >= -1e-4
    assert torch.isfinite(s.grad).all()
    assert soft_binary(t, t, temperature).item() == pytest.approx(0.0, abs=1e-5)


def test_a_high_temperature_is_a_squared_error_of_raw_outputs() -> None:
    """Hinton et al. 2015, eq. 4: for T far above them, T^2 times the gradient is (s - t) / K for outputs of mean 0."""
    t, s = torch.randn(1, 4, generator=G), torch.randn(1, 4, generator=G)
    t, s = t - t.mean(), (s - s.mean()).requires_grad_()
    soft_classes(t, s, 1000.0).sum().backward()
    torch.testing.assert_close(s.grad, (s.detach() - t) / 4, atol=2e-3, rtol=0)


def test_brands_are_classes_whose_raw_outputs_are_products() -> None:
    table = BrandTable(6, 4, (), 0.5, 2048)
    query, teacher, keys = (F.normalize(torch.randn(n, 4, generator=G), dim=1) for n in (3, 3, 6))
    got = soft_brands(teacher, keys / 0.07, query, table, 2.0)
    torch.testing.assert_close(got, soft_classes(teacher @ keys.T / 0.07, table.logits(query), 2.0))


def test_drawn_brands_are_the_same_on_both_sides() -> None:
    """A student that is its teacher loses nothing, whichever brands are drawn."""
    table = BrandTable(50, 4, tuple(range(50)), 0.07, 8).train()
    query = F.normalize(torch.randn(3, 4, generator=G), dim=1)
    keys = F.normalize(table.keys.detach(), dim=1) / 0.07
    assert soft_brands(query, keys, query, table, 2.0).abs().max() < 1e-5


def test_amounts_are_the_task_s_own_loss_in_standard_deviations() -> None:
    spec = TASKS["ltv"]
    got = soft_amounts(spec, torch.tensor([5.0, 9.0]), torch.tensor([0.0, 0.0]), LabelScaler(3.0, 2.0), 1.0)
    want = [0.5, 3.0 - 0.5] if spec.loss == "huber" else [1.0, 9.0]
    assert got.tolist() == pytest.approx(want)


def test_what_a_constant_loses_of_a_log_loss() -> None:
    assert entropy(0.5) == pytest.approx(math.log(2))
    assert 0 < entropy(0.0) < 1e-5


def test_a_hint_is_one_for_the_mean_and_passes_over_what_says_nothing() -> None:
    teacher = torch.randn(400, 3, generator=G)
    teacher[:, 2] = 4.0  # constant: no column to copy
    mean, std = teacher.mean(0), teacher.std(0, correction=0)
    hint = HintMap(1, 5, 3, seed=0)
    assert torch.equal(hint.weight, HintMap(1, 5, 3, seed=0).weight)
    with torch.no_grad():
        hint.weight.zero_()
    own = torch.randn(400, 5, generator=G)
    assert hint.loss(own, teacher, mean, std).item() == pytest.approx(1.0, abs=1e-4)
    lost = teacher.clone()
    lost[0] = torch.nan
    assert torch.isfinite(hint.loss(own, lost, mean, std))


def test_a_hint_of_tasks_has_a_map_for_each() -> None:
    own = torch.randn(6, 2, 4, generator=G)
    hint = HintMap(2, 4, 3, seed=1)
    teacher = torch.einsum("bti,tio->bto", own, hint.weight.detach())
    assert hint.loss(own, teacher, torch.zeros(2, 3), torch.ones(2, 3)).item() == pytest.approx(0.0, abs=1e-6)
