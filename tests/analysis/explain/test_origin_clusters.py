"""A customer's cluster as a reason: named by what sets it apart, handed on to the customer's own columns, true of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.engine.population import Population
from analysis.explain.origin.clusters import INDEX, Clusters
from analysis.explain.origin.told import REST, Columns
from ple_model.data.build.folds import fold_of
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.derived.gmm import GmmModel, behaviour
from ple_model.numerals import number
from ple_model.schema import PART_SLICES, load_schema

SCHEMA = load_schema()
EVENING, HELD = SCHEMA.index["hour_share_evening_90d"], SCHEMA.index["product_open_count"]
K = 20


@pytest.fixture(scope="module")
def clusters() -> Clusters:
    """Every fifth customer shops in the evening and holds few products: cluster 1 of a mixture that reads these two columns.
    Some others do the one or the other, or the two columns would say the same."""
    rng = np.random.default_rng(0)
    features = np.zeros((300, len(SCHEMA.columns)), np.float32)
    features[:, EVENING], features[:, HELD] = rng.normal(0, 0.3, 300) - 1, rng.normal(0, 0.3, 300) + 1
    number = np.arange(300)
    members = number % 5 == 0
    features[members | (number % 10 == 1), EVENING] += 3
    features[members | (number % 10 == 2), HELD] -= 3
    axes = np.zeros((len(INDEX), 2))
    axes[INDEX == EVENING, 0] = axes[INDEX == HELD, 1] = 1.0
    means = np.zeros((K, 2))
    means[0], means[1] = (-1, 1), (2, -2)
    weights = np.full(K, 1e-12)
    weights[:2] = 0.8, 0.2
    gmm = GmmModel(np.zeros(len(INDEX)), axes, weights, means, np.broadcast_to(np.eye(2), (K, 2, 2)).copy())
    everybody = np.ones(300, bool)
    peers = Population(
        features, dict.fromkeys(PART_SLICES, everybody), dict(PART_SLICES), np.full(300, 2), members.astype(np.int64), {}, {}
    )
    return Clusters(gmm, Normalizer.identity(), peers, SCHEMA, weights)


def gradients(on_one: float) -> dict[str, np.ndarray]:
    probs = np.zeros(K)
    probs[1] = on_one
    return {"cluster_probs": probs, "gmm": np.zeros(K + 2)}


def columns_of(clusters: Clusters, row: int) -> Columns:
    own = clusters.peers.features[row].astype(np.float64)
    return Columns(SCHEMA, own, np.median(clusters.peers.features, 0).astype(np.float64), np.ones(len(own), bool))


def stored(clusters: Clusters, features: np.ndarray) -> np.ndarray:
    return clusters.gmm.posterior(behaviour(features[None]), np.array([fold_of("C1")], np.int8))[0]


def test_the_contribution_of_a_posterior_goes_on_to_the_columns_that_decide_it(clusters: Clusters) -> None:
    features = clusters.peers.features[0]
    parts, typical = clusters.through(features, 0, gradients(0.3)["cluster_probs"], np.zeros(K + 2))
    posterior = clusters.gmm.posterior(behaviour(clusters.peers.features))[:, 1]
    # 0.3 times (certain to be of cluster 1, where a fifth of the customers is)
    assert typical == pytest.approx(0.3 * posterior[np.unique(np.linspace(0, 299, 256).round().astype(int))].mean(), rel=1e-6)
    assert parts.sum() == pytest.approx(0.3 * posterior[0] - typical, rel=1e-5)
    assert set(np.flatnonzero(parts)) == {EVENING, HELD}
    assert parts[EVENING] == pytest.approx(parts[HELD], rel=0.5)


def test_the_columns_of_the_part_gmm_are_handed_on_as_they_are_normalised(clusters: Clusters) -> None:
    columns = np.zeros(K + 2)
    columns[K:] = 0.1, 0.2  # distance and entropy
    row = clusters.peers.features[5]
    n = len(SCHEMA.columns)
    scaled = replace(clusters, normalizer=Normalizer(np.full(n, 2, np.int8), np.full(n, 0.5), np.full(n, 2.0)))
    parts, typical = scaled.through(row, 0, np.zeros(K), columns)
    own = np.zeros((1, n))
    own[0, PART_SLICES["gmm"]] = clusters.gmm.columns(behaviour(row[None]))[0]
    read = scaled.normalizer.transform(own)[0, PART_SLICES["gmm"]]
    assert parts.sum() + typical == pytest.approx(float(read @ columns), abs=1e-6)


def test_of_a_group_only_that_is_told_which_is_so_of_the_customer(clusters: Clusters) -> None:
    row = clusters.peers.features[0].copy()
    for held, evening in ((row[HELD], row[EVENING]), (2.0, 6.0)):  # fewer products, as is usual in the group, and more
        row[HELD], row[EVENING] = held, evening
        named = clusters.traits(int(stored(clusters, row).argmax()))
        assert len(named) == 2
        columns = replace(columns_of(clusters, 0), own=row.astype(np.float64))
        told = clusters.told("C1", row, stored(clusters, row), columns, gradients(0.3), 0.21, named)
        assert told is not None
        fewer = held != 2.0
        usual = "to hold fewer products and to buy more in the evening" if fewer else "to buy more in the evening"
        assert f"20% of customers, in which it is usual {usual}; this customer: " in told.en
        assert ("보유 상품이 적은 편인" in told.ko) == fewer
        assert "저녁 구매가 많은 고객군(전체 고객의 20%)" in told.ko
        assert (f"number of products held now: {number(float(row[HELD]))} (all customers: " in told.en) == fewer
        assert set(told.spoken) == {"hour_share_evening_90d"} | ({"product_open_count"} if fewer else set())
        assert sum(v for _, v in told.through) == pytest.approx(0.21, rel=1e-9)
        assert {n for n, _ in told.through} == {"hour_share_evening_90d", "product_open_count", REST}


def test_a_group_that_the_customer_fits_in_nothing_is_no_reason(clusters: Clusters) -> None:
    row = clusters.peers.features[0].copy()
    own = stored(clusters, row)
    named = clusters.traits(int(own.argmax()))
    row[HELD], row[EVENING] = 2.0, -2.0
    columns = replace(columns_of(clusters, 0), own=row.astype(np.float64))
    assert clusters.told("C1", row, stored(clusters, row), columns, gradients(0.3), 0.21, named) is None


def test_a_posterior_of_another_mixture_is_not_explained_by_this_one(clusters: Clusters) -> None:
    row = clusters.peers.features[0]
    assert clusters.told("C1", row, np.full(K, 0.05, np.float32), columns_of(clusters, 0), gradients(0.3), 0.2) is None


def test_a_mixture_by_folds_reads_the_fold_of_the_customer(clusters: Clusters) -> None:
    g = clusters.gmm
    moved = np.stack([g.means + f for f in range(5)])
    folds = replace(
        g, fold_weights=np.stack([g.weights] * 5), fold_means=moved, fold_precision_chol=np.stack([g.precision_chol] * 5)
    )
    mine = replace(clusters, gmm=folds)
    row = clusters.peers.features[1]
    for fold in (0, 4):
        parts, typical = mine.through(row, fold, gradients(1.0)["cluster_probs"], np.zeros(K + 2))
        own = folds.posterior(behaviour(row[None]), np.array([fold], np.int8))[0, 1]
        assert parts.sum() + typical == pytest.approx(float(own), abs=1e-5)
