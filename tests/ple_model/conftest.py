"""Models and batches that many model tests share; a module-scoped model must not be changed by a test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch

from ple_model.batch import PLEClusterInput
from ple_model.config import load_config
from ple_model.data.build import artifacts
from ple_model.data.derived import collaborative, encoder
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from tests.factories import random_context, random_inputs

WHOLE_FIT = ("test_own_rows",)
"""Modules whose bank is fitted as a user's is."""


def shake(model: PLEClusterAdaTT, seed: int = 0) -> PLEClusterAdaTT:
    """Move every parameter off its start, so that zero weights and unit gains hide nothing."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=g))
    return model


@pytest.fixture(scope="module", autouse=True)
def short_fits(request: pytest.FixtureRequest) -> Iterator[None]:
    """A build of a few dozen customers fits its sequence encoder and its merchants in a fifth of the steps, which are half of
    such a build. How well they tell is the matter of their own tests, whether they learn training rows by heart that of
    `WHOLE_FIT`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rsplit(".", 1)[-1] not in WHOLE_FIT:
            patch.setattr(artifacts, "fit_encoder", partial(encoder.fit_encoder, steps=encoder.STEPS // 5))
            patch.setattr(collaborative, "train", partial(collaborative.train, steps=collaborative.STEPS // 5))
        yield


@pytest.fixture(scope="module")
def inputs() -> PLEClusterInput:
    return random_inputs(12, seed=1)


@pytest.fixture(scope="module")
def model() -> PLEClusterAdaTT:
    """The small preset in eval mode, off its start; read only."""
    return shake(PLEClusterAdaTT(load_config("small"), random_context())).eval()


@pytest.fixture(scope="module")
def encoded(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> Encoded:
    with torch.no_grad():
        return model.encode(inputs)
