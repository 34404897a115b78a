"""What reasons are made of, against the raw columns of real rows of the bundled run: dates, counts, sums, states, clusters."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from analysis.explain.origin.clusters import AGREES
from analysis.explain.origin.days import Days
from analysis.explain.origin.states import States
from ple_model.data.build.artifacts import JOURNEY_DAYS, read_gmm, read_hmm, read_scale
from ple_model.data.build.folds import folds_of
from ple_model.data.dataset.batches import Batch
from ple_model.data.derived.gmm import behaviour
from ple_model.run import load_run
from tests.shared import SMALL_RUN

RUN = load_run(SMALL_RUN)
ROWS = 50


@pytest.fixture(scope="module")
def rows() -> Batch:
    return RUN.sample().load("test", limit=ROWS, seed=3)


@pytest.fixture(scope="module")
def days(rows: Batch) -> list[Days]:
    scale = read_scale(RUN.preprocess)
    assert rows.inputs.txn_seq is not None
    assert rows.inputs.session_seq is not None
    txn, visits = rows.inputs.txn_seq.double().numpy() * scale.txn, rows.inputs.session_seq.double().numpy() * scale.session
    return [Days(date.fromisoformat(c), t, v) for c, t, v in zip(rows.cutoff, txn, visits, strict=True)]


def raw(rows: Batch, name: str) -> list[float]:
    table = RUN.sample().table(["customer_id", "cutoff", f"raw:{name}"])
    known = {(c, str(d)): v for c, d, v in zip(*(table.column(i).to_pylist() for i in range(3)), strict=True)}
    return [known[key] for key in zip(rows.customer_id, rows.cutoff, strict=True)]


def test_days_and_visits_are_those_of_the_raw_rows(rows: Batch, days: list[Days]) -> None:
    bought, visited, spent = (raw(rows, n) for n in ("n_transactions_90d", "n_sessions_90d", "spend_28d"))
    checked = 0
    for d, purchases, visits, spend in zip(days, bought, visited, spent, strict=True):
        assert sum(d.purchases(i) for i in range(90, 180)) == purchases
        # a day's sum is net of its refunds and never below nothing, a window's is net of all of them
        assert sum(d.spend(i) for i in range(152, 180)) >= spend - 0.02
        if d.visits_known(90):
            assert int((d.visit_back()[d.there] <= 90).sum()) == visits
            checked += 1
    assert checked > ROWS / 2


def test_the_daily_state_that_is_said_is_the_stored_one(rows: Batch, days: list[Days]) -> None:
    states = States("journey", read_hmm(RUN.preprocess, "journey"), np.zeros(10), "USD")
    assert rows.inputs.hmm_journey is not None
    there = rows.inputs.present("hmm_journey").numpy()
    checked = 0
    for i in np.flatnonzero(there)[:25]:
        if days[i].journey(JOURNEY_DAYS) is not None:
            held = states.held(days[i], rows.inputs.hmm_journey[i].numpy())
            assert held is not None
            assert 1 <= held <= JOURNEY_DAYS
            checked += 1
    assert checked > 10


def test_the_stored_posteriors_are_those_of_the_customers_own_columns(rows: Batch) -> None:
    found = read_gmm(RUN.preprocess).posterior(behaviour(rows.inputs.features.numpy()), folds_of(rows.customer_id))
    assert rows.inputs.cluster_probs is not None
    assert np.abs(found - rows.inputs.cluster_probs.numpy()).max() <= AGREES
