"""Attributions add up, agree with Captum and are right where the truth is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from analysis.engine.attribution import Tensors, integrate, integrate_until, quadrature
from analysis.engine.expert_attribution import ExpertAttribution
from analysis.engine.explainer import Explainer, private, single
from analysis.engine.reference import Path as InputPath
from analysis.engine.score import Score
from analysis.explain.lookup import find
from ple_model.run import Run


@pytest.fixture(scope="module")
def explainer(tiny_run: Run) -> Explainer:
    return Explainer.cached(tiny_run)


def path_of(explainer: Explainer, row: int) -> InputPath:
    return InputPath.of(single(explainer.sample.take([row]).inputs), explainer.reference)


def score_of(explainer: Explainer, task: str, target: int | None = None) -> Score:
    return Score(explainer.model, task, target, explainer.calibration.get(task))


def test_a_linear_function_is_attributed_exactly_with_one_node() -> None:
    w, x, b = torch.tensor([2.0, -3.0, 0.5]), torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    found = integrate(lambda t: t[0] @ w + 7, (x,), (b,), 1)
    torch.testing.assert_close(found.values[0], torch.tensor([[2.0, -3.0, 1.5]]))
    assert found.gap < 1e-6
    assert found.prediction == pytest.approx(5.0)


def test_a_product_is_shared_between_its_factors() -> None:
    def product(t: Tensors) -> Tensor:
        return t[0][:, 0] * t[1][:, 0]

    ends, starts = (torch.tensor([[3.0]]), torch.tensor([[2.0]])), (torch.zeros(1, 1), torch.zeros(1, 1))
    found = integrate(product, ends, starts, 2)  # the integrand is linear along the path: two nodes are exact
    assert [float(v) for v in found.values] == pytest.approx([3.0, 3.0])


def test_an_input_that_is_not_read_gets_nothing() -> None:
    found = integrate(lambda t: t[0].sum(1), (torch.ones(1, 2), torch.ones(1, 3)), (torch.zeros(1, 2), torch.zeros(1, 3)), 4)
    assert float(found.values[1].abs().sum()) == 0


def test_quadrature_weights_sum_to_one_inside_the_path() -> None:
    t, w = quadrature(12)
    assert float(w.sum()) == pytest.approx(1)
    assert float(t.min()) > 0
    assert float(t.max()) < 1


def test_nodes_are_added_until_the_parts_add_up() -> None:
    def wave(t: Tensors) -> Tensor:
        return torch.sin(40 * t[0]).sum(1)

    found = integrate_until(wave, (torch.ones(1, 1),), (torch.zeros(1, 1),), gap=1e-6, ladder=(4, 64))
    assert found.nodes == 64
    assert found.gap < 1e-6


@pytest.mark.parametrize("task", ["nba", "churn", "ltv"])
def test_own_quadrature_and_captum_give_the_same_attributions(explainer: Explainer, task: str) -> None:
    pytest.importorskip("captum", reason="Captum is part of the app extra")
    path, score = path_of(explainer, 2), score_of(explainer, task, 1 if task == "nba" else None)
    encoded = explainer.model.encode(path.customer)
    own = explainer.of_experts(encoded, score, nodes=12)[1]
    other = explainer.of_experts(encoded, score, nodes=own.nodes, method="captum")[1]
    for a, b in zip(own.values, other.values, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * max(1.0, abs(own.prediction)), rtol=1e-3)


def test_captum_agrees_over_the_whole_input(explainer: Explainer) -> None:
    pytest.importorskip("captum", reason="Captum is part of the app extra")
    path, score = path_of(explainer, 2), score_of(explainer, "ltv")
    own = explainer.of_inputs(path, score, nodes=8)
    other = explainer.of_inputs(path, score, nodes=8, method="captum")
    for a, b in zip(own.values, other.values, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("task", ["ctr", "cvr", "ltv", "spending_category", "brand_prediction"])
def test_expert_attributions_are_complete_also_across_transfer_edges(explainer: Explainer, task: str) -> None:
    target = 0 if explainer.model.tasks[task].kind in ("multiclass", "contrastive") else None
    encoded = explainer.model.encode(path_of(explainer, 5).customer)
    assert explainer.of_experts(encoded, score_of(explainer, task, target))[1].gap < 1e-3


def test_the_legacy_basket_is_explained_by_decode_itself() -> None:
    from ple_model.model import PLEClusterAdaTT
    from tests.factories import random_context, random_inputs
    from tests.fakes import tiny_config

    model = private(PLEClusterAdaTT(tiny_config({"task_experts": {"use_group_encoder": False}}), random_context()))
    some = model.encode(random_inputs(6, seed=3, targets=False)).detach()
    names, found = ExpertAttribution(model, some).of(some.rows(slice(0, 1)), Score(model, "churn", None, None))
    assert found.gap < 1e-3
    parts = dict(zip(names, found.values, strict=True))
    assert parts["shared"].abs().sum() > 0
    assert parts["cluster_weights"].abs().sum() > 0  # the legacy basket mixes by the weights, not by their embedding


def test_group_attributions_add_up_to_the_difference(explainer: Explainer) -> None:
    path = path_of(explainer, 7)
    found = explainer.of_inputs(path, score_of(explainer, "ltv"))
    groups = path.group_values(found.values)
    assert set(groups) == set(path.groups)
    assert sum(groups.values()) == pytest.approx(found.difference, rel=5e-3)


def test_the_ends_of_the_path_are_the_customer_and_the_reference(explainer: Explainer) -> None:
    import numpy as np

    path, score = path_of(explainer, 7), score_of(explainer, "ltv")
    with torch.no_grad():
        whole = float(score(explainer.model(single(explainer.sample.take([7]).inputs)))[0])
    all_groups = np.ones((1, len(path.groups)), dtype=bool)
    assert explainer.value_of_groups(path, score, all_groups)[0] == pytest.approx(whole, rel=1e-4)
    found = explainer.of_inputs(path, score, nodes=2)
    assert explainer.value_of_groups(path, score, ~all_groups)[0] == pytest.approx(found.baseline, rel=1e-5)


def test_what_the_customer_lacks_is_held_fixed(explainer: Explainer, tiny_run: Run) -> None:
    from tests.factories import without

    inputs = without(single(explainer.sample.take([3]).inputs), {"txn_seq": [0], "features:overseas": [0]})
    path = InputPath.of(inputs, explainer.reference)
    assert {"txn_seq", "features:overseas"} <= set(path.absent)
    assert "txn_seq" not in path.groups
    assert "overseas" not in path.groups
    found = explainer.of_inputs(path, score_of(explainer, "ltv"), nodes=2)
    assert float(found.values[path.fields.index("features")][0, 594:600].abs().sum()) == 0


def test_attribution_leaves_the_model_without_gradients_or_hooks(explainer: Explainer) -> None:
    explainer.of_inputs(path_of(explainer, 1), score_of(explainer, "churn"), nodes=2)
    assert all(p.grad is None for p in explainer.model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in explainer.model.modules())


def test_a_row_is_found_by_customer_and_latest_cutoff(tiny_run: Run) -> None:
    table = tiny_run.sample().table(["customer_id", "cutoff"])
    ids, dates = table.column("customer_id").to_pylist(), table.column("cutoff").to_pylist()
    name = max(set(ids), key=ids.count)
    data, row = find(tiny_run, name, None, None)
    assert data.take([row]).cutoff == [max(d for i, d in zip(ids, dates, strict=True) if i == name)]


def test_idle_days_are_attributed_to_their_sequence(explainer: Explainer) -> None:
    from dataclasses import replace

    inputs = single(explainer.sample.take([4]).inputs)
    assert inputs.txn_seq is not None
    quiet = inputs.txn_seq.clone()
    quiet[:, 1::2] = 0  # every other day idle: the time since the last event jumps where a day becomes exactly zero
    path = InputPath.of(replace(inputs, txn_seq=quiet), explainer.reference)
    found = explainer.of_inputs(path, score_of(explainer, "ltv"), nodes=64)
    i = path.fields.index("txn_seq")
    assert bool((path.limits[i] != path.ends[i]).any())
    assert found.gap < 0.03
    with torch.no_grad():
        assert found.prediction == pytest.approx(float(score_of(explainer, "ltv")(explainer.model(path.customer))[0]), rel=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_attributions_add_up_where_a_task_takes_a_share(share: float) -> None:
    """And where it takes nothing, nothing is the experts': all is the direct path's."""
    from ple_model.model import PLEClusterAdaTT
    from tests.factories import random_context, random_inputs
    from tests.fakes import tiny_config

    model = private(PLEClusterAdaTT(tiny_config({"direct_path": {"blend": "validation"}}), random_context()))
    assert model.direct is not None
    model.direct.set_blends({"churn": share})
    some = model.encode(random_inputs(6, seed=3, targets=False)).detach()
    score = Score(model, "churn", None, None)
    names, found = ExpertAttribution(model, some).of(some.rows(slice(0, 1)), score)
    assert found.gap < 1e-3
    parts = {name: float(v.abs().sum()) for name, v in zip(names, found.values, strict=True)}
    assert parts["direct_path"] > 0
    assert (parts["shared"] > 0) == (share > 0)
