"""Mixing of the temporal streams, and the days that are read."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ple_model.config import load_config
from ple_model.context import ModelContext
from ple_model.errors import UserError
from ple_model.experts.base import require_valid
from ple_model.experts.temporal import STREAMS, Temporal, TemporalParams
from tests.factories import random_inputs


def small() -> Temporal:
    torch.manual_seed(0)
    params = load_config("small").shared_experts["temporal"]
    assert isinstance(params, TemporalParams)
    return Temporal(params, ModelContext(), 0.1).eval()


def weights(**absent: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return small()(random_inputs(4, absent=absent))[2].internals["mixing_weights"]


def test_mixing_weights_sum_to_one_over_six_streams_and_differ_by_row() -> None:
    w = weights()
    assert w.shape == (4, len(STREAMS))
    torch.testing.assert_close(w.sum(dim=1), torch.ones(4))
    assert (w[0] - w[1]).abs().max() > 1e-4


def test_a_row_with_one_sequence_mixes_its_three_streams_only() -> None:
    w = weights(txn_seq=[0], session_seq=[1])
    assert w[0, :3].abs().max() == 0
    assert w[1, 3:].abs().max() == 0
    assert (w[0, 3:] > 0).all()
    assert (w[1, :3] > 0).all()
    torch.testing.assert_close(w.sum(dim=1), torch.ones(4))


def test_an_absent_sequence_reads_the_same_as_none() -> None:
    model = small()
    with torch.no_grad():
        by_row = model(random_inputs(4, absent={"session_seq": range(4)}))[0]
        none = model(random_inputs(4, absent=("session_seq",)))[0]
    torch.testing.assert_close(by_row, none)


def test_only_the_last_days_and_sessions_are_read() -> None:
    model, inputs = small(), random_inputs(4)
    assert inputs.txn_seq is not None
    assert inputs.session_seq is not None
    old_days, old_sessions, new_days = inputs.txn_seq.clone(), inputs.session_seq.clone(), inputs.txn_seq.clone()
    old_days[:, : 180 - 90] += 1.0
    old_sessions[:, : 90 - 30] += 1.0
    new_days[:, 180 - 90] += 1.0
    with torch.no_grad():
        before = model(inputs)[0]
        same = model(dataclasses.replace(inputs, txn_seq=old_days, session_seq=old_sessions))[0]
        other = model(dataclasses.replace(inputs, txn_seq=new_days))[0]
    assert torch.equal(same, before)
    assert not torch.equal(other, before)


@pytest.mark.parametrize(
    ("change", "word"), [({"txn_days": 181}, "txn_days"), ({"sessions": 0}, "sessions"), ({"mamba_heads": 5}, "mamba_dim")]
)
def test_impossible_settings_name_their_key(change: dict[str, int], word: str) -> None:
    with pytest.raises(UserError, match=rf"shared_experts\.temporal\.{word}"):
        require_valid("temporal", TemporalParams(**change))  # type: ignore[arg-type]
