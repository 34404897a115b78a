"""What every shared expert must satisfy, by discovery over the registry: a new expert is covered without a new test."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import pytest
import torch
from torch import Tensor

from analysis.wording import module_title
from ple_model.batch import PLEClusterInput
from ple_model.config import PRESETS, config_from_dict, load_config
from ple_model.errors import UserError
from ple_model.experts.base import Expert, ExpertParams
from ple_model.fields import FIELD_SHAPES, OPTIONAL_FIELDS
from ple_model.registry import expert_classes
from ple_model.schema import PART_SLICES
from ple_model.summary import REFERENCE
from ple_model.tasks import HMM_MODES
from tests.factories import joined, random_context, random_inputs, without

NAMES = sorted(expert_classes())
KNOWN = sorted(n for n, c in expert_classes().items() if c.reference is not None)
"""Experts of the reference, which gives their size."""
READABLE = {"features", *OPTIONAL_FIELDS} | {f"features:{part}" for part in PART_SLICES}
TAKEN = {*HMM_MODES, "cluster", *REFERENCE}
"""Names of what stands beside the experts in summaries and explanations."""
ROWS = 6
EDGES: dict[type, tuple[object, ...]] = {
    int: (0, 1, 3, 33),
    float: (-1.0, 0.0, 1e-6, 1.0, 1e6),
    list: ([], [0], [1], [3, 2, 1]),
    bool: (False, True),
    str: ("no such value",),
    type(None): (),
}
"""Values to try by the kind of a parameter."""


@cache
def parameters(name: str, size: str = "small") -> ExpertParams:
    """The class's own defaults, or what the `small` preset makes of them where it names the expert."""
    own = expert_classes()[name].Params()
    return load_config("small").shared_experts.get(name, own) if size == "small" else own


@cache
def expert(name: str, size: str = "small") -> Expert:
    torch.manual_seed(1)
    return expert_classes()[name](parameters(name, size), random_context(), 0.1).eval()


def output(name: str, inputs: PLEClusterInput) -> Tensor:
    with torch.no_grad():
        return expert(name)(inputs)[0]


def test_the_registry_holds_the_eight_experts_of_the_reference() -> None:
    assert {
        "unified_hgcn", "perslay", "deepfm", "temporal", "lightgcn", "causal", "optimal_transport", "raw_scale",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_class_says_what_it_is_called_in_both_languages_and_what_it_reads(name: str) -> None:
    kind = expert_classes()[name]
    english, korean = kind.title
    assert english.isascii()
    assert re.search("[가-힣]", korean)
    assert module_title(name, "en") == f"{english} ({name})"
    assert module_title(name, "ko") == f"{korean} ({name})"
    assert re.fullmatch("[a-z][a-z0-9_]*", name)
    assert name not in TAKEN
    assert kind.reads
    assert set(kind.reads) <= READABLE
    assert {f for pair in kind.stands_in.items() for f in (pair[0], *pair[1])} <= set(kind.reads)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_its_help_and_the_defaults_are_valid(name: str) -> None:
    for f in dataclasses.fields(expert_classes()[name].Params):
        assert f.metadata.get("help", "").endswith("."), f.name
    assert config_from_dict({"shared_experts": {name: {}}}).shared_experts == {name: parameters(name, "default")}


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_at_the_edge_of_its_bounds_gives_an_expert_or_an_error_that_names_its_key(name: str) -> None:
    """Whatever a config accepts computes: each parameter alone at small, odd and negative values."""
    own, inputs = parameters(name), random_inputs(2)
    for f in dataclasses.fields(own):
        default = getattr(own, f.name)
        for value in EDGES[type(default)]:
            plain = {**dataclasses.asdict(own), f.name: value}
            try:
                params = config_from_dict({"shared_experts": {name: plain}}).shared_experts[name]
            except UserError as e:
                if not re.match(rf"shared_experts\.{name}\..*\b{f.name}\b", str(e)):
                    pytest.fail(f"{f.name}={value} is not named: {e}")
                continue
            with torch.no_grad():
                out = expert_classes()[name](params, random_context(), 0.1).eval()(inputs)[0]
            assert torch.isfinite(out).all(), f"{f.name}={value}"


@pytest.mark.parametrize("name", NAMES)
def test_an_expert_is_not_built_from_wrong_parameters(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = expert_classes()[name]
    monkeypatch.setattr(kind.Params, "wrong", lambda _: iter([("output_dim", "it must be a prime number")]))
    said = rf"^shared_experts\.{name}\.output_dim: \d+ is not valid, it must be a prime number$"
    with pytest.raises(UserError, match=said):
        kind(parameters(name), random_context(), 0.1)
    with pytest.raises(UserError, match=said):
        config_from_dict({"shared_experts": {name: {}}})


@pytest.mark.parametrize("size", ["small", "default"])
@pytest.mark.parametrize("name", NAMES)
def test_output_is_finite_and_shaped(name: str, size: str) -> None:
    inputs = random_inputs(ROWS)
    with torch.no_grad():
        out, present, aux = expert(name, size)(inputs)
    assert out.shape == (ROWS, parameters(name, size).output_dim)
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
    mixed = joined([inputs.rows(slice(0, 1)), others.rows(slice(1, ROWS))])
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


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        pytest.param(name, reads, id=f"{name}-{'all' if len(reads) > 1 else reads[0]}")
        for name in NAMES
        for reads in dict.fromkeys([expert(name).reads, *((f,) for f in expert(name).reads if f in FIELD_SHAPES)])
    ],
)
def test_nan_in_an_absent_row_leaks_into_no_output_loss_or_gradient(name: str, reads: tuple[str, ...]) -> None:
    """Values of an absent row are undefined; only its presence says so. Of all that is read, and of one field alone."""
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
def test_auxiliary_losses_of_parts_make_those_of_the_batch(name: str) -> None:
    """A batch may be shared out among processes: a loss is a mean over rows and says how many, or depends on weights alone."""
    inputs = without(random_inputs(12, seed=3), {f: [0, 1, 7] for f in expert(name).reads})
    with torch.no_grad():
        whole = expert(name)(inputs)[2]
        parts = [expert(name)(inputs.rows(torch.arange(r, 12, 2)))[2] for r in range(2)]
    assert whole.means.keys() <= whole.losses.keys()
    for loss, value in whole.losses.items():
        if loss in whole.means:
            found = sum(p.losses[loss] * p.means[loss] for p in parts) / whole.means[loss]
            torch.testing.assert_close(found, value)
        else:
            assert all(torch.equal(p.losses[loss], value) for p in parts)


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
    """Each declared field is really read; one that stands in for others, where those are gone."""
    inputs, instead = random_inputs(ROWS), expert_classes()[name].stands_in
    for field in expert(name).reads:
        base = without(inputs, instead.get(field, ()))
        assert not torch.allclose(output(name, base), output(name, without(base, (field,))), rtol=0, atol=1e-7), field


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
    params, inputs = parameters(name), random_inputs(ROWS)
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
    double = expert_classes()[name](parameters(name), random_context(), 0.1).eval().double()
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
    params, inputs = parameters(name), random_inputs(ROWS)
    outs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        with torch.no_grad():
            outs.append(expert_classes()[name](params, random_context(), 0.1).eval()(inputs)[0])
    assert torch.equal(outs[0], outs[1])
    assert not torch.allclose(outs[0], outs[2], atol=1e-3)


@pytest.mark.parametrize("name", KNOWN)
def test_size_is_within_a_third_of_the_references_estimate(name: str) -> None:
    size, known = sum(p.numel() for p in expert(name, "default").parameters()), expert_classes()[name].reference
    assert known is not None
    assert bool(known.why) == (abs(size / known.parameters - 1) > 1 / 3)


def test_the_defaults_of_the_references_experts_are_its_preset() -> None:
    assert load_config("v3_14").shared_experts == {n: parameters(n, "default") for n in load_config("v3_14").shared_experts}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_name_registered_experts(preset: str) -> None:
    assert set(load_config(preset).shared_experts) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_output_width_follows_the_config(name: str) -> None:
    params = dataclasses.replace(parameters(name), output_dim=7)
    model = expert_classes()[name](params, random_context(), 0.0).eval()
    with torch.no_grad():
        assert model(random_inputs(2))[0].shape == (2, 7)
