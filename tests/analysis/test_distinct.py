"""Experts that run once for rows that are the same to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analysis.engine.distinct import encode_distinct
from ple_model.batch import PLEClusterInput
from ple_model.model import PLEClusterAdaTT
from ple_model.presence import is_part, plain_name
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config


@pytest.fixture(scope="module")
def model() -> PLEClusterAdaTT:
    return PLEClusterAdaTT(tiny_config({"direct_path": {"brand_query": True}}), random_context(brands=9)).eval()


def again(inputs: PLEClusterInput, times: int) -> PLEClusterInput:
    return inputs.rows(torch.arange(len(inputs)).repeat(times))


def ran(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> dict[str, int]:
    """Expert -> the rows that it ran for."""
    counted: dict[str, int] = {}
    hooks = [
        expert.register_forward_pre_hook(lambda m, given, name=name: counted.update({name: len(given[0])}))
        for name, expert in model.experts.items()
    ]
    with torch.no_grad():
        encode_distinct(model, inputs)
    for hook in hooks:
        hook.remove()
    return counted


def test_what_is_run_once_is_what_each_row_says_by_itself(model: PLEClusterAdaTT) -> None:
    g = torch.Generator().manual_seed(0)
    inputs = again(random_inputs(3, seed=1, targets=False, absent={"txn_seq": [0], "collaborative_features": [1]}), 5)
    features = torch.where(torch.rand(15, 1, generator=g) < 0.5, inputs.features, torch.randn(15, inputs.width, generator=g))
    mixed = replace(inputs, features=features)
    with torch.no_grad():
        ours, plain = encode_distinct(model, mixed), model.encode(mixed)
    for name in model.expert_names:
        torch.testing.assert_close(ours.expert_outputs[name], plain.expert_outputs[name])
        assert torch.equal(ours.expert_present[name], plain.expert_present[name])
    torch.testing.assert_close(ours.shared_concat, plain.shared_concat)
    torch.testing.assert_close(ours.cluster_embedding, plain.cluster_embedding)
    torch.testing.assert_close(ours.direct, plain.direct)


def test_rows_that_are_alike_run_once(model: PLEClusterAdaTT) -> None:
    inputs = random_inputs(3, seed=2, targets=False)
    assert set(ran(model, again(inputs, 4)).values()) == {3}
    assert ran(model, again(inputs, 4)).keys() == set(model.expert_names)


def test_a_row_in_which_one_thing_differs_that_an_expert_reads_runs_by_itself(model: PLEClusterAdaTT) -> None:
    inputs = again(random_inputs(1, seed=3, targets=False), 4)
    for name in model.expert_names:
        for key in model.experts[name].reads:  # type: ignore[union-attr]
            if is_part(key):
                features = inputs.features.clone()
                features[2, inputs.parts[plain_name(key)].start] += 1
                changed = replace(inputs, features=features)
            else:
                value = getattr(inputs, key).clone()
                value[2].view(-1)[-1] += 1
                changed = replace(inputs, **{key: value})
            assert ran(model, changed)[name] == 2, key
            gone = {**(inputs.presence or {}), key: torch.tensor([True, True, False, True])}
            assert ran(model, replace(inputs, presence=gone))[name] == 2, key


def test_a_mask_is_a_part_of_its_diagrams(model: PLEClusterAdaTT) -> None:
    inputs = again(random_inputs(1, seed=4, targets=False), 3)
    assert inputs.tda_short_mask is not None
    mask = inputs.tda_short_mask.clone()
    mask[1] = ~mask[1]
    assert ran(model, replace(inputs, tda_short_mask=mask))["perslay"] == 2
