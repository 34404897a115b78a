"""The proofs' own arithmetic, and that each runs through on a small bank. No figure is judged here: training decides those."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.bench import anomaly, few_labels, forecast, neighbours, sharing
from ple_model.bench.bank import Bank, auc_interval, personas
from ple_model.bench.measure import Row, Settings
from ple_model.bench.registry import benchmarks, chosen
from ple_model.data.dataset.reader import Dataset
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.plain_series import PlainSeries
from ple_model.sequences.windows import SplitWindows, TimeSplit, split_windows

QUICK = Settings(quick=True, rounds=5)


@pytest.fixture(scope="module")
def small_bank(small_dataset: Dataset) -> Bank:
    torch.manual_seed(0)
    encoder = SequenceEncoder(EncoderConfig(patch=30, stride=30, width=4, layers=1, heads=2, outlook="on"), 16, 180).eval()
    return Bank(small_dataset, encoder, seed=1)


@pytest.fixture(autouse=True)
def _on_the_small_bank(monkeypatch: pytest.MonkeyPatch, small_bank: Bank) -> None:
    @contextmanager
    def bank(_: Settings) -> Iterator[Bank]:
        yield small_bank

    monkeypatch.setattr(neighbours, "bank", bank)
    for module in (few_labels, anomaly):
        monkeypatch.setattr(module, "SOURCES", (("", bank), ("real ", bank)))


def by_measure(rows: list[Row]) -> dict[str, Row]:
    return {r.measure: r for r in rows}


def test_proofs_run_where_they_are_named_alone() -> None:
    proofs = {n for n, b in benchmarks().items() if b.proof}
    trained = {"forecast", "labels", "anomaly", "neighbours", "sharing", "reasons", "viewers", "scale", "single"}
    assert proofs == trained | {"peer-mmoe", "peer-ple", "gpu"}, "and what needs a library of others, or a GPU"
    assert not proofs & {b.name for b in chosen(None)}
    assert [b.name for b in chosen("labels")] == ["labels"]


def waves() -> SplitWindows:
    t = np.arange(900)
    x = np.sin(2 * np.pi * t / 24)[:, None] + 0.1 * np.random.default_rng(0).standard_normal((900, 1))
    series = PlainSeries("", t.astype("datetime64[h]").astype("datetime64[us]"), x, np.ones(900, bool), ("a",))
    return split_windows(series, TimeSplit(600, 150, 150), 48, 6)


def test_a_blend_has_the_share_with_the_least_error() -> None:
    data = waves()
    base, other = (lambda p, _: np.zeros((len(p), 6, 1), np.float32)), (lambda p, _: np.ones((len(p), 6, 1), np.float32))
    found = forecast.blend(base, other, data.validation)
    assert found.share == pytest.approx(min(1.0, max(0.0, float(data.validation.future.mean()))), abs=1e-6)
    perfect = {p.tobytes(): f for p, f in zip(data.validation.past, data.validation.future, strict=True)}
    best = forecast.blend(base, lambda p, _: np.stack([perfect[q.tobytes()] for q in p]), data.validation)
    assert best.share == pytest.approx(1.0)
    assert forecast.blend(base, base, data.validation).share == 0.0


def test_a_forecast_from_the_ridge_is_trained_to_no_worse_a_validation_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = waves()
    monkeypatch.setattr(forecast, "PATCH", 12)
    monkeypatch.setattr(forecast, "ett", lambda *_: data)
    monkeypatch.setattr(forecast, "HORIZONS", (6,))
    monkeypatch.setattr(forecast, "CITED", {"X": ("as cited: nobody", {"ETTh1": (0.1, 0.2), "ETTh2": (0.3, 0.4)})})
    rows = by_measure(forecast.run(QUICK))
    assert rows["ETTh1 6: ridge, MSE"].value < 0.5 * rows["ETTh1 6: last value, MSE"].value
    row = rows["ETTh1 6: ridge + encoder / ridge, MSE, 1 seeds"]
    assert row.ours == pytest.approx(row.value * rows["ETTh1 6: ridge, MSE"].value)
    assert rows["ETTh1 6: X, MAE"].value == 0.2
    assert rows["ETTh1 6: X, MAE"].source == "as cited: nobody"
    assert forecast.run(Settings(quick=True, only="ETTh3")) == []


def test_labels_are_kept_customer_by_customer_and_both_classes_stay(small_bank: Bank) -> None:
    train = small_bank.split("train")
    known = np.isfinite(train.labels["churn"])
    few, whole = few_labels.drawn(train, 0.05, 0), few_labels.drawn(train, 1.0, 0)
    assert len(whole) == known.sum()
    kept = set(few.customers)
    assert len(few) == sum(c in kept for c in train.customers[known])
    assert 3 <= len(kept) <= 10
    assert set(few.labels["churn"]) == {0.0, 1.0}
    assert set(few_labels.drawn(train, 0.05, 1).customers) != kept


def test_an_interval_of_a_difference_is_that_of_pairs() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(300) < 0.3).astype(float)
    good, poor = y + 0.5 * rng.standard_normal(300), y + 3.0 * rng.standard_normal(300)
    who = np.array([f"c{i // 2}" for i in range(300)], object)
    value, low, high = auc_interval(y, good, who, poor)
    assert 0 < low < value < high < 0.5
    same = auc_interval(y, good, who, good)
    assert same == (0.0, 0.0, 0.0)
    mean, *_ = auc_interval(y, np.stack([good, poor]), who)
    assert mean == pytest.approx((auc_interval(y, good, who)[0] + auc_interval(y, poor, who)[0]) / 2)


def test_few_labels_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(few_labels.AEON, raising=False)
    rows = by_measure(few_labels.run(Settings(quick=True, only="churn 5%")))
    assert {m.split(":")[0] for m in rows} == {"churn 5%"}
    difference = rows["churn 5%: pre-trained, probe - untrained, probe, AUC"]
    parts = [rows[f"churn 5%: {n}, probe, AUC"].value for n in ("pre-trained", "untrained")]
    assert difference.value == pytest.approx(parts[0] - parts[1])
    assert difference.target is not None
    assert not any("MiniRocket" in m for m in rows)
    untaught = rows["churn 5%: pre-trained, no label - untrained, probe, AUC"]
    assert untaught.value == pytest.approx(rows["churn 5%: pre-trained, no label, AUC"].value - parts[1])


def test_anomaly_rows() -> None:
    rows = by_measure(anomaly.run(Settings(quick=True, only="spike")))
    found = [r for m, r in rows.items() if m.startswith("spike: z-score")]
    assert len(rows) == 7
    assert {m.split(":")[0] for m in by_measure(anomaly.run(Settings(quick=True, only="real gap")))} == {"real gap"}
    assert found[0].value > 0.5  # a spike by four deviations is no secret
    x = np.zeros((2, 40, 3), np.float32)
    x[0, -3, 0] = 1.0
    there = np.ones((2, 40), bool)
    assert anomaly.z_scores(x, there).tolist() == pytest.approx([1000.0, 0.0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 20), st.integers(0, 2**20))
def test_days_before_a_customer_was_known_change_no_baseline(before: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(2.0, 1.0, (3, 40, 2)).astype(np.float32)
    short, there = x[:, before:], np.ones((3, 40), bool)
    there[:, :before] = False
    for way in (anomaly.z_scores, anomaly.statistics_of):
        alone = way(short, there[:, before:])
        np.testing.assert_allclose(
            way(np.where(there[..., None], x, 99.0).astype(np.float32), there), alone, rtol=1e-4, atol=1e-5
        )
    days = short[0, :-14].astype(np.float64)
    mean, largest = (
        anomaly.statistics_of(short, there[:, before:])[0, [8, 12]] * -1
        + anomaly.statistics_of(short, there[:, before:])[0, [0, 4]]
    )
    assert mean == pytest.approx(days[:, 0].mean(), abs=1e-4)
    assert largest == pytest.approx(days[:, 0].max(), abs=1e-4)


def test_neighbour_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "personas", lambda _, ids: np.arange(len(ids)) % 2)
    rows = by_measure(neighbours.run(QUICK))
    assert all(0 <= r.value <= 1 for m, r in rows.items() if "persona" in m or "recall" in m)
    assert rows[next(m for m in rows if "shortlist of 1000" in m)].value == 1.0  # more than there are customers
    assert any("seconds" in m for m in rows)


def test_personas_are_those_that_the_bank_was_made_of() -> None:
    from ple_model.data.synth.generate import BLOCK, simulate_block

    people = simulate_block(5, 1).people
    ids = np.array([f"C{BLOCK + i:08d}" for i in (0, 7, 499)], object)
    assert personas(5, ids).tolist() == people.persona[[0, 7, 499]].tolist()


def test_sharing_rows_and_what_is_planted_in_them() -> None:
    alike, unlike = (sharing.planted_rows(50, case, 0) for case in sharing.CASES)
    torch.testing.assert_close(alike.series.values, unlike.series.values)  # the same series, two questions
    assert (alike.future[..., 0].argmax(dim=1) == alike.classes).double().mean() > 0.6  # a neighbour's noise may be higher
    weekly = alike.series.values.reshape(50, sharing.WEEKS, sharing.WEEK).amax(dim=1)
    assert (weekly.argmax(dim=1) == unlike.classes).double().mean() > 0.9
    rows = sharing.run(Settings(quick=True, only="alike 10%"))
    assert [r.measure.split(": ")[1].split(",")[0] for r in rows[::2]] == ["hard", "soft", "apart"]
    assert all(0 <= r.value <= 1 for r in rows if r.unit == "accuracy")


def test_tuned_rows() -> None:
    rows = by_measure(few_labels.run(Settings(quick=True, only="tuned churn 1%")))
    assert {m.split(":")[0] for m in rows} == {"tuned churn 1%"}
    assert rows["tuned churn 1%: pre-trained, tuned - untrained, tuned, AUC"].target is not None
