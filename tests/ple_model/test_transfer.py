from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ple_model.config import TransferEdge, load_config
from ple_model.errors import UserError
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from ple_model.tasks import TASKS
from ple_model.transfer import Edge, LogitTransfer, active_edges, levels, topological_order
from tests.factories import random_context, random_inputs

NAMES = list("abcdef")


@given(st.permutations(NAMES), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10))
def test_every_edge_points_forward_in_the_order(names: list[str], pairs: set[tuple[int, int]]) -> None:
    edges = [Edge(NAMES[a], NAMES[b], "feature") for a, b in pairs if a < b]
    order = topological_order(names, edges)
    assert sorted(order) == NAMES
    assert all(order.index(e.source) < order.index(e.target) for e in edges)
    depth = {n: i for i, level in enumerate(levels(order, edges)) for n in level}
    assert all(depth[e.source] < depth[e.target] for e in edges)
    assert all(d == 0 or any(e.target == n and depth[e.source] == d - 1 for e in edges) for n, d in depth.items())


def test_the_default_chain_runs_in_three_levels() -> None:
    model = PLEClusterAdaTT(load_config("small"))
    assert set(model.levels[1]) == {"cvr", "retention", "spending_category"}
    assert set(model.levels[2]) == {"ltv", "brand_prediction"}
    assert sum(map(len, model.levels)) == len(model.task_names)


@pytest.mark.parametrize("back", [("ltv", "ctr"), ("cvr", "ctr")])
def test_a_cycle_is_an_error_that_names_it(back: tuple[str, str]) -> None:
    edges = [*load_config("small").task_relationships.transfers, TransferEdge(*back, "feature")]
    items = [{"source": e.source, "target": e.target, "type": e.type} for e in edges]
    with pytest.raises(UserError) as caught:
        PLEClusterAdaTT(load_config("small", overrides=[f"task_relationships.transfers={items}"]))
    cycle = {"ltv": "ctr -> cvr -> ltv -> ctr", "cvr": "ctr -> cvr -> ctr"}[back[0]].split(" -> ")
    said = str(caught.value).split("cycle, ")[1].split(";")[0].split(" -> ")
    assert said[0] == said[-1]
    assert set(said) == set(cycle)
    assert all(any(e.source == a and e.target == b for e in edges) for a, b in pairwise(said))


def test_a_task_that_hands_on_to_itself_is_a_cycle() -> None:
    with pytest.raises(UserError, match="a -> a"):
        topological_order(["a", "b"], [Edge("a", "a", "feature")])


def test_an_edge_of_a_disabled_task_is_skipped_with_a_warning() -> None:
    model = PLEClusterAdaTT(load_config("small", overrides=["task_experts.tasks.ctr.enabled=false"]))
    assert [e.key for e in model.edges if "ctr:" in e.key] == []
    assert model.skipped_edges == ["logit transfer ctr -> cvr is skipped: 'ctr' is disabled"]
    assert "cvr" in model.levels[0]


def test_both_ends_disabled_are_both_named() -> None:
    _, warnings = active_edges([TransferEdge("uplift", "category_uplift", "feature")], {})
    assert warnings == ["logit transfer uplift -> category_uplift is skipped: 'uplift' and 'category_uplift' are disabled"]


def transfer_of(kind: str, source: str = "ctr", detach: bool = True) -> tuple[LogitTransfer, Edge]:
    torch.manual_seed(0)
    edge = Edge(source, "cvr", kind)
    return LogitTransfer([edge], TASKS, 4, 0.5, detach), edge


def test_an_edge_adds_half_the_silu_of_a_small_layer_norm() -> None:
    transfer, edge = transfer_of("sequential")
    p = torch.tensor([0.2, 0.9])
    linear = transfer.linears["ctr__cvr"]
    y = p[:, None] * linear.weight[:, 0] + linear.bias
    y = 0.1 * (y - y.mean(1, keepdim=True)) / torch.sqrt(y.var(1, keepdim=True, unbiased=False) + 1e-5)
    torch.testing.assert_close(transfer(edge, p), 0.5 * y / (1 + torch.exp(-y)))


def test_inverse_hands_on_one_minus_p() -> None:
    plain, edge = transfer_of("sequential")
    inverse, turned = transfer_of("inverse")
    p = torch.tensor([0.2, 0.9])
    assert torch.equal(inverse(turned, p), plain(edge, 1 - p))


def test_a_feature_edge_reads_the_whole_vector() -> None:
    transfer, edge = transfer_of("feature", source="nba")
    p = torch.softmax(torch.randn(3, 12), 1)
    assert transfer(edge, p).shape == (3, 4)
    assert transfer.linears["nba__cvr"].in_features == 12


@pytest.mark.parametrize("detach", [True, False])
def test_the_source_is_detached_unless_the_config_says_otherwise(detach: bool) -> None:
    transfer, edge = transfer_of("sequential", detach=detach)
    p = torch.tensor([0.3], requires_grad=True)
    transfer(edge, p).sum().backward()
    assert (p.grad is None) == detach


def test_several_sources_add_up() -> None:
    edges = [{"source": s, "target": "ltv", "type": "feature"} for s in ("ctr", "cvr", "churn")]
    config = load_config("small", overrides=[f"task_relationships.transfers={edges}"])
    model = PLEClusterAdaTT(config, random_context()).eval()
    out = model(random_inputs(3))
    total = out.task_expert["ltv"] + sum(out.transfer[f"{s}:ltv"] for s in ("ctr", "cvr", "churn"))
    torch.testing.assert_close(out.tower_inputs["ltv"], total)


def test_cutting_an_edge_is_a_strength_of_zero(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    cut = model.decode(encoded, Intervention(edge_scale={"ctr:cvr": 0.0}))
    plain = model.decode(encoded)
    torch.testing.assert_close(cut.tower_inputs["cvr"], plain.task_expert["cvr"])
    assert not torch.equal(cut.predictions["cvr"], plain.predictions["cvr"])
    assert torch.equal(cut.predictions["ctr"], plain.predictions["ctr"])
    config = load_config("small", overrides=["task_relationships.transfer_strength=0"])
    other = PLEClusterAdaTT(config, random_context()).eval()
    other.load_state_dict(model.state_dict())
    every = Intervention(edge_scale={e.key: 0.0 for e in model.edges})
    for name, p in other.decode(encoded).predictions.items():
        assert torch.equal(model.decode(encoded, every).predictions[name], p)
