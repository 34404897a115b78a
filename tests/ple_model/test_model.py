import dataclasses

import pytest
import torch

import ple_model
from ple_model.auxiliary import AuxiliaryProjection
from ple_model.batch import PLEClusterInput
from ple_model.config import PRESETS, load_config
from ple_model.context import LabelScaler, ModelContext
from ple_model.errors import UserError
from ple_model.fields import OPTIONAL_FIELDS
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded, PLEClusterOutput
from tests.factories import random_context, random_inputs
from tests.ple_model.conftest import shake


def build(preset: str = "small", *overrides: str) -> PLEClusterAdaTT:
    return PLEClusterAdaTT(load_config(preset, overrides=overrides), random_context())


def tensors(out: PLEClusterOutput) -> dict[str, torch.Tensor]:
    return {
        **{f"p:{k}": v for k, v in out.predictions.items()},
        **{f"logits:{k}": v for k, v in out.logits.items()},
        **{f"transfer:{k}": v for k, v in out.transfer.items()},
        **{f"input:{k}": v for k, v in out.tower_inputs.items()},
        **{f"u:{k}": v.uncertainty for k, v in out.evidential.items()},
        "gates": out.gate_weights,
        "shared": out.shared_concat,
        "encoder": out.encoder_outputs,
        **({} if out.sae is None else {"latent": out.sae.latent}),
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_a_step(preset: str) -> None:
    model = build(preset).train()
    x = random_inputs(16 if preset == "small" else 3)
    out = model(x)
    assert out.shared_concat.shape == (len(x), {"small": 192, "v3_15": 512}.get(preset, 576))
    losses = model.losses(out, x.targets or {}, epoch=1)
    (losses.total + losses.sae_total).backward()
    model.project()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    # a linear map that stays as it was fitted is the only one that nothing pulls at
    assert missing == (["direct.linear.weight", "direct.linear.bias"] if preset == "small" else [])


def test_the_package_exports_the_model() -> None:
    assert ple_model.PLEClusterAdaTT is PLEClusterAdaTT
    with pytest.raises(AttributeError, match="nothing"):
        _ = ple_model.nothing


def test_decoding_what_was_encoded_is_the_forward_pass(
    model: PLEClusterAdaTT, inputs: PLEClusterInput, encoded: Encoded
) -> None:
    with torch.no_grad():
        a, b = tensors(model(inputs)), tensors(model.decode(encoded))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_batch_of_one_and_any_subset_give_the_same_rows(
    model: PLEClusterAdaTT, inputs: PLEClusterInput, encoded: Encoded
) -> None:
    with torch.no_grad():
        whole = tensors(model(inputs))
        one = tensors(model(inputs.rows(slice(4, 5))))
        some = tensors(model.decode(encoded.rows(torch.tensor([7, 2]))))
    for k, v in whole.items():
        torch.testing.assert_close(one[k], v[4:5], rtol=1e-3, atol=2e-4)
        torch.testing.assert_close(some[k], v[[7, 2]], rtol=1e-3, atol=2e-4)


def test_two_models_of_one_config_start_equal_whatever_the_global_state() -> None:
    torch.manual_seed(1)
    a = build()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    b = build()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    c = build("small", "training.seed=5")
    assert not torch.equal(a.basket.encoder_weight, c.basket.encoder_weight)


def test_predictions_and_model_gradients_are_the_same_without_sae_and_evidential_heads() -> None:
    found = []
    for on in ("true", "false"):
        model = build("small", f"sae.enabled={on}", f"evidential.enabled={on}").train()
        torch.manual_seed(3)
        x = random_inputs(16)
        out = model(x)
        losses = model.losses(out, x.targets or {}, epoch=3)
        (losses.total + losses.sae_total).backward()
        names = [n for n, p in model.named_parameters() if p.requires_grad and not n.startswith(("sae.", "evidential."))]
        found.append((out.predictions, {n: model.get_parameter(n).grad for n in names}, losses))
    (p, g, losses), (q, h, plain) = found
    assert all(torch.equal(p[t], q[t]) for t in p)
    assert all(torch.equal(g[n], h[n]) for n in h)
    assert losses.sae.item() > 0
    assert losses.evidential.item() != 0
    assert plain.sae.item() == plain.evidential.item() == 0


def test_onlookers_send_no_gradient_into_the_model() -> None:
    model = build().train()
    x = random_inputs(8)
    losses = model.losses(model(x), x.targets or {}, epoch=3)
    (losses.sae_total + losses.evidential + losses.evidential_kl).backward()
    touched = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert touched == {"sae", "evidential"}


def test_an_attached_evidential_input_reaches_the_model() -> None:
    model = build("small", "evidential.detach_input=false").train()
    x = random_inputs(8)
    model.losses(model(x), x.targets or {}, epoch=3).evidential.backward()
    assert model.basket.encoder_weight.grad is not None
    assert [n for n, _, _ in model.clip_groups()] == ["main", "sae"]


def test_the_total_is_the_sum_of_its_parts() -> None:
    model = build().eval()
    x = random_inputs(16)
    losses = model.losses(model(x), x.targets or {}, epoch=4)
    parts = [*losses.weighted.values(), losses.entropy, *losses.aux.values(), losses.evidential, losses.evidential_kl]
    torch.testing.assert_close(losses.total, torch.stack(parts).sum())
    torch.testing.assert_close(losses.reported, losses.total + 0.01 * losses.sae)
    numbers = losses.numbers()
    assert numbers["total"] == pytest.approx(losses.reported.item())
    assert numbers["tasks"]["ctr"] == pytest.approx(losses.raw["ctr"].item())
    assert numbers["n"]["ctr"] == int((x.targets["ctr"] >= 0).sum())


def test_the_kl_term_ramps_up_over_the_annealing_epochs() -> None:
    model = build().eval()
    x = random_inputs(16)
    out = model(x)
    kl = [model.losses(out, x.targets or {}, epoch=e).evidential_kl.item() for e in (1, 5, 10, 30)]
    assert [v / kl[2] for v in kl] == pytest.approx([0.1, 0.5, 1.0, 1.0], rel=1e-4)


def test_evidential_loss_is_weighted_by_task_and_by_its_share() -> None:
    model = build().eval()
    x = random_inputs(16)
    out = model(x)
    one = model.losses(out, {"cvr": x.targets["cvr"]}, epoch=1).evidential.item()
    y = x.targets["cvr"]
    alpha = out.evidential["cvr"].alpha[y >= 0].double()
    s, own = alpha.sum(1), alpha.gather(1, y[y >= 0][:, None])[:, 0]
    assert one == pytest.approx(0.1 * 1.5 * (torch.digamma(s) - torch.digamma(own)).mean().item(), rel=1e-4)


def test_adatt_multiplies_the_whole_weighted_term() -> None:
    model = build("small", "adatt.warmup_epochs=1").eval()
    x = random_inputs(16)
    out = model(x)
    before = model.losses(out, x.targets or {}, epoch=1).weighted
    coefficients = torch.linspace(1, 2, len(model.tasks))
    model.adatt.coefficients.copy_(coefficients)
    assert model.losses(out, x.targets or {}, epoch=1).weighted["nba"].item() == before["nba"].item()
    after = model.losses(out, x.targets or {}, epoch=2).weighted
    for c, name in zip(coefficients.tolist(), model.tasks, strict=True):
        assert after[name].item() == pytest.approx(c * before[name].item(), rel=1e-5)


def test_regression_targets_come_in_original_units_and_predictions_go_back() -> None:
    context = dataclasses.replace(
        random_context(), label_scalers={"ltv": LabelScaler(4.0, 2.0), "balance_util": LabelScaler(0.5, 0.1)}
    )
    model = PLEClusterAdaTT(load_config("small"), context).eval()
    x = random_inputs(6, brands=30)
    out = model(x)
    y = model.to_label("ltv", out.predictions["ltv"]).detach()
    assert model.losses(out, {"ltv": y}, epoch=1).raw["ltv"].item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(model.to_units("ltv", out.predictions["ltv"]), torch.expm1(out.predictions["ltv"] * 2 + 4))
    torch.testing.assert_close(model.to_units("balance_util", torch.tensor([1.0])), torch.tensor([0.6]))
    with pytest.raises(UserError, match="binary"):
        model.to_units("ctr", y)
    with pytest.raises(UserError, match="did you mean 'ltv'"):
        model.to_units("ltvs", y)


def test_without_any_label_the_total_is_finite_and_the_tasks_add_nothing() -> None:
    model = build().train()
    x = random_inputs(4, targets=False)
    losses = model.losses(model(x), {}, epoch=1)
    assert all(v.item() == 0 for v in losses.weighted.values())
    losses.total.backward()
    assert model.weighting.task_log_vars.grad is None or (model.weighting.task_log_vars.grad == 0).all()


def test_a_target_of_an_unknown_task_is_refused_and_of_a_disabled_one_ignored() -> None:
    model = build()
    out = model(random_inputs(2))
    with pytest.raises(UserError, match="did you mean 'churn'"):
        model.losses(out, {"chrun": torch.zeros(2)}, epoch=1)
    assert model.losses(out, {"uplift": torch.zeros(2)}, epoch=1).raw["ctr"].item() == 0


@pytest.mark.parametrize("field", OPTIONAL_FIELDS)
def test_any_field_may_be_absent_for_the_batch_or_for_a_row(field: str, model: PLEClusterAdaTT) -> None:
    with torch.no_grad():
        whole = model(random_inputs(3, absent=(field,)))
        row = model(random_inputs(3, absent={field: [1]}))
    for out in (whole, row):
        assert all(torch.isfinite(p).all() for p in out.predictions.values())
    # the row's neighbours do not notice
    with torch.no_grad():
        full = model(random_inputs(3))
    torch.testing.assert_close(row.predictions["nba"][[0, 2]], full.predictions["nba"][[0, 2]], rtol=1e-3, atol=1e-4)


def test_with_every_optional_field_absent_experts_fall_back_and_say_so(model: PLEClusterAdaTT) -> None:
    with torch.no_grad():
        e = model.encode(random_inputs(2, absent=OPTIONAL_FIELDS))
    for name in ("lightgcn", "temporal"):
        assert not e.expert_present[name].any()
        assert (e.expert_outputs[name] == 0).all()
    assert e.expert_present["deepfm"].all()
    assert all(d.all() for d in e.hmm_default.values())


def test_a_training_step_with_absent_fields_has_finite_gradients() -> None:
    model = build().train()
    x = random_inputs(6, absent={f: [0, 3] for f in OPTIONAL_FIELDS if f != "customer_segment"})
    losses = model.losses(model(x), x.targets or {}, epoch=1)
    (losses.total + losses.sae_total).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_cold_start_and_anonymous_rows_are_mixed_and_others_are_not() -> None:
    aux = AuxiliaryProjection([4, 2])
    x = dataclasses.replace(random_inputs(4), customer_segment=torch.tensor([2, 1, 0, 1]))
    x = dataclasses.replace(x, presence={**(x.presence or {}), "coldstart_features": torch.tensor([True, True, True, False])})
    shared = torch.randn(4, 6)
    out = aux(shared, x)
    assert torch.equal(out[[0, 3]], shared[[0, 3]])  # warm start, and a cold start without its features
    for row, segment, field in ((1, "cold_start", x.coldstart_features), (2, "anonymous", x.anonymous_features)):
        gate = torch.sigmoid(aux.gates[segment](shared[row]))[[0, 0, 0, 0, 1, 1]]
        expected = (1 - gate) * shared[row] + gate * aux.projections[segment](field[row])
        torch.testing.assert_close(out[row], expected)


def test_parameter_groups_cover_everything_once_and_notice_what_is_forgotten() -> None:
    model = build()
    groups = model.parameter_groups()
    assert sorted(id(p) for g in groups.values() for p in g) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in groups["sae"]} == {id(p) for p in model.sae.parameters()}
    clipped = [id(p) for _, ps, _ in model.clip_groups() for p in ps]
    assert sorted(clipped) == sorted(id(p) for p in model.parameters())
    model.extra = torch.nn.Linear(2, 2)
    with pytest.raises(AssertionError, match="no block"):
        model.parameter_groups()


def test_frozen_gates_stop_moving_and_lose_their_entropy_term() -> None:
    model = build().train()
    x = random_inputs(8)
    optimizer = torch.optim.AdamW(model.parameter_groups()["main"], lr=0.01)
    for frozen in (False, True):
        if frozen:
            model.freeze_gates()
        before = model.cgc.linear.weight.detach().clone()
        s = model.weighting.task_log_vars.detach().clone()
        optimizer.zero_grad()
        losses = model.losses(model(x), x.targets or {}, epoch=2)
        losses.total.backward()
        optimizer.step()
        assert torch.equal(model.cgc.linear.weight, before) == frozen
        assert not torch.equal(model.weighting.task_log_vars, s)
        assert (losses.entropy.item() == 0) == frozen
    assert model.gates_frozen
    assert model.adatt_frozen


def test_a_checkpoint_restores_predictions_freezes_and_affinities() -> None:
    model = shake(build()).train()
    x = random_inputs(8)
    losses = model.losses(model(x), x.targets or {}, epoch=1)
    model.adatt.measure(losses.raw, model.last_layer_parameters())
    model.freeze_gates()
    other = build()
    other.load_state_dict(model.state_dict())
    assert other.gates_frozen
    assert other.adatt_frozen
    assert other.adatt_report() == model.adatt_report()
    a, b = model.eval()(x), other.eval()(x)
    assert all(torch.equal(a.predictions[t], b.predictions[t]) for t in a.predictions)
    other.load_state_dict(build().state_dict())
    assert not other.gates_frozen


def test_frozen_shared_experts_neither_train_nor_drop_out() -> None:
    model = build().train()
    model.freeze_shared()
    assert not any(m.training for m in model.experts.modules())
    assert not model.train().experts.training
    assert model.basket.training
    x = random_inputs(4)
    model.losses(model(x), x.targets or {}, epoch=1).total.backward()
    assert all(p.grad is None for p in model.experts.parameters())
    model.freeze_shared(False)
    assert all(p.requires_grad for p in model.experts.parameters())
    assert model.experts.training


def test_a_subset_of_tasks_and_experts_is_a_smaller_model() -> None:
    config = load_config("small", overrides=["shared_experts.causal=null", "task_experts.tasks.brand_prediction.enabled=false"])
    model = PLEClusterAdaTT(config, random_context())
    x = random_inputs(3)
    out = model(x)
    assert "causal" not in out.encoded.expert_outputs
    assert list(out.predictions) == list(model.tasks)
    model.losses(out, x.targets or {}, epoch=1).total.backward()
    with pytest.raises(UserError, match="no contrastive"):
        model.brand_logits(torch.zeros(1, 128))


def test_the_two_tasks_that_are_off_can_be_switched_on() -> None:
    model = build("small", "task_experts.tasks.uplift.enabled=true", "task_experts.tasks.category_uplift.enabled=true").train()
    x = random_inputs(5)
    out = model(x)
    assert out.predictions["category_uplift"].shape == (5, 12)
    assert out.evidential["category_uplift"].uncertainty.shape == (5, 12)
    losses = model.losses(out, x.targets or {}, epoch=1)
    assert losses.raw["uplift"].item() > 0
    assert losses.counts["category_uplift"].item() == int((~torch.isnan(x.targets["category_uplift"])).sum())
    losses.total.backward()


def test_brand_scores_rank_by_similarity(model: PLEClusterAdaTT) -> None:
    keys = torch.nn.functional.normalize(model.brands.keys.detach(), dim=1)
    scores = model.brand_logits(keys[:4])
    assert scores.shape == (4, 30)
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]
    assert scores[0, 0].item() == pytest.approx(1 / 0.07, rel=1e-4)


def test_a_model_needs_no_data_to_be_built() -> None:
    model = PLEClusterAdaTT(load_config("small"), ModelContext())
    x = random_inputs(2, brands=1)
    assert torch.isfinite(model.losses(model(x), x.targets or {}, epoch=1).total)


@pytest.mark.parametrize("ids", [[0, 20], [-1, 3]])
def test_a_cluster_that_does_not_exist_is_refused(ids: list[int], model: PLEClusterAdaTT) -> None:
    x = dataclasses.replace(random_inputs(2), cluster_ids=torch.tensor(ids))
    with pytest.raises(UserError, match="valid: 0 to 19"):
        model(x)


def test_posteriors_of_another_number_of_clusters_are_refused(model: PLEClusterAdaTT) -> None:
    x = dataclasses.replace(random_inputs(2), cluster_probs=torch.full((2, 5), 0.2))
    with pytest.raises(UserError, match=r"global\.n_clusters is 20"):
        model(x)


def test_a_few_steps_lower_the_loss() -> None:
    model = build().train()
    x = random_inputs(32)
    optimizer = torch.optim.AdamW([*model.parameter_groups()["main"]], lr=1e-2)
    totals = []
    for _ in range(10):
        optimizer.zero_grad()
        losses = model.losses(model(x), x.targets or {}, epoch=1)
        losses.total.backward()
        optimizer.step()
        model.project()
        totals.append(losses.total.item())
    assert totals[-1] < 0.9 * totals[0]


def test_mixed_precision_losses_are_float32_and_finite() -> None:
    model = build().train()
    x = random_inputs(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x)
        losses = model.losses(out, x.targets or {}, epoch=1)
    assert losses.total.dtype == torch.float32
    assert all(v.dtype == torch.float32 for v in losses.raw.values())
    assert all(p.dtype == torch.float32 for p in out.predictions.values())
    (losses.total + losses.sae_total).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_encoded_customers_can_be_mapped_and_detached(encoded: Encoded, model: PLEClusterAdaTT) -> None:
    half = encoded.rows(slice(0, 6))
    assert len(half) == 6
    assert half.expert_aux["causal"].losses == {}
    double = encoded.map(lambda t: t.double() if t.is_floating_point() else t)
    assert double.hmm_projected["journey"].dtype == torch.float64
    assert not encoded.detach().shared_concat.requires_grad
    assert encoded.to("cpu").cluster_weights.device.type == "cpu"
