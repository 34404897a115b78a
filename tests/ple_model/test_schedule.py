"""Learning rates over a phase."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from ple_model.config import load_config
from ple_model.schedule import PhaseCosine, schedule


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": lr} for lr in (1.0, 0.1)]
    return torch.optim.AdamW(groups)


def test_a_cosine_phase_rises_falls_and_ends_at_zero() -> None:
    opt = optimizer()
    found = schedule(opt, load_config("v3_14", overrides=["training.schedule=cosine"]).training, 1)
    epochs = load_config("v3_14").training.phase1_epochs
    rates = []
    for step in range(10 * epochs + 1):
        rates.append([g["lr"] for g in opt.param_groups])
        found.step((step + 1) / 10)
    peak = max(range(len(rates)), key=lambda i: rates[i][0])
    assert 0 < peak < len(rates) // 10
    assert rates[peak][0] > 0.95
    assert all(a >= b for (a, _), (b, _) in zip(rates[peak:], rates[peak + 1 :], strict=False))
    assert rates[-1][0] == pytest.approx(0, abs=1e-12)
    assert all(b == pytest.approx(0.1 * a) for a, b in rates)


def test_a_schedule_goes_on_from_its_state() -> None:
    first, second = optimizer(), optimizer()
    whole, part = PhaseCosine(first, 4), PhaseCosine(second, 4)
    whole.step(1.5)
    fresh = PhaseCosine(second, 1)
    fresh.load_state_dict(part.state_dict())
    fresh.step(1.5)
    assert [g["lr"] for g in first.param_groups] == [g["lr"] for g in second.param_groups]


def test_the_reference_keeps_warm_restarts_and_its_rate_in_both_phases() -> None:
    for phase in (1, 2):
        opt = optimizer()
        assert isinstance(schedule(opt, load_config("v3_14").training, phase), CosineAnnealingWarmRestarts)
        assert [g["lr"] for g in opt.param_groups] == [1.0, 0.1]


def test_phase_two_takes_its_own_rate() -> None:
    t = load_config("v3_14", overrides=["training.phase2_rate=0.25"]).training
    rates = []
    for phase in (1, 2):
        opt = optimizer()
        schedule(opt, t, phase)
        rates.append([g["lr"] for g in opt.param_groups])
    assert rates[1] == pytest.approx([0.25 * v for v in rates[0]])
