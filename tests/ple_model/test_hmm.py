from dataclasses import replace

import torch
from torch.nn import functional as F

from ple_model.hmm import HMMProjectors, apply_override
from ple_model.tasks import HMM_MODES
from tests.factories import random_inputs
from tests.fakes import reference_config


def projectors() -> HMMProjectors:
    torch.manual_seed(0)
    made = HMMProjectors(16, 32)
    with torch.no_grad():
        for i, mode in enumerate(HMM_MODES):
            made.hmm_default_embeddings[mode].fill_(float(i + 1))
    return made


def test_projection_is_silu_of_layer_norm_of_linear() -> None:
    made, x = projectors(), random_inputs(5)
    out, default = made(x)
    linear = made.hmm_projectors["lifecycle"][0]
    expected = F.silu(F.layer_norm(x.hmm_lifecycle @ linear.weight.T + linear.bias, (32,)))
    torch.testing.assert_close(out["lifecycle"], expected)
    assert out["lifecycle"].shape == (5, 32)
    assert not any(d.any() for d in default.values())


def test_defaults_start_at_zero() -> None:
    assert all((p == 0).all() for p in HMMProjectors(16, 32).hmm_default_embeddings.values())


def test_a_mode_absent_for_the_batch_or_for_a_row_gets_its_default() -> None:
    made = projectors()
    out, default = made(random_inputs(4, absent=("hmm_journey",)))
    assert (out["journey"] == 1.0).all()
    assert default["journey"].all()
    out, default = made(random_inputs(4, absent={"hmm_behavior": [1, 3]}))
    assert (out["behavior"][[1, 3]] == 3.0).all()
    assert default["behavior"].tolist() == [False, True, False, True]
    assert not (out["behavior"][[0, 2]] == 3.0).all()


def test_an_all_zero_row_is_absent_only_where_presence_is_not_given() -> None:
    made, x = projectors(), random_inputs(3)
    zero = replace(x, hmm_journey=torch.zeros(3, 16))
    assert not made(zero)[1]["journey"].any()  # presence says that it is there
    assert made(replace(zero, presence=None))[1]["journey"].all()


def test_whatever_an_absent_row_holds_does_not_leak() -> None:
    made, x = projectors(), random_inputs(3, absent={"hmm_journey": [0]})
    value = x.hmm_journey.clone()
    value[0] = float("nan")
    out, _ = made(replace(x, hmm_journey=value))
    assert torch.isfinite(out["journey"]).all()
    out["journey"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in made.hmm_projectors["journey"].parameters())


def test_the_default_embedding_learns_from_absent_rows_only() -> None:
    made = projectors()
    made(random_inputs(4))[0]["journey"].sum().backward()
    assert (made.hmm_default_embeddings["journey"].grad == 0).all()
    made(random_inputs(4, absent={"hmm_journey": [2]}))[0]["journey"].sum().backward()
    assert (made.hmm_default_embeddings["journey"].grad == 1).all()


def test_tasks_read_the_modes_of_the_reference() -> None:
    modes = {n: t.hmm_mode for n, t in reference_config().tasks.items()}
    assert {n for n, m in modes.items() if m == "journey"} == {"ctr", "cvr", "engagement"}
    assert {n for n, m in modes.items() if m == "lifecycle"} == {"churn", "retention", "life_stage", "ltv"}


def test_an_override_replaces_a_mode_and_leaves_the_others() -> None:
    made = projectors()
    out, _ = made(random_inputs(2))
    changed = apply_override(made, out, {"journey": "default", "behavior": "zero"})
    assert (changed["journey"] == 1.0).all()
    assert (changed["behavior"] == 0.0).all()
    assert changed["lifecycle"] is out["lifecycle"]
    assert list(changed) == list(HMM_MODES)
