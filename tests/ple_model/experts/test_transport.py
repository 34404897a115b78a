"""The optimal-transport expert's distances and its choice of form."""

from __future__ import annotations

import dataclasses
import typing

import ot
import pytest
import torch

from ple_model.config import load_config
from ple_model.context import ModelContext
from ple_model.errors import UserError
from ple_model.experts.base import require_valid
from ple_model.experts.transport import OptimalTransport, TransportParams, lifted
from tests.factories import random_inputs


def build(**change: float) -> OptimalTransport:
    torch.manual_seed(0)
    params = typing.cast(TransportParams, load_config("small").shared_experts["optimal_transport"])
    return OptimalTransport(dataclasses.replace(params, **change), ModelContext(), 0.1).eval()  # type: ignore[arg-type]


def test_prototype_distances_agree_with_pot() -> None:
    model = build(iterations=2000)
    with torch.no_grad():
        internals = model(random_inputs(3))[2].internals
        cost, prototypes = model.cost().double().numpy(), lifted(model.prototypes()).double()
    for i in range(3):
        a = lifted(internals["histogram"][i]).double()
        for j in range(2):
            b = prototypes[j]
            plan = ot.sinkhorn((a / a.sum()).numpy(), (b / b.sum()).numpy(), cost, 0.1, method="sinkhorn_log", stopThr=1e-12)
            assert float(internals["prototype_distances"][i, j]) == pytest.approx((plan * cost).sum(), abs=1e-4)


def test_a_small_epsilon_takes_the_log_domain_and_stays_finite() -> None:
    out, _, _ = build(epsilon=0.001)(random_inputs(3))
    assert torch.isfinite(out).all()


def test_prototypes_start_apart() -> None:
    p = build().prototypes().detach()
    assert torch.cdist(p, p).fill_diagonal_(1.0).min() > 0.05


def test_impossible_settings_name_their_key() -> None:
    with pytest.raises(UserError, match=r"shared_experts\.optimal_transport\.epsilon"):
        require_valid("optimal_transport", TransportParams(epsilon=0.0))
