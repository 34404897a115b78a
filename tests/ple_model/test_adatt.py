import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.adatt import AdaTT
from ple_model.config import AdattConfig, load_config
from ple_model.model import PLEClusterAdaTT
from ple_model.tasks import TASKS
from tests.factories import random_context, random_inputs

THREE = {n: TASKS[n] for n in ("ctr", "cvr", "churn")}  # two of Engagement (0.8), one of Lifecycle


def adatt(n_parameters: int = 3, tasks: tuple[str, ...] = tuple(THREE), **kwargs: object) -> AdaTT:
    config = dataclasses.replace(AdattConfig(), **kwargs)  # type: ignore[arg-type]
    return AdaTT({n: TASKS[n] for n in tasks}, config, n_parameters)


def every(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.bool)


def test_affinity_transfer_and_coefficients_by_hand() -> None:
    a = adatt(2)
    a.update(torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]), every(3))
    r = 0.5**0.5
    torch.testing.assert_close(a.affinity, torch.tensor([[1, r, -1], [r, 1, -r], [-1, -r, 1]]))
    torch.testing.assert_close(a.transfer, torch.tensor([[0, 0.8 * r, 0], [0.8 * r, 0, 0], [0, 0, 0]]))
    assert a.coefficients.tolist() == pytest.approx([1 + 0.8 * r / 1.1, 1 + 0.8 * r / 1.1, 1.0])
    assert a.report()["conflict_share"] == pytest.approx(4 / 6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e-12, 1.0, 1e9]))
def test_coefficients_lie_between_1_and_2_at_any_scale(seed: int, scale: float) -> None:
    tasks = tuple(load_config("v3_14").tasks)
    a = adatt(5, tasks)
    g = torch.Generator().manual_seed(seed)
    a.update(scale * torch.randn(len(tasks), 5, generator=g), every(len(tasks)))
    assert ((a.coefficients >= 1) & (a.coefficients <= 2)).all()
    assert torch.isfinite(a.affinity).all()


def test_perfect_agreement_gives_2_and_opposition_1() -> None:
    a = adatt(4)
    a.update(torch.ones(3, 4), every(3))
    assert a.coefficients.tolist() == pytest.approx([2.0] * 3)
    b = adatt(1, ("ctr", "churn"))
    b.update(torch.tensor([[1.0], [-1.0]]), every(2))
    assert b.coefficients.tolist() == [1.0, 1.0]


def test_a_single_task_keeps_its_weight() -> None:
    a = adatt(2, ("ctr",))
    a.update(torch.ones(1, 2), every(1))
    assert a.coefficients.tolist() == [1.0]


def test_vectors_are_averaged_not_cosines() -> None:
    a = adatt(2, ("ctr", "cvr"), ema_decay=0.5)
    a.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), every(2))
    a.update(torch.tensor([[0.0, 2.0], [0.0, -2.0]]), every(2))
    # averages (0.25, 1) and (0.25, -1)
    assert a.affinity[0, 1].item() == pytest.approx((0.0625 - 1) / (0.0625 + 1))


def test_a_task_without_labels_keeps_its_average() -> None:
    a = adatt(2, ("ctr", "cvr"))
    a.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), every(2))
    before = a.ema[1].clone()
    a.update(torch.tensor([[1.0, 0.0], [9.0, 9.0]]), torch.tensor([True, False]))
    assert torch.equal(a.ema[1], before)
    assert a.measured.tolist() == [2, 1]


def test_a_gradient_that_is_not_finite_is_left_out() -> None:
    a = adatt(2, ("ctr", "cvr"))
    a.update(torch.tensor([[float("nan"), 0.0], [0.0, 1.0]]), every(2))
    assert torch.isfinite(a.ema).all()
    assert a.measured.tolist() == [0, 1]
    assert a.affinity[0, 1].item() == 0.0


def test_the_noise_band_is_two_standard_errors() -> None:
    """Many independent histories of noisy gradients: the spread of A over histories is what each history's band says."""
    mean = torch.tensor([[1.0, 0.4, 0, 0, 0, 0], [0.6, -0.8, 0.3, 0, 0, 0]])
    found, bands = [], []
    for seed in range(120):
        g = torch.Generator().manual_seed(seed)
        a = adatt(6, ("ctr", "cvr"))
        for _ in range(35):
            a.update(mean + 0.5 * torch.randn(2, 6, generator=g), every(2))
        found.append(a.affinity[0, 1].item())
        bands.append(a.band[0, 1].item())
    spread = 2 * torch.tensor(found).std().item()
    assert torch.tensor(bands).mean().item() == pytest.approx(spread, rel=0.3)


def test_the_band_is_unknown_before_two_measurements_and_zero_without_noise() -> None:
    a = adatt(3, ("ctr", "cvr"))
    g = torch.tensor([[1.0, 2.0, 0.5], [0.2, 1.0, -1.0]])
    a.update(g, every(2))
    assert a.report()["band"][0][1] is None
    for _ in range(5):
        a.update(g, every(2))
    assert a.band[0, 1].item() == pytest.approx(0.0, abs=1e-5)


def test_measurements_are_at_least_four_an_epoch() -> None:
    a = adatt()
    assert [a.interval(s) for s in (1000, 40, 20, 4, 1)] == [10, 10, 5, 1, 1]


def test_coefficients_act_after_the_warm_up_only() -> None:
    a = adatt(2, warmup_epochs=2, freeze_epoch=5)
    a.update(torch.ones(3, 2), every(3))
    assert a.c(2).tolist() == [1.0] * 3
    assert a.c(3).tolist() == pytest.approx([2.0] * 3)
    off = adatt(2, enabled=False)
    off.update(torch.ones(3, 2), every(3))
    assert off.c(9).tolist() == [1.0] * 3


def test_frozen_coefficients_are_constant_and_travel_with_the_checkpoint() -> None:
    a = adatt(2)
    a.update(torch.ones(3, 2), every(3))
    a.freeze()
    a.update(-torch.eye(3)[:, :2], every(3))
    assert a.coefficients.tolist() == pytest.approx([2.0] * 3)
    b = adatt(2)
    b.load_state_dict(a.state_dict())
    assert b.frozen
    assert torch.equal(b.ema, a.ema)
    assert torch.equal(b.coefficients, a.coefficients)


def test_measured_gradients_are_those_of_each_task_s_loss_alone() -> None:
    model = PLEClusterAdaTT(load_config("small"), random_context()).eval()
    x = random_inputs(8)
    losses = model.losses(model(x), x.targets or {}, epoch=1)
    parameters = model.last_layer_parameters()
    model.adatt.measure(losses.raw, parameters)
    for name in ("ctr", "nba", "brand_prediction"):
        model.zero_grad()
        model.losses(model(x), x.targets or {}, epoch=1).raw[name].backward()
        alone = torch.cat([p.grad.flatten() for p in parameters])
        ema = model.adatt.ema[model.task_names.index(name)]
        torch.testing.assert_close(ema, 0.1 * alone, rtol=1e-3, atol=1e-7)


def test_measuring_leaves_the_step_s_own_gradient_as_it_was() -> None:
    grads = []
    for measured in (False, True):
        model = PLEClusterAdaTT(load_config("small"), random_context()).eval()
        x = random_inputs(8)
        losses = model.losses(model(x), x.targets or {}, epoch=1)
        if measured:
            model.adatt.measure(losses.raw, model.last_layer_parameters(), scale=1024.0)
        losses.total.backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert model.adatt.measured.tolist() == [1] * len(model.tasks)


def test_a_task_absent_from_the_targets_is_not_measured() -> None:
    model = PLEClusterAdaTT(load_config("small"), random_context())
    x = random_inputs(8)
    targets = {k: v for k, v in (x.targets or {}).items() if k != "ctr"}
    targets["cvr"] = torch.full((8,), -1)
    losses = model.losses(model(x), targets, epoch=1)
    model.adatt.measure(losses.raw, model.last_layer_parameters())
    counts = dict(zip(model.task_names, model.adatt.measured.tolist(), strict=True))
    assert counts["ctr"] == counts["cvr"] == 0
    assert counts["churn"] == 1
