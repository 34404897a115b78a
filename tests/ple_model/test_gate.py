import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.gate import CGCGate, entropy_loss, gate_entropy
from ple_model.model import PLEClusterAdaTT

EXPERTS = ["unified_hgcn", "perslay", "deepfm", "temporal", "lightgcn", "causal", "optimal_transport", "raw_scale"]
DIMS = [128, 64, 64, 64, 64, 64, 64, 64]


def gate(tasks: tuple[str, ...] = ("ctr", "churn", "timing"), **kwargs: object) -> CGCGate:
    made = CGCGate(tasks, EXPERTS, DIMS, **kwargs)  # type: ignore[arg-type]
    made.warm_start({"ctr": ("perslay", "temporal", "unified_hgcn"), "churn": ("perslay", "temporal")}, 1.0, -1.0)
    return made


def test_dimension_normalisation_scales_128_by_0_750_and_64_by_1_061() -> None:
    scale = gate().block_scale
    assert scale[0].item() == pytest.approx(0.750, abs=5e-4)
    assert scale[1:].tolist() == pytest.approx([1.061] * 7, abs=5e-4)
    assert gate(dim_normalize=False).block_scale.tolist() == [1.0] * 8


def test_equal_weights_give_blocks_of_equal_norm() -> None:
    """A block of n unit-variance numbers has squared norm n; after scaling all have the mean dimension."""
    assert (gate().block_scale ** 2 * torch.tensor(DIMS)).tolist() == pytest.approx([72.0] * 8)


def test_warm_start_prefers_domain_experts_whatever_the_input() -> None:
    _, w = gate()(torch.randn(5, 576))
    e, low = math.exp(1), math.exp(-1)
    three = 3 * e + 5 * low
    assert w[:, 0, EXPERTS.index("perslay")].tolist() == pytest.approx([e / three] * 5)
    assert w[:, 0, EXPERTS.index("deepfm")].tolist() == pytest.approx([low / three] * 5)
    assert w[:, 2].flatten().tolist() == pytest.approx([1 / 8] * 40)  # no domain experts: uniform


def test_a_single_domain_expert_starts_at_0_51_and_the_others_at_0_07() -> None:
    model = PLEClusterAdaTT(load_config("v3_14"))
    _, w = model.cgc(torch.zeros(1, 576))
    row = dict(zip(model.expert_names, w[0, model.task_names.index("timing")].tolist(), strict=True))
    assert row.pop("temporal") == pytest.approx(0.51, abs=5e-3)
    assert all(v == pytest.approx(0.07, abs=1e-3) for v in row.values())


def test_uniform_gates_have_entropy_ln_8_in_nats() -> None:
    assert gate_entropy(torch.full((1, 8), 1 / 8)).item() == pytest.approx(math.log(8))
    assert gate_entropy(torch.eye(8)).abs().max().item() == 0.0


def test_entropy_loss_is_minus_the_mean_entropy_over_tasks() -> None:
    w = torch.stack([torch.full((8,), 1 / 8), torch.eye(8)[0]])[None]
    assert entropy_loss(w).item() == pytest.approx(-math.log(8) / 2)


def test_a_collapsed_gate_has_a_finite_gradient() -> None:
    g = gate()
    with torch.no_grad():
        g.linear.bias[0] = 200.0
    _, w = g(torch.randn(4, 576))
    entropy_loss(w).backward()
    assert torch.isfinite(g.linear.bias.grad).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 0.3), min_size=1, max_size=3), st.floats(0.1, 10.0))
def test_pinned_weights_are_exact_and_the_rest_keep_their_proportions(pins: list[float], temperature: float) -> None:
    g = gate()
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(g.linear.weight, std=0.1, generator=generator)
    x = torch.randn(6, 576, generator=generator)
    pin = dict(zip(EXPERTS, pins, strict=False))
    logits, free = g(x, temperature)
    _, w = g(x, temperature, {"churn": pin})
    n = len(pins)
    assert torch.equal(w[:, 1, :n], torch.tensor(pins).expand(6, -1))
    torch.testing.assert_close(w.sum(-1), torch.ones(6, 3))
    torch.testing.assert_close(w[:, 1, n:], torch.softmax(logits[:, 1, n:] / temperature, -1) * (1 - sum(pins)))
    assert torch.equal(w[:, [0, 2]], free[:, [0, 2]])


def test_pinning_everything_to_zero_but_one_is_possible() -> None:
    _, w = gate()(torch.randn(2, 576), pin={"ctr": dict.fromkeys(EXPERTS[:7], 0.0)})
    assert w[:, 0].tolist() == [[0.0] * 7 + [1.0]] * 2


def test_temperature_divides_the_logits_of_the_named_task_only() -> None:
    g = gate()
    logits, w = g(torch.randn(3, 576), {"ctr": 2.0})
    torch.testing.assert_close(w[:, 0], torch.softmax(logits[:, 0] / 2, -1))
    torch.testing.assert_close(w[:, 1], torch.softmax(logits[:, 1], -1))


@pytest.mark.parametrize(
    ("pin", "said"),
    [({"ctr": {"perslai": 0.1}}, "perslay"), ({"crt": {"perslay": 0.1}}, "ctr"), ({"ctr": {"perslay": 1.2}}, "at most 1")],
)
def test_an_impossible_pin_is_refused(pin: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        gate()(torch.zeros(1, 576), pin=pin)


def test_frozen_gates_do_not_train_and_a_checkpoint_says_so() -> None:
    g = gate()
    g(torch.randn(3, 576))[1].square().sum().backward()
    g.freeze()
    assert all(not p.requires_grad and p.grad is None for p in g.parameters())
    other = gate()
    other.load_state_dict(g.state_dict())
    other.sync()
    assert not other.linear.weight.requires_grad
