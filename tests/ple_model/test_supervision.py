"""The second loss by which tasks teach the shared experts: what it is, whom it reaches, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.losses import task_loss
from ple_model.model import PLEClusterAdaTT
from ple_model.towers import predict
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config

PATH = {"direct_path": {"enabled": True, "start": "fitted", "hidden_dims": [8], "rate": 0.0, "ridge": 0.0}}


def model(weight: float, more: dict[str, Any] | None = None) -> PLEClusterAdaTT:
    training = {"training": {"expert_supervision": weight}}
    return PLEClusterAdaTT(tiny_config({**training, **(PATH if more is None else more)}), random_context()).train()


def test_only_small_supervises_its_experts() -> None:
    found = {p: load_config(p).training.expert_supervision for p in ("v3_14", "v3_15", "production", "small")}
    assert found.pop("small") > 0
    assert set(found.values()) == {0.0}


def test_with_it_or_without_everything_else_starts_the_same() -> None:
    on, off = model(1.0).state_dict(), model(0.0).state_dict()
    assert set(on) - set(off) == {"expert_heads.linear.weight", "expert_heads.linear.bias"}
    assert all(torch.equal(on[k], v) for k, v in off.items())


@pytest.mark.parametrize("path", [PATH, {"direct_path": {"enabled": False}}])
def test_it_is_each_tasks_loss_over_the_constants(path: dict[str, Any]) -> None:
    m = model(2.0, path)
    inputs = random_inputs(16, seed=3)
    assert inputs.targets is not None
    assert m.expert_heads is not None
    out = m(inputs)
    found = m.losses(out, inputs.targets, epoch=1).aux["supervision"]
    heads, t = m.expert_heads.linear, m.config.training
    expected, start = 0.0, 0
    for name, spec in m.tasks.items():
        if spec.kind == "contrastive":
            continue
        rows = slice(start, start + spec.out_dim)
        start = rows.stop
        raw = out.shared_concat @ heads.weight[rows].T + heads.bias[rows]
        if m.direct is not None:
            raw = raw + out.encoded.direct[:, m.direct.slices[name]]
        y, scaler = inputs.targets[name], m.context.label_scalers.get(name)
        loss, _ = task_loss(spec, predict(spec, raw), raw, y, None, scaler, t.focal_gamma, t.huber_delta)
        expected += 2.0 * spec.weight * loss.item() / m.context.constant_loss.get(name, 1.0)
    assert start == heads.out_features
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_it_reaches_the_experts_and_nothing_else() -> None:
    m = model(1.0)
    inputs = random_inputs(16, seed=4)
    assert inputs.targets is not None
    m.losses(m(inputs), inputs.targets, epoch=1).aux["supervision"].backward()
    felt = {n.partition(".")[0] for n, p in m.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert felt <= {"experts", "auxiliary", "expert_heads"}
    for name, expert in m.experts.items():
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in expert.parameters()), name


def test_it_counts_while_experts_train() -> None:
    m = model(1.0)
    inputs = random_inputs(8, seed=5)
    assert inputs.targets is not None

    def counted() -> bool:
        return "supervision" in m.losses(m(inputs), inputs.targets or {}, epoch=1).aux

    assert counted()
    m.eval()
    assert not counted()
    m.train()
    m.freeze_shared(True)
    assert not counted()


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(UserError, match=r"training\.expert_supervision"):
        load_config("small", overrides=["training.expert_supervision=-1"])
