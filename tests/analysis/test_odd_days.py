"""Customers with last days that a run's own encoder cannot explain: by row, counted, and held against what chance allows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from analysis.checks import checks, run_checks
from analysis.checks.odd_days import chances_of, most_by_chance
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.recording.odd_days import DayScorer, day_scorer, odd_days
from analysis.stats.base import pack, unpack
from analysis.stats.consistency import Silence
from analysis.stats.odd_days import OddDays, OddGroup
from ple_model.data.dataset.reader import Dataset
from ple_model.encoder_start import EncoderStart
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.stream import EncoderMode
from tests.analysis.planted import healthy
from tests.encoders import tiny_encoder
from tests.factories import random_context
from tests.fakes import tiny_config


@given(st.integers(1, 400), st.integers(100, 3000), st.data())
def test_the_chance_is_that_of_the_beta_binomial(customers: int, reference: int, data: st.DataObject) -> None:
    odd = data.draw(st.integers(0, customers))
    rank = int(0.99 * reference) + 1
    expected = betabinom.sf(odd - 1, customers, reference - rank + 1, rank)
    assert chances_of(customers, reference, rank)[odd] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_by_hand_and_by_drawing() -> None:
    assert chances_of(1, 1, 1)[1] == pytest.approx(1 / 2)  # of two that are drawn alike either is the larger
    assert chances_of(1, 199, 198)[1] == pytest.approx(2 / 200)
    rng = np.random.default_rng(0)
    limits = np.sort(rng.random((4000, 200)), axis=1)[:, 198]
    beyond = (rng.random((4000, 150)) > limits[:, None]).sum(axis=1)
    for odd in (1, 4):
        assert float((beyond >= odd).mean()) == pytest.approx(chances_of(150, 200, 199)[odd], abs=0.03)
    most = most_by_chance(150, 200, 199, 0.001)
    assert chances_of(150, 200, 199)[most] >= 0.001 > chances_of(150, 200, 199)[most + 1]


def model_with(encoder: Path, mode: EncoderMode, data: Dataset) -> PLEClusterAdaTT:
    started = EncoderStart(load_encoder(encoder), mode)
    return PLEClusterAdaTT(started.into(tiny_config(), data), random_context()).eval()


def run_of(data: Dataset) -> Run:
    """A run whose stored customers are those of `data`: all that is read of one here."""
    return cast(Run, SimpleNamespace(sample=lambda: data))


@pytest.fixture(scope="module")
def scorer(small_dataset: Dataset, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> DayScorer:
    encoder = tiny_encoder(tmp_path_factory, small_dataset)
    return day_scorer(run_of(tiny_dataset), model_with(encoder, "frozen", tiny_dataset))


def rows(scorer: DayScorer, data: Dataset, out: Path, spikes: int) -> Path:
    """The file of all rows; `spikes` customers of the test split are given a huge fifth day before their cut-off."""
    parts = []
    with torch.no_grad():
        for batch in data.batches(None, 512, fields=("txn_seq",)):
            values = batch.inputs.txn_seq
            assert values is not None
            values = values.clone()
            for i, split in enumerate(batch.split):
                if split == "test" and spikes:
                    values[i, -5], spikes = 500.0, spikes - 1
            segment = ["active"] * len(batch)
            keys = {"customer_id": batch.customer_id, "cutoff": batch.cutoff, "split": batch.split, "segment": segment}
            columns = scorer.columns(replace(batch.inputs, txn_seq=values))
            nulls = {k: pa.array(v, from_pandas=True) for k, v in columns.items()}
            parts.append(pa.table({**keys, **nulls}))
    pq.write_table(pa.concat_tables(parts), out)
    return out


def said(found: OddDays) -> list[str]:
    return [f.severity for f in run_check(checks()["DATA-ODD-DAYS"], replace(healthy(), odd_days=found), Thresholds())]


def test_days_that_are_planted_are_found_counted_and_dated(scorer: DayScorer, tiny_dataset: Dataset, tmp_path: Path) -> None:
    before = odd_days(scorer, rows(scorer, tiny_dataset, tmp_path / "a.parquet", 0))
    after = odd_days(scorer, rows(scorer, tiny_dataset, tmp_path / "b.parquet", 25))
    assert (
        before.customers == after.customers == len(set(tiny_dataset.table(["customer_id"], "test")["customer_id"].to_pylist()))
    )
    assert 20 <= after.odd - before.odd <= 25
    (cutoff,) = {g.cutoff for g in after.groups if g.odd >= 20}
    assert np.datetime64(cutoff) - np.datetime64(after.day) == np.timedelta64(5, "D")
    assert after.day_customers >= 20
    assert said(before) == ["ok"]
    assert said(after) == ["warning"]
    (finding,) = run_check(checks()["DATA-ODD-DAYS"], replace(healthy(), odd_days=after), Thresholds())
    assert not any(who in repr(finding) for who in tiny_dataset.table(["customer_id"], "test")["customer_id"].to_pylist())


def test_the_score_of_a_row_is_the_one_that_ple_predict_writes(scorer: DayScorer, tiny_dataset: Dataset) -> None:
    inputs = next(tiny_dataset.batches("test", 64)).inputs
    np.testing.assert_array_equal(scorer.columns(inputs)["anomaly"], scorer.scorer(inputs))
    assert scorer.scorer.split == "validation"
    own = next(tiny_dataset.batches("validation", 512)).inputs
    assert np.nanmean(scorer.columns(own)["anomaly"]) == pytest.approx(50, abs=1e-3)  # the reference, ranked among itself


def test_a_feed_that_stopped_explains_odd_days_of_its_own_field() -> None:
    odd = checks()["DATA-ODD-DAYS"].proof
    assert odd is not None
    sick = odd.change(healthy())
    assert [f.follows for f in run_checks(sick) if f.id == "DATA-ODD-DAYS"] == [""]
    for field, follows in (("txn_seq", "DATA-STALE txn_seq"), ("session_seq", "")):
        assert sick.consistency is not None
        silent = (Silence(field, "2025-05-01", 10, 90, 0.4, 600, then=0),)
        found = run_checks(replace(sick, consistency=replace(sick.consistency, silent=silent)))
        assert [f.follows for f in found if f.id == "DATA-ODD-DAYS"] == [follows]


def test_who_trained_or_set_the_limit_is_not_judged(scorer: DayScorer, tiny_dataset: Dataset, tmp_path: Path) -> None:
    file = rows(scorer, tiny_dataset, tmp_path / "a.parquet", 0)
    table = pq.read_table(file)
    pq.write_table(table.filter(pa.compute.not_equal(table["split"], "test")), file)
    assert odd_days(scorer, file).reason.startswith("No row is of a customer who neither trained")
    assert said(odd_days(scorer, file)) == ["unknown"]


def test_of_another_dataset_new_days_are_judged_whatever_its_split_says(
    scorer: DayScorer, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = rows(scorer, tiny_dataset, tmp_path / "a.parquet", 0)
    table = pq.read_table(file)
    assert said(odd_days(scorer, file, own=False)) == ["unknown"]  # its cut-offs are the run's own
    assert (scorer.newest, scorer.first_new) == ("2025-05-01", "2025-05-15")
    for cutoff, judged in (("2025-05-14", 0), ("2025-05-15", 320)):  # 160 customers each trained and are of the test split
        later = pa.array([cutoff] * len(table), table["cutoff"].type)
        pq.write_table(table.set_column(table.column_names.index("cutoff"), "cutoff", later), file)
        assert odd_days(scorer, file, own=False).customers == judged


def test_an_analysis_of_another_reference_is_asked_for_again() -> None:
    found = OddDays(
        sequence="txn_seq", split="validation", reference=900, rank=892, groups=(OddGroup("2025-05-01", "a", 500, 90),)
    )
    text, arrays = pack(found)
    assert said(unpack(OddDays, text, arrays)) == ["warning"]
    older = {k: v for k, v in json.loads(text).items() if k != "split"} | {"trained": False, "worst": ["c1"]}
    assert said(unpack(OddDays, json.dumps(older), arrays)) == ["unknown"]


def test_what_cannot_be_said_has_a_reason(
    scorer: DayScorer, small_dataset: Dataset, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    encoder = tiny_encoder(tmp_path_factory, small_dataset)
    plain = PLEClusterAdaTT(tiny_config(), random_context()).eval()
    with pytest.raises(UserError, match="no pre-trained encoder"):
        day_scorer(run_of(tiny_dataset), plain)
    for mode in ("finetune", "lora"):
        with pytest.raises(UserError, match=rf"trained on with the tasks \({mode}\)"):
            day_scorer(run_of(tiny_dataset), model_with(encoder, mode, tiny_dataset))
    with pytest.raises(UserError, match="validation customers with days to hold others against, it takes 100"):
        day_scorer(run_of(small_dataset), model_with(encoder, "frozen", small_dataset))
    reason = OddDays(reason="The run has no pre-trained encoder: `ple train --encoder RUN_ENCODER` gives it one.")
    few = OddDays(
        sequence="txn_seq", split="validation", reference=900, rank=892, groups=(OddGroup("2025-05-01", "active", 40, 40),)
    )
    assert said(reason) == said(few) == ["unknown"]
    without = next(tiny_dataset.batches("test", 8, fields=("features",))).inputs
    assert np.isnan(scorer.columns(without)["anomaly"]).all()
