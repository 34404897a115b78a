"""What a model says of several batches, recorded as one."""

from __future__ import annotations

import numpy as np
import torch

from analysis.engine.encoded import joined, recorded_alone
from analysis.stats.base import finite_rows
from ple_model.model import PLEClusterAdaTT
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config


def test_outputs_that_are_joined_are_those_of_each_batch() -> None:
    model = PLEClusterAdaTT(tiny_config(), random_context(brands=9)).eval()
    inputs = random_inputs(11, seed=1, targets=False)
    ends = (slice(0, 4), slice(4, 8), slice(8, 11))
    with torch.no_grad():
        parts = [recorded_alone(model(inputs.rows(s))) for s in ends]
    found = joined(parts)
    assert found.shared_concat is found.encoded.shared_concat, "what is there twice is joined once"
    assert found.predictions.keys() == parts[0].predictions.keys()
    for rows, part in zip(ends, parts, strict=True):
        for task, value in part.predictions.items():
            assert torch.equal(found.predictions[task][rows], value)
        for task, head in part.evidential.items():
            assert found.evidential[task].kind == head.kind
            assert torch.equal(found.evidential[task].uncertainty[rows], head.uncertainty)
        assert torch.equal(found.gate_weights[rows], part.gate_weights)
        assert torch.equal(found.encoded.cluster_weights[rows], part.encoded.cluster_weights)
    assert joined(parts[:1]) is parts[0]


def test_rows_that_are_numbers_though_their_sum_is_none() -> None:
    x = np.ones((4, 3), dtype=np.float32)
    assert finite_rows(x).tolist() == [True] * 4
    x[1:3] = 3e38
    assert finite_rows(x).tolist() == [True] * 4
    x[2, 1], x[3, 0] = np.nan, -np.inf
    assert finite_rows(x).tolist() == [True, True, False, False]
