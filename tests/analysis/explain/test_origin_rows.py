"""What reasons are made of, against the raw columns of real rows of the bundled run: dates, counts, sums, states, clusters."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from analysis.engine.population import Population
from analysis.explain.origin.clusters import AGREES, MEMBERS
from analysis.explain.origin.days import Days
from analysis.explain.origin.similar import ENOUGH, SimilarCustomers
from analysis.explain.origin.states import States
from analysis.explain.origin.told import Columns
from ple_model.data.build.artifacts import JOURNEY_DAYS, read_gmm, read_hmm, read_scale
from ple_model.data.build.folds import folds_of
from ple_model.data.dataset.batches import Batch
from ple_model.data.derived.gmm import behaviour
from ple_model.run import load_run
from ple_model.schema import load_schema
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


def test_the_median_of_similar_customers_is_so_in_the_raw_rows() -> None:
    """Of two columns whose raw values the sample holds; none where there are too few."""
    batch, schema, normalizer = RUN.sample().load("test"), load_schema(), RUN.sample().normalizer()
    peers = Population.of([batch.inputs])
    own = normalizer.inverse(batch.inputs.features.numpy())
    told = {True: 0, False: 0}
    for name in ("recency_days", "spend_28d"):
        values, column = np.array(raw(batch, name), dtype=np.float64), schema.index[name]
        for i in range(0, len(batch), 4):
            cluster = int(peers.cluster[i])
            similar = SimilarCustomers.of(peers, batch.customer_id, batch.customer_id[i], cluster, normalizer, ())
            if similar is None or not peers.parts["rfm"][i]:
                continue
            columns = Columns(schema, own[i], own[i], np.ones(len(own[i]), dtype=bool))
            middle, others = similar.middle(columns, column), values[similar.rows]
            assert batch.customer_id[i] not in {batch.customer_id[j] for j in similar.rows}
            assert len(others) >= MEMBERS
            there = others[peers.parts["rfm"][similar.rows]]
            assert (middle is not None) == (len(there) >= ENOUGH)
            told[middle is not None] += 1
            if middle is not None:
                assert middle == pytest.approx(np.median(there), rel=1e-3, abs=1e-3)
    assert told[True] >= 10


def test_enough_similar_customers_are_those_whose_median_keeps_between_the_quartiles() -> None:
    """The median of n lies below the first quartile of all where more than half of the n do."""

    def outside(n: int) -> float:
        more = range(n // 2 + 1, n + 1)
        return 2 * sum(math.comb(n, k) * 0.25**k * 0.75 ** (n - k) for k in more)

    assert outside(ENOUGH) < 0.05 < outside(ENOUGH - 2)
