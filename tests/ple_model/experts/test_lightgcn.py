"""The LightGCN head reads direction and length of the graph embedding."""

from __future__ import annotations

import dataclasses

import torch

from ple_model.context import ModelContext
from ple_model.experts.lightgcn import LightGCN, LightGCNParams
from tests.factories import random_inputs


def test_length_of_the_embedding_matters_and_is_reported() -> None:
    expert, inputs = LightGCN(LightGCNParams(), ModelContext(), 0.0).eval(), random_inputs(3)
    assert inputs.collaborative_features is not None
    longer = dataclasses.replace(inputs, collaborative_features=5 * inputs.collaborative_features)
    with torch.no_grad():
        (a, _, aux), (b, _, longer_aux) = expert(inputs), expert(longer)
    assert (a - b).abs().mean() > 1e-2
    torch.testing.assert_close(longer_aux.internals["embedding_norm"], 5 * aux.internals["embedding_norm"])
