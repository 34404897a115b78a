"""Scoring from raw events: the same numbers as from the dataset, from a run folder alone, in one complete file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from analysis import explain
from ple_model.cli import main
from ple_model.data.build.build import BuildSettings, build
from ple_model.data.build.spine import SplitSettings
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.buckets import write_buckets
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.predict import predict, score_to_parquet
from ple_model.run import Run, load_run
from ple_model.score_file import ScoreFile
from ple_model.sequences import scoring
from ple_model.sequences.anomaly import anomaly_scores
from ple_model.sequences.config import PretrainConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderManifest, EncoderRun, load_encoder, write_encoder, write_encoder_config
from ple_model.sequences.scoring import anomaly_scorer
from ple_model.storage.url import EXTRAS
from ple_model.tasks import OFFERS, SPENDING_CATEGORIES, TASKS
from ple_model.train import train
from tests.fakes import tiny_config
from tests.in_process import InProcess
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

pytestmark = pytest.mark.slow

PEOPLE = 160


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("bank") / "events", tables(PEOPLE))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The events of five of the customers, and all merchants."""
    frames = tables(PEOPLE)
    ids = sorted(frames["customers"]["customer_id"])[10:15]
    alone = {k: f[f["customer_id"].isin(ids)] if "customer_id" in f else f for k, f in frames.items()}
    return write_events(tmp_path_factory.mktemp("few") / "events", alone)


@pytest.fixture(scope="module")
def dataset(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    settings = BuildSettings(SplitSettings(train=0.5, validation=0.3), workers=1)
    return build(events, tmp_path_factory.mktemp("bank") / "dataset", settings=settings)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of every task there is, without its dataset's place: what can be sent to somebody else."""
    folder = tmp_path_factory.mktemp("runs") / "bank"
    all_tasks = {"task_experts": {"enabled_tasks": list(TASKS)}}
    short = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 1}, **all_tasks})
    train(dataset, folder, short, preset="small", device="cpu")
    shutil.rmtree(folder / "state")
    return load_run(folder)


@pytest.fixture(scope="module")
def scored(run: Run, events: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ScoreFile, pd.DataFrame]:
    out = tmp_path_factory.mktemp("scores") / "all.parquet"
    found = predict(run, events, out, CUTOFFS[-1:], workers=1, top=4)
    return found, pd.read_parquet(out)


def test_a_customer_gets_the_same_predictions_as_from_the_dataset(
    run: Run, dataset: Dataset, scored: tuple[ScoreFile, pd.DataFrame]
) -> None:
    batch = dataset.load("test")
    model = run.model()
    with torch.no_grad():
        output = model(batch.inputs)
    rows = scored[1].set_index("customer_id").loc[batch.customer_id]
    assert set(batch.cutoff) == {CUTOFFS[-1]}
    for task, spec in model.tasks.items():
        value, there = output.predictions[task], batch.inputs.defined(task).numpy()
        assert (rows[task].notna() == there).all()
        if spec.kind == "binary":
            np.testing.assert_allclose(rows[task][there], run.calibration[task](value.numpy())[there], atol=1e-5)
        elif spec.kind == "regression":
            mine, own = np.stack(rows[task][there].tolist()), model.to_units(task, value).numpy()[there]
            np.testing.assert_allclose(mine, own, rtol=1e-4, atol=1e-4)
        elif spec.kind == "multiclass":
            np.testing.assert_allclose(rows[f"{task}_p"][there], value.max(1).values.numpy()[there], atol=1e-5)
        if task in output.evidential:
            each = output.evidential[task].uncertainty.numpy()[there]
            mine, own = (
                rows[f"{task}_uncertainty"][there],
                each.reshape(len(each), -1).mean(1),
            )
            np.testing.assert_allclose(mine, own, rtol=1e-3, atol=1e-5)


def test_a_few_customers_alone_get_what_they_get_among_all(
    run: Run, few: Path, scored: tuple[ScoreFile, pd.DataFrame], tmp_path: Path
) -> None:
    predict(run, few, tmp_path / "few.parquet", CUTOFFS[-1:], workers=1, top=4)
    mine = pd.read_parquet(tmp_path / "few.parquet").set_index("customer_id")
    everyone = scored[1].set_index("customer_id").loc[mine.index]
    assert len(mine) == 5
    for task in ("churn", "ltv", "nba_p", "nba_uncertainty"):
        np.testing.assert_allclose(mine[task], everyone[task], rtol=1e-4, atol=1e-5, equal_nan=True)


def test_each_row_has_probabilities_names_and_the_asked_number_of_offers(
    scored: tuple[ScoreFile, pd.DataFrame],
) -> None:
    found, rows = scored
    assert found.rows == len(rows) == rows["customer_id"].nunique() == found.customers
    assert rows["churn"].dropna().between(0, 1).all()
    assert (rows["ltv"].dropna() > -1).all()
    rows = rows[rows["segment"] != "dormant"]
    assert set(rows["nba"]) <= set(OFFERS)
    for offers, p, best in zip(rows["offers"], rows["offers_p"], rows["nba"], strict=True):
        assert len(set(offers)) == len(p) == 4
        assert list(p) == sorted(p, reverse=True)
        assert offers[0] == best


def test_a_median_of_amounts_is_never_above_their_mean(scored: tuple[ScoreFile, pd.DataFrame]) -> None:
    found = scored[1]
    amounts = [c.removesuffix("_median") for c in found.columns if c.endswith("_median")]
    assert amounts
    for task in amounts:
        known = found[task].notna()
        assert known.any()
        assert (found[f"{task}_median"][known] <= found[task][known]).all()


def test_a_mark_means_more_uncertain_than_the_stored_validation_quantile(
    run: Run, scored: tuple[ScoreFile, pd.DataFrame]
) -> None:
    found, rows = scored
    stored = json.loads((run.preprocess / "uncertainty.json").read_text())
    assert "stored" in found.thresholds_from
    assert found.thresholds["churn"] == pytest.approx(stored["churn"]["values"][95])
    scored = rows[rows["churn"].notna()]
    assert 0 < found.scored["churn"] == len(scored) < len(rows)  # a row without a score is marked, but above no threshold
    assert found.fallback["churn"] == pytest.approx(scored["churn_fallback"].mean())
    rows = rows[rows["churn_reason"].isna() & rows["fallback_reason"].isna()]
    marked = rows["churn_fallback"]
    assert marked.any()
    assert (rows.loc[marked, "churn_uncertainty"] > found.thresholds["churn"]).all()
    assert (rows.loc[~marked, "churn_uncertainty"] <= found.thresholds["churn"] * (1 + 1e-6)).all()


def test_outside_its_condition_a_task_has_no_score_but_a_reason_and_a_mark(scored: tuple[ScoreFile, pd.DataFrame]) -> None:
    found, rows = scored
    silent = rows.set_index("customer_id").loc["c000"]  # joined long ago, never active
    assert silent["segment"] == "dormant"
    assert silent["fallback_reason"].startswith("dormant: no purchase")
    for task in (
        "churn",
        "timing",
        "consumption_cycle",
        "spending_category",
        "brand_prediction",
        "merchant_affinity",
        "channel",
    ):
        assert silent[[c for c in (task, f"{task}_p", f"{task}_uncertainty") if c in rows]].isna().all()
        assert silent[f"{task}_fallback"]
        assert silent[f"{task}_reason"] == TASKS[task].condition.unmet()
    for task in ("ltv", "retention", "nba"):  # defined for everyone, but training had hardly anybody like this
        assert pd.isna(silent[task])
        assert silent[f"{task}_fallback"]
        assert "such rows, fewer than 20" in silent[f"{task}_reason"]
    assert silent["offers"] is None
    empty = int(rows["churn"].isna().sum())
    assert 0 < empty < len(rows)
    assert f"churn: left empty in {empty:,} of {len(rows):,} rows, it is for customers active in the 28 days" in str(found)
    assert "dormant and marked as a fallback for every task" in str(found)


def test_buckets_are_scored_one_by_one_and_give_the_same_file(
    run: Run, events: Path, scored: tuple[ScoreFile, pd.DataFrame], tmp_path: Path
) -> None:
    write_buckets(events, tmp_path / "buckets", 3)
    out, engine = tmp_path / "scores.parquet", InProcess()
    found = predict(run, tmp_path / "buckets", out, CUTOFFS[-1:], top=4, engine=engine)
    assert engine.ran == [("score_shard", k) for k in ("002", "001", "000")]
    whole, rows = scored
    mine = pd.read_parquet(out).set_index("customer_id").loc[rows["customer_id"]].reset_index()
    for name in rows.columns:
        if rows[name].dtype.kind == "f":
            np.testing.assert_allclose(mine[name], rows[name], rtol=1e-4, atol=1e-5, err_msg=name)
        elif name == "offers_p" or rows[name].map(lambda v: isinstance(v, np.ndarray) and v.dtype.kind == "f").any():
            there = rows[name].notna()
            np.testing.assert_array_equal(mine[name].notna(), there, err_msg=name)
            np.testing.assert_allclose(np.stack(mine[name][there]), np.stack(rows[name][there]), rtol=1e-4, atol=1e-5)
        else:
            assert [str(v) for v in mine[name]] == [str(v) for v in rows[name]], name
    assert (found.rows, found.customers, found.cutoffs, found.tasks) == (
        whole.rows, whole.customers, whole.cutoffs, whole.tasks,
    )  # fmt: skip
    assert found.scored == whole.scored
    assert set(found.notes) == set(whole.notes)
    assert pq.read_schema(out).metadata == pq.read_schema(whole.path).metadata
    assert sorted(p.name for p in tmp_path.iterdir()) == ["buckets", "scores.parquet"]


def test_a_score_that_lost_a_bucket_goes_on_with_the_rest(run: Run, few: Path, tmp_path: Path) -> None:
    write_buckets(few, tmp_path / "buckets", 2)
    out = tmp_path / "scores.parquet"
    with pytest.raises(UserError, match="shard 000: lost"):
        predict(run, tmp_path / "buckets", out, CUTOFFS[-1:], engine=InProcess(fails="score_shard 000"))
    assert not out.exists()
    engine = InProcess()
    assert predict(run, tmp_path / "buckets", out, CUTOFFS[-1:], engine=engine).customers == 5
    assert engine.ran == [("score_shard", "000")]


def test_buckets_are_scored_by_processes_too(run: Run, few: Path, tmp_path: Path) -> None:
    write_buckets(few, tmp_path / "buckets", 2)
    for engine, name in ((None, "processes"), (InProcess(), "here")):
        predict(run, tmp_path / "buckets", tmp_path / f"{name}.parquet", CUTOFFS[-1:], workers=2, engine=engine)
    assert (tmp_path / "processes.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()


def test_dormant_customers_are_scored_where_training_knew_enough_of_them(
    run: Run, events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ple_model.score_run.MIN_DORMANT", 0)
    predict(run, events, tmp_path / "scores.parquet", CUTOFFS[-1:], workers=1)
    rows = pd.read_parquet(tmp_path / "scores.parquet")
    silent = rows[rows["segment"] == "dormant"]
    assert len(silent)
    assert silent["ltv"].notna().all()
    assert silent["ltv_fallback"].all()
    assert silent["ltv_reason"].isna().all()


def test_uplift_goes_the_whole_way_from_events_to_labels_scores_and_reasons(
    run: Run, dataset: Dataset, scored: tuple[ScoreFile, pd.DataFrame]
) -> None:
    measured = {t.task: t for t in evaluate(run, dataset, bootstrap_rounds=5, boosting=False).tasks}
    rows = scored[1]
    for task in ("uplift", "category_uplift"):
        assert run.context().learned(task)
        assert np.isfinite(measured[task].metrics["rmse"])
        defined = rows[f"{task}_reason"].isna()
        assert 0 < defined.sum() < len(rows)
        assert (rows[task].notna() == defined).all()
        assert TASKS[task].condition.unmet() in set(rows[f"{task}_reason"].dropna())
    wide = np.stack(rows["category_uplift"].dropna().tolist())
    assert wide.shape[1] == len(SPENDING_CATEGORIES)
    assert np.isfinite(wide).all()
    there = dataset.table(["customer_id", "y_uplift"], "test").to_pandas()
    who = there["customer_id"][np.isfinite(there["y_uplift"])].iloc[0]
    found = explain(run, who, "category_uplift", dataset=dataset, target=SPENDING_CATEGORIES.index("travel"))
    assert (found.target_name, found.unit) == ("travel", "log ratio")
    assert np.isfinite(explain(run, who, "uplift", dataset=dataset).prediction)


def test_the_file_says_which_run_and_thresholds_it_comes_from(scored: tuple[ScoreFile, pd.DataFrame]) -> None:
    about = json.loads(pq.read_schema(scored[0].path).metadata[b"ple"])
    assert about["run"] == "bank"
    assert about["thresholds"] == scored[0].thresholds


def test_an_older_run_takes_its_thresholds_from_its_sample_and_says_so(
    run: Run, few: Path, scored: tuple[ScoreFile, pd.DataFrame], tmp_path: Path
) -> None:
    shutil.copytree(run.path, tmp_path / "old")
    (tmp_path / "old" / "preprocess" / "uncertainty.json").unlink()
    found = predict(load_run(tmp_path / "old"), few, tmp_path / "out.parquet", CUTOFFS[-1:], workers=1)
    assert "computed from the sample" in found.thresholds_from
    assert found.thresholds["churn"] == pytest.approx(scored[0].thresholds["churn"], rel=1e-4)


def test_a_run_on_a_ready_feature_table_says_that_it_cannot_read_events(tiny_run: Run, events: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was not built from events"):
        predict(tiny_run, events, tmp_path / "out.parquet")


def test_a_task_without_labels_in_training_keeps_its_columns_empty(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    model = run.model()
    known = {t: v for t, v in model.context.constant_loss.items() if t not in ("nba", "ctr")}
    model.context = replace(model.context, constant_loss=known)
    found = score_to_parquet(run, model, dataset, tmp_path / "out.parquet")
    scores = pd.read_parquet(tmp_path / "out.parquet")
    silent = ["ctr", "ctr_uncertainty", "nba", "nba_p", "nba_uncertainty", "offers", "offers_p"]
    assert scores[silent].isna().all().all()
    assert scores.loc[scores["segment"] != "dormant", ["cvr", "ltv"]].notna().all().all()
    assert set(scores["nba_reason"]) == {"no label in training"}
    for task in ("churn", "spending_category"):
        assert (scores[task].notna() == scores[f"{task}_reason"].isna()).all()
    assert not {"ctr", "nba"} & {*found.thresholds, *found.tasks, *found.calibrated}
    assert "left empty, for want of labels in training: ctr, nba, and offers" in str(found)


def test_impossible_numbers_and_dates_are_one_sentence_and_leave_nothing(run: Run, events: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--top: 0"):
        predict(run, events, tmp_path / "out.parquet", top=0)
    with pytest.raises(UserError, match=r"--fallback-share: 1\.5"):
        predict(run, events, tmp_path / "out.parquet", fallback_share=1.5)
    with pytest.raises(UserError, match="is not a date"):
        predict(run, events, tmp_path / "out.parquet", ["tomorrow"])
    assert list(tmp_path.iterdir()) == []


def test_the_command_reports_as_json(run: Run, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores" / "out.parquet"
    words = ["predict", str(run.path), str(few), str(out), "--cutoff", CUTOFFS[-1], "--workers", "1", "--quiet", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == pq.read_metadata(out).num_rows
    assert [p.name for p in out.parent.iterdir()] == ["out.parquet"]


def test_a_dataset_built_like_a_run_is_on_the_runs_scale_and_fits_nothing(run: Run, few: Path, tmp_path: Path) -> None:
    words = ["build", str(few), str(tmp_path / "new"), "--like", str(run.path), "--cutoff", CUTOFFS[-1], "--workers", "1"]
    assert main(words) == 0
    new = Dataset.open(tmp_path / "new")
    assert new.manifest.splits == {"train": 0, "validation": 0, "test": 5}
    np.testing.assert_array_equal(new.normalizer().centre, Normalizer.load(run.preprocess).centre)


def test_an_encoder_run_ranks_the_last_days_among_the_validation_customers(
    run: Run, few: Path, scored: tuple[ScoreFile, pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(scoring, "LEAST_ROWS", 5)
    encoder = encoder_run(tmp_path / "encoder", run.manifest.data.fingerprint)
    found = predict(run, few, tmp_path / "out.parquet", CUTOFFS[-1:], workers=1, encoder=encoder.path)
    rows = pd.read_parquet(tmp_path / "out.parquet")
    known = rows["anomaly"].dropna()
    assert len(known)
    write_buckets(few, tmp_path / "buckets", 2)
    buckets = predict(run, tmp_path / "buckets", tmp_path / "d.parquet", CUTOFFS[-1:], encoder=encoder.path, engine=InProcess())
    assert buckets.unusual == found.unusual
    mine = pd.read_parquet(tmp_path / "d.parquet").set_index("customer_id").loc[rows["customer_id"], "anomaly"]
    np.testing.assert_allclose(mine, rows["anomaly"], atol=1e-3)
    assert known.between(0, 100).all()
    assert found.unusual == pytest.approx((rows["anomaly"] > 99).sum() / len(rows))
    assert not any("another dataset" in n for n in found.notes)
    scorer = anomaly_scorer(run, encoder)
    held = [
        anomaly_scores(scorer.encoder, s, scorer.scale) for s in scoring.latest_series(run.sample(), "validation", "txn_seq")
    ]
    ranked = scorer.scale.percentile(np.concatenate(held))
    assert np.nanmean(ranked) == pytest.approx(50.0, abs=1e-3)  # percentiles of those who were ranked themselves
    assert len(ranked) == len(set(run.sample().table(["customer_id"], "validation")["customer_id"].to_pylist()))  # each once
    assert any(f"among {scorer.n} validation customers" in n for n in found.notes)
    other = encoder_run(tmp_path / "other", "0" * 64)
    assert main(["predict", str(run.path), str(few), str(tmp_path / "b.parquet"), "--encoder", str(other.path), "--quiet"]) == 0
    assert "another dataset" in capsys.readouterr().out
    assert main(["predict", str(run.path), str(few), str(tmp_path / "c.parquet"), "--encoder", str(run.path)]) == 2
    assert not (tmp_path / "c.parquet").exists()
    assert "anomaly" not in scored[1].columns


def test_who_cannot_be_ranked_gets_no_percentile(run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_run(tmp_path / "encoder", run.manifest.data.fingerprint)
    monkeypatch.setattr(scoring, "LEAST_ROWS", 10**6)
    found = predict(run, few, tmp_path / "out.parquet", CUTOFFS[-1:], workers=1, encoder=encoder.path)
    assert pd.read_parquet(tmp_path / "out.parquet")["anomaly"].isna().all()
    assert found.unusual is None
    assert any("anomaly is left empty" in n for n in found.notes)
    held = scoring._with_days(run.sample(), "validation", "txn_seq")
    monkeypatch.setattr(scoring, "LEAST_ROWS", held + 1)
    assert any("training customers of the run's sample" in n for n in anomaly_scorer(run, encoder).notes)
    untaught = encoder_run(tmp_path / "untaught", run.manifest.data.fingerprint, objective="contrastive")
    with pytest.raises(UserError, match="needs masked or both"):
        anomaly_scorer(run, untaught)


def encoder_run(folder: Path, fingerprint: str, objective: str = "masked") -> EncoderRun:
    """A finished encoder run of a tiny untrained encoder."""
    folder.mkdir()
    shape = {"width": 4, "layers": 1, "heads": 2, "patch": 30, "stride": 30}
    config = PretrainConfig.from_dict({"encoder": {**shape, "objective": objective}})
    torch.manual_seed(0)
    write_encoder(folder, SequenceEncoder(config.encoder, 16, 180).state_dict())
    write_encoder_config(folder, config)
    EncoderManifest(
        status="finished",
        created="2024-01-01T00:00:00+00:00",
        channels=16,
        length=180,
        dataset="a bank",
        fingerprint=fingerprint,
    ).save(folder)
    return load_encoder(folder)


def test_a_run_scores_events_by_url_into_a_url(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = pytest.importorskip(
        "fsspec.implementations.memory", reason="places by URL need fsspec, an extra"
    ).MemoryFileSystem()
    monkeypatch.setenv("PLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(EXTRAS, "memory", None)  # a place in tests alone
    here, scores = tmp_path / "here.parquet", "memory://bank/scores.parquet"
    predict(run, few, here, CUTOFFS[-1:], workers=1)
    for folder in (run.path, few):
        assert main(["copy", str(folder), f"memory://bank/{folder.name}"]) == 0
    capsys.readouterr()
    words = ["predict", f"memory://bank/{run.path.name}", "memory://bank/events", scores, "--cutoff", CUTOFFS[-1], "--json"]
    assert main([*words, "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == scores
    (tmp_path / "there.parquet").write_bytes(store.cat_file("/bank/scores.parquet"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "there.parquet"), pd.read_parquet(here))
    assert [n for n in store.store if "scores" in n] == ["/bank/scores.parquet"]
    store.store.clear()
