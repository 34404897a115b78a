"""`decode` for one task: what it answers is what the whole decode answers, with nothing of tasks it does not hear."""

from __future__ import annotations

import torch

from ple_model.config import load_config
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from tests.factories import random_context
from tests.ple_model.conftest import shake


def test_one_task_is_answered_as_among_all(model: PLEClusterAdaTT, encoded: Encoded) -> None:
    with torch.no_grad():
        whole = model.decode(encoded)
        for task in model.tasks:
            alone = model.decode(encoded, sae=False, evidential=False, task=task)
            torch.testing.assert_close(alone.logits[task], whole.logits[task], rtol=0, atol=1e-6)
            torch.testing.assert_close(alone.predictions[task], whole.predictions[task], rtol=0, atol=1e-6)
            heard = {task}
            while more := {e.source for e in model.edges if e.target in heard} - heard:
                heard |= more
            assert set(alone.logits) == heard
            assert {e.key for e in model.edges if e.target in heard} == set(alone.transfer)


def test_some_task_hears_another_by_way_of_a_third(model: PLEClusterAdaTT) -> None:
    direct = {t: {t} | {e.source for e in model.edges if e.target == t} for t in model.tasks}
    assert any(model.sources[t] > direct[t] for t in model.tasks) or max(len(s) for s in model.sources.values()) == 2


def test_the_old_basket_and_the_evidence_are_of_the_tasks_that_were_asked_for(encoded: Encoded) -> None:
    model = shake(PLEClusterAdaTT(load_config("small", overrides=["task_experts.use_group_encoder=false"]), random_context()))
    with torch.no_grad():
        whole = model.eval().decode(encoded)
        for task in model.tasks:
            alone = model.decode(encoded, task=task)
            assert set(alone.task_expert) == set(alone.logits) == set(model.sources[task])
            assert set(alone.evidential) == set(model.sources[task]) & set(whole.evidential)
            torch.testing.assert_close(alone.logits[task], whole.logits[task], rtol=0, atol=1e-6)
            for name, said in alone.evidential.items():
                torch.testing.assert_close(said.uncertainty, whole.evidential[name].uncertainty)
