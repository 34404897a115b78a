"""What would have to differ: few facts of a real customer with another result, linked columns together, the model asked
again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.engine.explainer import Explainer, single
from analysis.engine.score import distribution
from analysis.explain.counterfactual import FACTS, LONELY, tenths
from analysis.explain.customer import explain
from analysis.explain.linked import LinkedFacts, Rechecked, changeable, held_columns
from analysis.explain.lookup import customers, find
from analysis.explain.origin.fitted import clusters_of
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Counterfactual, FeatureChange
from ple_model.config import ExplanationsConfig
from ple_model.data.build.folds import fold_of
from ple_model.data.derived.gmm import behaviour
from ple_model.errors import UserError
from ple_model.run import Run, load_run
from ple_model.schema import PART_SLICES, load_schema
from tests.shared import SMALL_RUN

LEFT = ("tda_short", "bandit", "gmm")


@pytest.fixture(scope="module")
def found(tiny_run: Run) -> list[Explanation]:
    return [explain(tiny_run, c.customer_id, "nba", anyway=True) for c in customers(tiny_run, limit=3, seed=1)]


def test_three_windows_of_one_amount_are_one_fact(tiny_run: Run) -> None:
    schema, e = load_schema(), Explainer.cached(tiny_run)
    facts = LinkedFacts.grouped(schema, e.peers, np.zeros(len(schema.columns), dtype=bool))
    for stem in ("avg_ticket", "raw_spend_home", "spend"):
        windows = [n for n in schema.names if n.startswith(f"{stem}_") and n.removeprefix(f"{stem}_").rstrip("d").isdigit()]
        assert len(windows) > 1
        assert len({int(facts.of[schema.index[n]]) for n in windows}) == 1
    assert facts.of.max() == facts.n - 1


def test_a_fact_with_a_column_that_is_held_is_held_as_a_whole(tiny_run: Run) -> None:
    schema, e = load_schema(), Explainer.cached(tiny_run)
    barred = np.zeros(len(schema.columns), dtype=bool)
    barred[schema.index["avg_ticket_90d"]] = True
    facts = LinkedFacts.grouped(schema, e.peers, held_columns(schema, barred))
    assert {int(facts.of[schema.index[f"avg_ticket_{w}d"]]) for w in (28, 90, 365)} == {-1}
    assert not any(changeable(schema, i) for p in LEFT for i in range(*PART_SLICES[p].indices(734)))


def test_what_is_counted_over_the_same_purchases_moves_together(tiny_run: Run) -> None:
    schema, e = load_schema(), Explainer.cached(tiny_run)
    facts = LinkedFacts.grouped(schema, e.peers, np.zeros(len(schema.columns), dtype=bool))
    shares = [n for n in schema.names if n.startswith(("category_share_", "weekday_share_", "hour_share_"))]
    one = (
        "category_count_travel_90d", "raw_spend_travel_365d", "raw_purchase_count_travel_365d", "purchase_count_365d",
        "avg_ticket_365d", *shares,
    )  # fmt: skip
    assert len({int(facts.of[schema.index[n]]) for n in one}) == 1
    channels = [n for n in schema.names if n.startswith("channel_") and n.endswith("_share_365d")]
    assert len({int(facts.of[schema.index[n]]) for n in (*channels, "channel_switch_rate_365d")}) == 1
    assert facts.of[schema.index["deposit_inflow_90d"]] == facts.of[schema.index["raw_deposit_inflow_365d"]]


def test_what_the_bank_decides_and_health_are_no_advice_by_the_configuration() -> None:
    schema, none = load_schema(), np.zeros(734, dtype=bool)
    held = held_columns(schema, none, ExplanationsConfig().held)
    for name in ("credit_limit_total", "raw_credit_limit_total", "credit_utilisation", "campaign_exposures_28d",
                 "raw_spend_health_365d", "category_count_health_90d"):  # fmt: skip
        assert held[schema.index[name]]
        assert not held_columns(schema, none, ["deposit"])[schema.index[name]]
    assert held_columns(schema, none, ["deposit"])[schema.index["deposit_inflow_90d"]]
    assert not held[schema.index["deposit_inflow_90d"]]
    with pytest.raises(UserError, match=r"explanations\.held: 'helth' .* did you mean 'health'"):
        held_columns(schema, none, ["helth"])


def test_what_is_found_is_few_plausible_changes_that_the_model_answers_otherwise(
    tiny_run: Run, found: list[Explanation]
) -> None:
    turned = [x for x in found if x.counterfactual is not None and x.counterfactual.flips]
    assert turned, "for at least one of three customers of the tiny run something is found"
    e, schema = Explainer.cached(tiny_run), load_schema()
    for x in turned:
        c = x.counterfactual
        assert c is not None
        assert 1 <= c.facts <= FACTS
        assert c.nearness is not None
        assert c.nearness >= LONELY
        data, row = find(tiny_run, x.customer_id, x.cutoff, None)
        inputs = single(data.take([row]).inputs)
        normalizer = data.normalizer()
        real = normalizer.inverse(inputs.features.numpy())
        for name, value in ((n, v) for ch in c.changes for n, v in ((ch.name, ch.after), *ch.along)):
            real[0, schema.index[name]] = value
        changed = torch.from_numpy(normalizer.transform(real.astype(np.float32)))
        again = Rechecked.of(clusters_of(e), x.customer_id, inputs)
        with torch.no_grad():
            after = e.model(again.inputs(type(inputs)(**{**vars(inputs), "features": changed})))
        p = distribution(e.model, after, "nba")[0]
        assert int(p.argmax()) != x.target
        assert x.target is not None
        assert float(p[x.target]) == pytest.approx(c.after, abs=2e-3)
        assert c.value_after == pytest.approx(float(p.max()), abs=2e-3)
        assert c.tried >= c.facts
        moved = {n for ch in c.changes for n in (ch.name, *(a for a, _ in ch.along))}
        assert all(changeable(schema, schema.index[n]) for n in moved)


def test_it_is_said_in_words_or_that_there_is_none(found: list[Explanation]) -> None:
    for x in found:
        for language in ("en", "ko"):
            said = x.change_said(language)  # type: ignore[arg-type]
            if x.counterfactual is None or not x.counterfactual.flips:
                assert x.counterfactual is None or f"{x.counterfactual.tried:,}" in said
                continue
            assert not [n for n in load_schema().names if n in said]
            assert x.shown(x.counterfactual.after, language) in said  # type: ignore[arg-type]


def test_the_cluster_is_computed_again_from_changed_columns() -> None:
    run = load_run(SMALL_RUN)
    clusters = clusters_of(Explainer.cached(run))
    assert clusters is not None
    data = run.sample()
    batch = data.take([0])
    inputs = single(batch.inputs)
    again = Rechecked(clusters, batch.customer_id[0])
    found = again.inputs(inputs)
    fold = np.array([fold_of(batch.customer_id[0])], np.int8)
    wanted = clusters.gmm.posterior(behaviour(inputs.features.numpy()), fold)
    assert found.cluster_probs is not None
    assert found.cluster_probs.numpy() == pytest.approx(wanted)
    assert int(found.cluster_ids[0]) == int(wanted.argmax())
    assert Rechecked(None, "x").inputs(inputs) is inputs
    moved = replace(inputs, features=inputs.features.roll(1, dims=1))
    other = again.inputs(moved).cluster_probs
    assert other is not None
    assert np.abs(other.numpy() - wanted).max() > 0.01


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.4666, 0.3733, 0.1601), [467, 373, 160]),  # rounded alone: 46.7, 37.3, 16.0
        ((0.4696, 0.3726, 0.1578), [470, 372, 158]),
        ((1 / 3, 1 / 3, 1 / 3), [334, 333, 333]),
        ((0.00049, 0.00049), [0, 0]),
        ((0.94, 0.054), [940, 54]),
    ],
)
def test_shares_of_one_whole_add_up_to_no_more_than_it_as_they_are_written(shares: tuple[float, ...], said: list[int]) -> None:
    found = tenths(np.array(shares, dtype=np.float32).astype(np.float64))
    assert found == said
    assert sum(found) <= 1000 * sum(shares) + 0.01
    assert all(abs(n - 1000 * x) < 1.01 for n, x in zip(found, shares, strict=True))


def test_several_values_are_said_to_be_needed_together(found: list[Explanation]) -> None:
    one, other = (FeatureChange(n, 1.0, 2.0, "count", f"{n}.", f"{n}.") for n in ("x", "y"))
    for language, word in (("en", "together"), ("ko", "모두")):
        for changes, several in (((one,), False), ((one, other), True)):
            would = Counterfactual(changes, 0.2, 0.4, "fund", True, (), value_after=0.5)
            x = replace(found[0], counterfactual=would)
            for named in (True, False):
                assert (word in x.change_said(language, named=named)) == several
