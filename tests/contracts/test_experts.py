"""What every shared expert must satisfy, by discovery over the registry: a new expert is covered without a new test."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.config import PRESETS, load_config
from ple_model.experts.base import Expert
from ple_model.fields import FIELD_SHAPES
from ple_model.registry import expert_classes
from ple_model.schema import PART_SLICES
from tests.factories import random_context, random_inputs, without

NAMES = sorted(expert_classes())
ROWS = 6


@cache
def expert(name: str, preset: str = "small") -> Expert:
    torch.manual_seed(1)
    params = load_config(preset).shared_experts[name]
    return expert_classes()[name](params, random_context(), 0.1).eval()


def output(name: str, inputs: PLEClusterInput, preset: str = "small") -> Tensor:
    with torch.no_grad():
        return expert(name, preset)(inputs)[0]


def test_the_registry_holds_the_eight_experts_of_the_reference() -> None:
    assert {
        "unified_hgcn", "perslay", "deepfm", "temporal", "lightgcn", "causal", "optimal_transport", "raw_scale",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("preset", ["small", "v3_14"])
@pytest.mark.parametrize("name", NAMES)
def test_output_is_finite_and_shaped(name: str, preset: str) -> None:
    inputs = random_inputs(ROWS)
    with torch.no_grad():
        out, present, aux = expert(name, preset)(inputs)
    assert out.shape == (ROWS, load_config(preset).shared_experts[name].output_dim)
    assert torch.isfinite(out).all()
    assert present.all()
    assert all(loss.dim() == 0 and torch.isfinite(loss) for loss in aux.losses.values())
    assert all(value.shape[0] == ROWS and not value.requires_grad for value in aux.internals.values())


@pytest.mark.parametrize("name", NAMES)
def test_rows_differ(name: str) -> None:
    out = output(name, random_inputs(ROWS))
    assert torch.cdist(out, out).fill_diagonal_(1.0).min() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_gives_the_same_row(name: str) -> None:
    inputs = random_inputs(ROWS)
    whole = output(name, inputs)
    for i in range(ROWS):
        torch.testing.assert_close(output(name, inputs.rows(slice(i, i + 1)))[0], whole[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_row_i_depends_on_row_i_alone(name: str) -> None:
    inputs, others = random_inputs(ROWS), random_inputs(ROWS, seed=9)
    mixed = PLEClusterInput.concat([inputs.rows(slice(0, 1)), others.rows(slice(1, ROWS))])
    before, after = output(name, inputs), output(name, mixed)
    torch.testing.assert_close(after[0], before[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after[1:], before[1:], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_pass_gives_rows_independent_gradients(name: str) -> None:
    """The gradient of row 0's output reaches no other row's features, in training mode too (no batch statistics)."""
    model = expert(name).train()
    inputs = random_inputs(4)
    features = inputs.features.clone().requires_grad_()
    sequences = inputs.txn_seq.clone().requires_grad_()  # type: ignore[union-attr]
    out, _, _ = model(dataclasses.replace(inputs, features=features, txn_seq=sequences))
    model.eval()
    out[0].sum().backward()
    for leaf in (features, sequences):
        if leaf.grad is not None:
            assert leaf.grad[1:].abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_any_of_its_inputs_gets_zero_output(name: str) -> None:
    inputs = random_inputs(ROWS, absent={field: [2] for field in expert(name).reads})
    with torch.no_grad():
        out, present, _ = expert(name)(inputs)
    assert present.tolist() == [True, True, False, True, True, True]
    assert (out[2] == 0).all()
    assert (out[[0, 1, 3, 4, 5]] != 0).any(dim=1).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_any_of_its_inputs_is_zero_and_trains_without_nan(name: str) -> None:
    inputs = random_inputs(ROWS, absent=expert(name).reads)
    out, present, aux = expert(name)(inputs)
    assert not present.any()
    assert (out == 0).all()
    loss = out.sum() + sum(aux.losses.values(), torch.zeros(()))
    for gradient in torch.autograd.grad(loss, list(expert(name).parameters()), allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_an_absent_row_leaks_into_no_output_loss_or_gradient(name: str) -> None:
    """Values of an absent row are undefined; only its presence says so."""
    reads = expert(name).reads
    clean = random_inputs(ROWS, absent={field: [2] for field in reads})
    changed: dict[str, Tensor] = {}
    for field in reads:
        base, _, part = field.partition(":")
        value = changed.get(base, getattr(clean, base)).clone()
        value[(2, PART_SLICES[part]) if part else (2,)] = torch.nan
        changed[base] = value
    dirty = dataclasses.replace(clean, **changed)
    parameters = list(expert(name).parameters())
    results = []
    for inputs in (dirty, clean):
        out, _, aux = expert(name)(inputs)
        loss = out.square().sum() + sum(aux.losses.values(), torch.zeros(()))
        results.append((out, aux.losses, torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", NAMES)
def test_auxiliary_losses_leave_out_absent_rows(name: str) -> None:
    reads = expert(name).reads
    inputs = random_inputs(ROWS, absent={field: [4, 5] for field in reads})
    with torch.no_grad():
        some, rest = expert(name)(inputs)[2].losses, expert(name)(inputs.rows(slice(0, 4)))[2].losses
    for key in some:
        torch.testing.assert_close(some[key], rest[key])


@pytest.mark.parametrize("name", NAMES)
def test_every_single_field_may_be_absent(name: str) -> None:
    fields = [f for f in expert(name).reads if f in FIELD_SHAPES] or [expert(name).reads[0]]
    for field in fields:
        for absent in ((field,), {field: [0]}):
            inputs = random_inputs(ROWS, absent=absent)
            assert torch.isfinite(output(name, inputs)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_present_field_changes_the_output(name: str) -> None:
    """Each declared field is really read. PersLay reads the summary only where diagrams are gone."""
    inputs = random_inputs(ROWS)
    if name == "perslay":
        with_summary = without(inputs, ("tda_short_diagrams", "tda_long_diagrams"))
        gone = without(with_summary, ("tda_features",))
        assert not torch.allclose(output(name, with_summary), output(name, gone), atol=1e-4)
    for field in expert(name).reads:
        if field != "tda_features":
            assert not torch.equal(output(name, inputs), output(name, without(inputs, (field,)))), field


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    model = expert(name)
    inputs = without(random_inputs(ROWS), {"tda_short_diagrams": [0], "tda_long_diagrams": [0]})
    out, _, aux = model(inputs)
    loss = out.square().sum() + sum(aux.losses.values(), torch.zeros(()))
    names, parameters = zip(*model.named_parameters(), strict=True)
    for key, gradient in zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        assert gradient is not None, f"{key} takes no part"
        assert torch.isfinite(gradient).all(), key


@pytest.mark.parametrize("name", NAMES)
def test_training_works_after_a_first_pass_in_inference_mode(name: str) -> None:
    params, inputs = load_config("small").shared_experts[name], random_inputs(ROWS)
    params = dataclasses.replace(params, chunk=7) if hasattr(params, "chunk") else params  # nothing cached by other tests
    model = expert_classes()[name](params, random_context(), 0.1)
    with torch.inference_mode():
        model(inputs)
    model(inputs)[0].sum().backward()
    assert model.last_layer().weight.grad is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_last_layer_feeds_the_output_and_is_the_experts_own(name: str) -> None:
    model = expert(name)
    layer = model.last_layer()
    assert layer.out_features == model.output_dim
    assert any(layer is module for module in model.modules())
    (gradient,) = torch.autograd.grad(model(random_inputs(ROWS))[0].square().sum(), [layer.weight])
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_float64_runs_and_agrees_with_float32(name: str) -> None:
    inputs = random_inputs(ROWS)
    params = load_config("small").shared_experts[name]
    double = expert_classes()[name](params, random_context(), 0.1).eval().double()
    double.load_state_dict(expert(name).state_dict())
    with torch.no_grad():
        out = double(inputs.to(dtype=torch.float64))[0]
    assert out.dtype == torch.float64
    torch.testing.assert_close(out.float(), output(name, inputs), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_to_bfloat16_stays_finite_and_close(name: str) -> None:
    inputs = random_inputs(ROWS)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = expert(name)(inputs)[0]
    assert torch.isfinite(out).all()
    assert (out.float() - output(name, inputs)).abs().mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_tiny_and_large_inputs_keep_outputs_and_gradients_finite(name: str, scale: float) -> None:
    inputs = random_inputs(ROWS).map(lambda t: scale * t if t.is_floating_point() else t)
    out, _, aux = expert(name)(inputs)
    assert torch.isfinite(out).all()
    loss = out.square().sum() + sum(aux.losses.values(), torch.zeros(()))
    for gradient in torch.autograd.grad(loss, list(expert(name).parameters()), allow_unused=True, materialize_grads=True):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_two_seeds_start_apart_and_one_seed_repeats(name: str) -> None:
    params, inputs = load_config("small").shared_experts[name], random_inputs(ROWS)
    outs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        with torch.no_grad():
            outs.append(expert_classes()[name](params, random_context(), 0.1).eval()(inputs)[0])
    assert torch.equal(outs[0], outs[1])
    assert not torch.allclose(outs[0], outs[2], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_size_is_within_a_third_of_the_references_estimate(name: str) -> None:
    size = sum(p.numel() for p in expert(name, "v3_14").parameters())
    assert abs(size / expert(name).reference_parameters - 1) < 1 / 3


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_registered_experts_with_help_on_every_parameter(preset: str) -> None:
    for params in load_config(preset).shared_experts.values():
        for f in dataclasses.fields(params):
            assert f.metadata.get("help"), f.name


@pytest.mark.parametrize("name", NAMES)
def test_output_width_follows_the_config(name: str) -> None:
    params = dataclasses.replace(load_config("small").shared_experts[name], output_dim=7)
    model = expert_classes()[name](params, random_context(), 0.0).eval()
    with torch.no_grad():
        assert model(random_inputs(2))[0].shape == (2, 7)
