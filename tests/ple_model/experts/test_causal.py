"""The causal expert finds a planted graph and states its losses."""

from __future__ import annotations

import torch

from ple_model.context import ModelContext
from ple_model.experts.causal import Causal, CausalParams
from tests.factories import random_inputs


def test_losses_are_the_stated_coefficients_times_the_named_quantities() -> None:
    torch.manual_seed(0)
    params = CausalParams(hidden_dim=8, variables=5, reconstruction_weight=0.3, acyclicity_weight=2.0, sparsity_weight=0.7)
    expert = Causal(params, ModelContext(), 0.0).eval()
    _, _, aux = expert(random_inputs(7))
    z, a = aux.internals["variables"], expert.dag().detach()
    h = expert.acyclicity().detach()
    wanted = {
        "reconstruction": 0.3 * (z - z @ a).square().mean(),
        "acyclicity": 2.0 * h + 2.5 * h.square(),
        "sparsity": 0.7 * a.abs().sum(),
    }
    for key, value in wanted.items():
        torch.testing.assert_close(aux.losses[key].detach(), value)


def test_training_on_its_own_losses_makes_the_graph_acyclic() -> None:
    torch.manual_seed(0)
    expert = Causal(CausalParams(hidden_dim=8, variables=5), ModelContext(), 0.0)
    inputs = random_inputs(16)
    with torch.no_grad():
        expert.adjacency.mul_(5.0)
    before = float(expert.acyclicity().detach())
    optimizer = torch.optim.Adam(expert.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        sum(expert(inputs)[2].losses.values(), torch.zeros(())).backward()
        optimizer.step()
    assert before > 0.1
    assert float(expert.acyclicity().detach()) < 0.01 * before


def test_no_variable_causes_itself_and_rows_cannot_collapse_to_zero() -> None:
    expert = Causal(CausalParams(variables=6), ModelContext(), 0.0).eval()
    assert expert.dag().diagonal().abs().max() == 0
    z = expert(random_inputs(4))[2].internals["variables"]
    torch.testing.assert_close(z.square().sum(dim=1), torch.full((4,), 6.0), rtol=1e-3, atol=1e-3)
