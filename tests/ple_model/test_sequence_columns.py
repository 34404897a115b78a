"""What a sequence is boiled down to, against plain numpy; the steps that have an event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ple_model.input_columns import activity, thirds
from ple_model.own_rows import PIECE, columns_of
from tests.factories import random_inputs

N = PIECE + 45


def test_mean_spread_and_reach_are_those_of_numpy() -> None:
    inputs = random_inputs(N, seed=3, absent={"txn_seq": [4, 150]})
    assert inputs.session_seq is not None
    inputs = replace(inputs, session_seq=-inputs.session_seq)  # the largest size may be that of a negative number
    columns, values = columns_of(inputs, [str(j) for j in range(inputs.width)])
    for field in ("txn_seq", "session_seq"):
        x = getattr(inputs, field).numpy()
        plain = np.concatenate([x.mean(1), x.std(1), np.abs(x).max(1)], axis=1)
        mine = [j for j, (key, name) in enumerate(columns) if key == field and not name.endswith(" is there")]
        there = inputs.present(field).numpy()
        np.testing.assert_allclose(values[there][:, mine], plain[there], rtol=1e-5, atol=1e-6)
        assert np.isnan(values[~there][:, mine]).all()


def test_thirds_are_means_of_the_steps() -> None:
    inputs = random_inputs(9, seed=4)
    assert inputs.txn_seq is not None
    columns, values = thirds(inputs)
    plain = np.concatenate([part.mean(1) for part in np.array_split(inputs.txn_seq.numpy(), 3, axis=1)], axis=1)
    mine = [j for j, (key, _) in enumerate(columns) if key == "txn_seq"]
    np.testing.assert_allclose(values[:, mine], plain, rtol=1e-5, atol=1e-6)


def test_steps_with_an_event_of_all_rows_and_of_some() -> None:
    inputs = random_inputs(12, seed=5, absent={"txn_seq": [2]})
    assert inputs.txn_seq is not None
    chosen = torch.tensor([0, 2, 7])
    whole, some = activity(inputs)["txn_seq"], activity(inputs, chosen)["txn_seq"]
    plain = (inputs.txn_seq != 0).any(2).numpy()
    np.testing.assert_array_equal(whole, np.delete(plain, 2, axis=0))
    np.testing.assert_array_equal(some, plain[[0, 7]])
