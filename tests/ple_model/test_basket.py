import pytest
import torch

from ple_model.basket import ClusterTaskExpertBasket, GroupTaskExpertBasket, cluster_weights
from ple_model.config import load_config
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from tests.factories import random_context, random_inputs
from tests.fakes import reference_config
from tests.ple_model.conftest import shake
from tests.ple_model.plain import plain_decode


def check_against_plain(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    out, plain = model.decode(encoded), plain_decode(model, encoded)
    for i, name in enumerate(model.tasks):
        torch.testing.assert_close(out.gate_weights[:, i], plain["gates"][name], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(out.task_expert[name], plain["experts"][name], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(out.tower_inputs[name], plain["tower_inputs"][name], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(out.logits[name], plain["logits"][name], rtol=1e-4, atol=2e-4)
        torch.testing.assert_close(out.predictions[name], plain["predictions"][name], rtol=1e-4, atol=2e-4)


def test_the_fast_heads_equal_the_plain_ones(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    check_against_plain(model, encoded)


def test_they_agree_where_a_group_reads_several_hmm_modes(encoded: Encoded) -> None:
    modes = {"journey": ["ctr", "churn", "nba"], "lifecycle": ["cvr", "retention", "timing"]}
    overrides = [f"hmm_triple_mode.modes.{m}.target_tasks={tasks}" for m, tasks in modes.items()]
    overrides += ["hmm_triple_mode.modes.behavior.target_tasks=[]", "cgc.temperature=1.7", "cgc.dim_normalize=false"]
    model = shake(PLEClusterAdaTT(load_config("small", overrides=overrides), random_context())).eval()
    check_against_plain(model, encoded)


def test_the_legacy_basket_equals_its_loop_over_clusters(encoded: Encoded) -> None:
    config = load_config("small", overrides=["task_experts.use_group_encoder=false"])
    model = shake(PLEClusterAdaTT(config, random_context())).eval()
    assert isinstance(model.basket, ClusterTaskExpertBasket)
    check_against_plain(model, encoded)


def test_gradients_of_the_fast_form_equal_the_plain_ones(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    def gradients(logits: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        loss = sum(v.square().mean() for v in logits.values())
        return list(torch.autograd.grad(loss, [model.basket.encoder_weight, model.basket.head.weight, model.cgc.linear.weight]))

    fast = gradients(dict(model.decode(encoded).logits))
    for a, b in zip(fast, gradients(plain_decode(model, encoded)["logits"]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_posterior_of_one_is_the_hard_lookup() -> None:
    ids = torch.tensor([3, 0, 19])
    hard = cluster_weights(ids, None, torch.zeros(3, dtype=torch.bool), 20)
    soft = cluster_weights(ids, torch.eye(20)[ids], torch.ones(3, dtype=torch.bool), 20)
    assert torch.equal(hard, soft)
    assert hard.argmax(1).tolist() == [3, 0, 19]


def test_rows_without_a_posterior_are_looked_up_by_their_id() -> None:
    probs = torch.full((2, 4), 0.25)
    w = cluster_weights(torch.tensor([1, 2]), probs, torch.tensor([True, False]), 4)
    assert w.tolist() == [[0.25] * 4, [0.0, 0.0, 1.0, 0.0]]


def test_soft_routing_mixes_cluster_embeddings(model: PLEClusterAdaTT) -> None:
    x = random_inputs(4, seed=3)
    with torch.no_grad():
        e = model.encode(x)
    expected = sum(x.cluster_probs[:, c : c + 1] * model.cluster_embedding.weight[c] for c in range(20))
    torch.testing.assert_close(e.cluster_embedding, expected)


def test_parameters_are_397k_grouped_and_3m_legacy() -> None:
    grouped = PLEClusterAdaTT(reference_config())
    legacy = PLEClusterAdaTT(reference_config("task_experts.use_group_encoder=false"))
    count = {m: sum(p.numel() for p in x.basket.parameters()) for m, x in (("grouped", grouped), ("legacy", legacy))}
    assert count["grouped"] + 20 * 32 == pytest.approx(397_000, rel=0.005)
    assert count["legacy"] == pytest.approx(3.0e6, rel=0.05)


def test_disabled_groups_leave_no_encoder() -> None:
    off = [f"task_experts.tasks.{t}.enabled=false" for t in ("balance_util", "channel", "timing")]
    basket = PLEClusterAdaTT(load_config("small", overrides=off)).basket
    assert isinstance(basket, GroupTaskExpertBasket)
    assert basket.groups == ["Engagement", "Lifecycle", "Consumption"]
