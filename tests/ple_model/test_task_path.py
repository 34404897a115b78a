"""The way of one task by itself answers what `decode` answers, and hands the same gradients back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.config import load_config
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from ple_model.task_path import TaskPath
from tests.factories import random_context
from tests.ple_model.conftest import shake

WITH_ALL = (
    "direct_path.enabled=true",
    "direct_path.blend=validation",
    "direct_path.brand_query=true",
    "cgc.temperature=0.7",
    "task_relationships.detach_source=false",
)


@pytest.fixture(scope="module", params=["plain", "all"])
def asked(request: pytest.FixtureRequest) -> PLEClusterAdaTT:
    over = WITH_ALL if request.param == "all" else ("direct_path.enabled=false", "task_relationships.detach_source=false")
    model = shake(PLEClusterAdaTT(load_config("small", overrides=over), random_context())).eval()
    model.set_blends({t: 0.1 + 0.05 * i for i, t in enumerate(model.tasks)})
    return model


def parts(encoded: Encoded) -> dict[str, Tensor]:
    found = {"shared": encoded.shared_concat, "clusters": encoded.cluster_embedding, **encoded.hmm_projected}
    found |= {} if encoded.direct is None else {"direct": encoded.direct}
    return {k: v.detach().clone().requires_grad_(True) for k, v in found.items()}


def by_decode(model: PLEClusterAdaTT, encoded: Encoded, x: dict[str, Tensor], task: str) -> tuple[Tensor, Tensor]:
    modes = {m: x[m] for m in encoded.hmm_projected}
    points = replace(
        encoded, shared_concat=x["shared"], cluster_embedding=x["clusters"], hmm_projected=modes, direct=x.get("direct")
    )
    out = model.decode(points, sae=False, evidential=False, task=task)
    return out.logits[task], out.predictions[task]


def test_answers_and_gradients_are_those_of_decode(asked: PLEClusterAdaTT, inputs: PLEClusterInput) -> None:
    with torch.no_grad():
        encoded = asked.encode(inputs)
    assert max(len(s) for s in asked.sources.values()) > 1
    for task in asked.tasks:
        mine, theirs = parts(encoded), parts(encoded)
        raw, said = TaskPath(asked, task)(mine["shared"], mine, mine["clusters"], mine.get("direct"))
        plain_raw, plain_said = by_decode(asked, encoded, theirs, task)
        torch.testing.assert_close(raw, plain_raw, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(said, plain_said, rtol=1e-5, atol=1e-6)
        weights = torch.linspace(-1, 1, raw.numel()).view_as(raw)
        (raw * weights).sum().backward()
        (plain_raw * weights).sum().backward()
        for name, value in mine.items():
            want = theirs[name].grad
            if value.grad is None:
                assert want is None or not want.any(), f"{task}: no gradient for {name}"
            else:
                assert want is not None
                torch.testing.assert_close(value.grad, want, rtol=1e-4, atol=1e-6)


def test_weights_follow_the_model_and_get_no_gradient(asked: PLEClusterAdaTT, inputs: PLEClusterInput) -> None:
    own = PLEClusterAdaTT(asked.config, asked.context).eval()
    own.load_state_dict(asked.state_dict())
    path = TaskPath(own, "churn")
    x = parts(own.encode(inputs).detach())
    before = path(x["shared"], x, x["clusters"], x.get("direct"))[0]
    shake(own, seed=5)
    after = path(x["shared"], x, x["clusters"], x.get("direct"))[0]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, by_decode(own, own.encode(inputs).detach(), x, "churn")[0], rtol=1e-5, atol=1e-6)
    layers = (own.basket, own.cgc, own.towers)
    path(x["shared"], x, x["clusters"], x.get("direct"))[0].sum().backward()
    assert x["shared"].grad is not None
    assert all(p.grad is None for m in layers for p in m.parameters())


@pytest.mark.parametrize("how", ["training", "legacy"])
def test_what_it_cannot_answer_as_decode_does_is_refused(how: str) -> None:
    over = ["task_experts.use_group_encoder=false"] if how == "legacy" else []
    model = PLEClusterAdaTT(load_config("small", overrides=over), random_context()).train(how == "training")
    with pytest.raises(ValueError, match="group encoders, in eval mode"):
        TaskPath(model, "churn")
