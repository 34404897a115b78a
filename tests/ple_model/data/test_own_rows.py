"""No column and no derived input tells training customers from others of one cut-off; what is fitted without folds does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from ple_model.data.build.artifacts import Fitted
from ple_model.data.build.build import BuildSettings, build
from ple_model.data.build.folds import FOLDS, folds_of, read_folds
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.data.derived.collaborative import HALVES, read_pairs
from ple_model.data.derived.gmm import behaviour
from ple_model.data.events.connect import connect
from ple_model.data.features import Market, compute_features
from ple_model.data.synth import generate
from ple_model.fields import FIELD_SHAPES
from ple_model.own_rows import OwnRows, areas, columns_of, compare
from ple_model.schema import PARTS, load_schema

CUTOFF = "2024-09-01"
HALF = SplitSettings(train=0.5, validation=0.5)
ALPHA = 0.001
"""One bank in a thousand has an area beyond its limit by chance (Bonferroni over all areas, each with its own normal limit)."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("own_rows") / "events"
    generate(out, 260, seed=11)
    return out


@pytest.fixture(scope="module")
def bank(events: Path) -> Dataset:
    """Few customers: what each adds to a figure of its own is large."""
    return build(events, events.parent / "data", [CUTOFF], settings=BuildSettings(split=HALF, workers=1, threads=1))


@pytest.fixture(scope="module")
def rows(bank: Dataset) -> Batch:
    return bank.load()


def of(rows: Batch, columns: dict[str, np.ndarray]) -> OwnRows:
    """These columns alone, told by a blank in their rows."""
    labels = [(name, f"{name}[{j}]") for name, block in columns.items() for j in range(block.shape[1])]
    values = np.concatenate(list(columns.values()), axis=1).astype(np.float32)
    return compare(values, labels, rows.split, rows.cutoff)


def worst(found: OwnRows) -> float:
    """Largest distance of an area from 0.5, over what chance leaves at the level of the test: beyond 1 is told apart."""
    judged = np.ones(len(found.cutoffs), dtype=bool)
    pairs = ((found.higher, found.higher_sd), (found.wider, found.wider_sd))
    return max(float(np.nanmax(np.abs(a - 0.5) / sd)) for a, sd in pairs) / found.deviations(ALPHA, judged)


def test_no_column_or_derived_input_of_the_bank_tells_training_from_validation(bank: Dataset, rows: Batch) -> None:
    columns, values = columns_of(rows.inputs, [c.name for c in bank.schema.columns])
    assert {f"features:{p}" for _, p, _ in PARTS} | {f for f in FIELD_SHAPES if f != "features"} == {k for k, _ in columns}
    names = [name for _, name in columns]
    assert {c.name for c in load_schema().columns} <= set(names)
    assert len(set(names)) == len(names) == values.shape[1]
    found = compare(values, columns, rows.split, rows.cutoff)
    assert found.cutoffs == (CUTOFF,)
    assert min(found.train[0], found.others[0]) > 110
    looked = np.isfinite(found.higher).any(axis=0)
    assert looked.mean() > 0.9
    assert worst(found) < 1


def test_without_folds_the_same_test_finds_each_of_them(bank: Dataset, rows: Batch, events: Path) -> None:
    fitted = Fitted.load(bank.path / "artifacts", bank.context().hierarchy)
    x = behaviour(np.asarray(rows.inputs.features))
    of_fold = folds_of(rows.customer_id)
    assert worst(of(rows, {"gmm": fitted.gmm.columns(x, of_fold)})) < 1
    assert worst(of(rows, {"gmm": fitted.gmm.columns(x)})) > 1
    with connect(events, threads=1) as store:
        n = create_spine(store.con, (CUTOFF,), HALF)
        place = {c: i for i, (c,) in enumerate(store.con.execute("SELECT customer_id FROM spine ORDER BY row_id").fetchall())}
        at = [place[c] for c in rows.customer_id]
        half, (row, merchant) = read_folds(store.con, 0, n, HALVES), read_pairs(store, 0, n)
        assert fitted.merchants is not None
        for reads, told in ((half, False), (1 - half, True)):
            vectors, there = fitted.merchants.customers(row, merchant, reads.astype(np.int8))
            length = np.where(there, np.linalg.norm(vectors, axis=1), np.nan)[:, None]
            assert (worst(of(rows, {"merchants": length[at]})) > 1) == told
        market = Market.load(bank.path / "artifacts" / "market.json")
        # everybody reads the figures of a fold that holds their own first purchases
        turned = replace(market, brands=tuple((d, (f + 1) % FOLDS, b, s, g) for d, f, b, s, g in market.brands))
        for figures, told in ((market, False), (turned, True)):
            compute_features(store.con, figures)
            query = "SELECT epidemic_early_adoption FROM features_base JOIN spine USING (customer_id, cutoff) ORDER BY row_id"
            early = np.array([np.nan if v is None else v for (v,) in store.con.execute(query).fetchall()])
            assert (worst(of(rows, {"market": early[at][:, None]})) > 1) == told


def test_an_area_and_its_deviation_are_those_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(3)
    train = rng.random(300) < 0.4
    values = np.stack([rng.normal(size=300), rng.integers(0, 4, 300), np.where(rng.random(300) < 0.2, np.nan, 1.0 * train)], 1)
    higher, sd, wider, _ = areas(values.astype(np.float32), train)
    for j in range(3):
        x = values[:, j]
        one, two = x[train & ~np.isnan(x)], x[~train & ~np.isnan(x)]
        oracle = mannwhitneyu(one, two, method="asymptotic", use_continuity=False)
        assert higher[j] == pytest.approx(oracle.statistic / len(one) / len(two))
        from_p = abs(higher[j] - 0.5) / sd[j]
        assert mannwhitneyu(one, two, method="asymptotic", use_continuity=False).pvalue == pytest.approx(
            2 * (1 - _normal(from_p)), rel=1e-3, abs=1e-12
        )
    assert higher[2] == 1
    assert abs(wider[0] - 0.5) < 0.1


def _normal(z: float) -> float:
    from statistics import NormalDist

    return NormalDist().cdf(z)


def test_a_wider_column_is_found_where_its_middle_is_the_same() -> None:
    rng = np.random.default_rng(4)
    train = np.arange(400) % 2 == 0
    values = (rng.normal(size=400) * np.where(train, 2.0, 1.0))[:, None].astype(np.float32)
    found = compare(values, [("features", "x")], ["train" if t else "test" for t in train], ["2024-01-01"] * 400)
    assert abs(found.higher[0, 0] - 0.5) < 0.1
    assert found.wider[0, 0] > 0.65
    assert worst(found) > 1


def test_chance_stays_below_the_limit_and_one_value_says_nothing() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(size=(200, 300)), np.ones((200, 1))], axis=1).astype(np.float32)
    split = np.where(rng.random(200) < 0.5, "train", "validation")
    found = compare(values, [("f", str(j)) for j in range(301)], split.tolist(), ["2024-01-01"] * 200)
    assert worst(found) < 1
    assert np.isnan(found.higher[0, 300])
    assert np.isnan(found.wider[0, 300])


def test_cut_offs_are_apart_and_those_of_one_split_are_left_out() -> None:
    """Training rows of the spring are higher than test rows of the summer; at one cut-off nobody is."""
    split = ["train", "validation"] * 60 + ["test"] * 60
    cutoff = ["2024-01-01"] * 60 + ["2024-02-01"] * 60 + ["2024-07-01"] * 60
    values = np.repeat([[0.0], [1.0], [9.0]], 60, axis=0) + np.random.default_rng(6).normal(size=(180, 1))
    found = compare(values.astype(np.float32), [("f", "x")], split, cutoff)
    assert found.cutoffs == ("2024-01-01", "2024-02-01")
    assert (found.train.tolist(), found.others.tolist()) == ([30, 30], [30, 30])
    assert worst(found) < 1
    nothing = compare(values[:60].astype(np.float32), [("f", "x")], ["train"] * 60, cutoff[:60])
    assert nothing.cutoffs == ()
    assert nothing.higher.shape == (0, 1)
