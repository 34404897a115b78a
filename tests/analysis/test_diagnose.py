"""Recording, storing and querying a real (tiny) run: the store agrees with the statistics, and a cohort with its own rows."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import CohortFilter, Diagnosis, Thresholds, diagnose, load_diagnosis
from analysis.compare import compare
from analysis.record import record
from analysis.replicates import profile
from analysis.report import MAX_BYTES, to_html, to_json, to_markdown
from analysis.stats.base import pack
from analysis.store import AnalysisStore, stored
from ple_model.cli import main
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import read_tensors, write_tensors
from ple_model.numerals import statistic
from ple_model.run import Run, load_run
from tests.factories import without

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the tiny run, so that what is stored here stays here; it was measured when it was made."""
    return load_run(Path(shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("diagnose") / "run")))


@pytest.fixture(scope="module")
def found(run: Run) -> Diagnosis:
    return diagnose(run)


@pytest.fixture
def starved(run: Run, tiny_dataset: Dataset, tmp_path: Path) -> Dataset:
    """The same customers without app sessions and collaborative features."""
    batch = tiny_dataset.load(None)
    inputs = without(batch.inputs, ("session_seq", "collaborative_features", "features:insurance"))
    return write_dataset(tmp_path / "starved", [replace(batch, inputs=inputs)], context=tiny_dataset.context(), name="starved")


def test_what_a_killed_measurement_left_is_swept_by_the_next(tiny_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(tiny_run.path, path, ignore=shutil.ignore_patterns("analysis"))
    words = [sys.executable, "-m", "ple_model", "diagnose", str(path)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while process.poll() is None and not (left := list((path / "analysis").glob(".*.new"))):
            time.sleep(0.005)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert [p.exists() for p in left] == [True]
    other = path / "analysis" / ".alive.of.new"
    other.mkdir()
    held = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)  # a measurement that is under way
        diagnose(path)
    finally:
        os.close(held)
    assert [p.name for p in (path / "analysis").glob(".*.new")] == [other.name]
    assert load_diagnosis(path) is not None


def test_every_row_of_the_sample_is_measured(run: Run, found: Diagnosis) -> None:
    assert found.statistics.n == run.sample().rows() == found.store.n == found.store.count()


def test_the_statistics_do_not_depend_on_the_batch_size(
    run: Run, found: Diagnosis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.recording.passing.BATCH", 97)
    shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))  # nothing to read back
    other = record(tmp_path / "run").statistics
    _, a = pack(found.statistics.experts)
    _, b = pack(other.experts)
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.statistics.gates.mean, other.gates.mean, atol=1e-5)  # type: ignore[union-attr]


def test_a_second_diagnosis_reads_what_is_stored(run: Run, found: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ple_model.run.Run.model", lambda *_: pytest.fail("measured again"))
    again = diagnose(run)
    assert again.store.fingerprint == found.store.fingerprint
    assert again.findings == found.findings


def test_other_thresholds_change_findings_without_measuring(
    run: Run, found: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ple_model.run.Run.model", lambda *_: pytest.fail("measured again"))
    strict = diagnose(run, thresholds=Thresholds(redundant_cka=-1.0))
    assert any(f.id == "EXP-REDUNDANT" and f.alarm for f in strict.findings)


def test_loading_a_stored_diagnosis_needs_no_torch(run: Run, found: Diagnosis) -> None:
    code = (
        "import sys\nfrom analysis import load_diagnosis\n"
        f"d = load_diagnosis({str(run.path)!r})\nassert d is not None and d.store.cohort().n == {found.statistics.n}\n"
        "assert 'torch' not in sys.modules and 'plotly' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_without_analysis_has_no_stored_diagnosis(tmp_path: Path) -> None:
    assert load_diagnosis(tmp_path) is None


def test_the_whole_cohort_agrees_with_the_recorded_statistics(found: Diagnosis) -> None:
    c, s = found.store.cohort((CohortFilter("row", "ge", (0.0,)),)), found.statistics
    recorded = found.store.cohort()
    assert recorded.n == c.n == s.n
    assert recorded.uncertainty["nba"][0] == pytest.approx(c.uncertainty["nba"][0], rel=1e-5)
    assert recorded.transfer == pytest.approx(c.transfer, rel=1e-4)
    assert s.gates is not None
    assert s.experts is not None
    assert s.hmm is not None
    np.testing.assert_allclose(c.gates.mean, s.gates.mean, atol=1e-5)
    np.testing.assert_allclose(c.gates.mean_entropy, s.gates.mean_entropy, atol=1e-4)
    np.testing.assert_allclose(c.gates.top, s.gates.top)
    np.testing.assert_allclose(c.gates.dilution, s.gates.dilution, atol=1e-6)
    np.testing.assert_allclose(c.norm_mean, s.experts.norm_mean, rtol=1e-4)
    np.testing.assert_allclose(c.fallback_share, s.experts.fallback_share, atol=1e-9)
    np.testing.assert_allclose(list(c.hmm_default.values()), s.hmm.default_rate)


def test_two_disjoint_cohorts_make_the_whole(found: Diagnosis) -> None:
    warm = found.store.cohort((CohortFilter("segment", "eq", ("warm_start",)),))
    rest = found.store.cohort((CohortFilter("segment", "ne", ("warm_start",)),))
    assert warm.n + rest.n == found.statistics.n
    assert 0 < warm.n < found.statistics.n
    np.testing.assert_allclose((warm.gates + rest.gates).mean, found.store.cohort().gates.mean, atol=1e-5)


def test_an_empty_cohort_is_not_enough_and_not_zero(found: Diagnosis) -> None:
    none = found.store.cohort((CohortFilter("raw:spend_28d", "lt", (-1.0,)),))
    assert none.n == 0
    assert not none.enough
    assert np.isnan(none.gates.mean).all()
    assert np.isnan(none.norm_mean).all()


def test_an_unknown_column_names_the_nearest(found: Diagnosis) -> None:
    with pytest.raises(UserError, match="did you mean 'segment'"):
        found.store.cohort((CohortFilter("segmnt", "eq", ("x",)),))


def test_a_value_of_the_wrong_type_is_one_sentence(found: Diagnosis) -> None:
    with pytest.raises(UserError, match="does not fit"):
        found.store.count((CohortFilter("cluster", "eq", ("many",)),))


def test_a_histogram_counts_every_row_of_the_cohort(found: Diagnosis) -> None:
    edges, counts = found.store.histogram("p:ctr", (CohortFilter("split", "eq", ("test",)),), bins=7)
    assert len(edges) == 8
    assert counts.sum() == found.store.count((CohortFilter("split", "eq", ("test",)),))


def test_group_means_have_one_row_a_group(found: Diagnosis) -> None:
    groups, n, means = found.store.group_mean(["n:temporal", "d:journey"], "raw:region")
    assert sorted(groups) == ["north", "south", "west"]
    assert n.sum() == found.statistics.n
    assert means.shape == (3, 2)


def test_sampled_rows_are_the_same_for_a_seed(found: Diagnosis) -> None:
    a = found.store.rows(["row", "p:ctr"], limit=10, seed=3)
    b = found.store.rows(["row", "p:ctr"], limit=10, seed=3)
    other = found.store.rows(["row", "p:ctr"], limit=10, seed=4)
    assert a["row"].tolist() == b["row"].tolist() != other["row"].tolist()


def test_vectors_belong_to_their_rows(run: Run, found: Diagnosis) -> None:
    v = found.store.vectors
    with torch.no_grad():
        outputs = run.model().encode(run.sample().load(None).inputs).expert_outputs
    expected = torch.cat(list(outputs.values()), 1).numpy()
    np.testing.assert_allclose(v["experts"].astype(float), expected[v["row"]], atol=2e-3, rtol=2e-3)


def test_predictions_and_labels_are_in_units_that_people_read(run: Run, found: Diagnosis) -> None:
    batch = run.sample().load(None)
    rows = found.store.rows(["row", "y:ltv", "p:ltv"], limit=10_000)
    label = batch.inputs.targets["ltv"].numpy()[rows["row"]]  # type: ignore[index]
    np.testing.assert_allclose(rows["y:ltv"], np.expm1(label), rtol=1e-4)
    assert np.isnan(rows["y:ltv"]).any()


def test_a_missing_field_is_named_with_its_share_and_not_called_dead(run: Run, starved: Dataset) -> None:
    d = diagnose(run, starved)
    subjects = {f.subject: f for f in d.of("EXP-ZERO-INPUT") if f.alarm}
    assert subjects["temporal.session_seq"].severity == "warning"
    assert "100%" in subjects["temporal.session_seq"].verdict
    assert subjects["lightgcn.collaborative_features"].severity == "error"
    assert not [f for f in d.of("EXP-DEAD") if f.alarm]
    assert {f.subject for f in d.of("DATA-EMPTY-FEED") if f.alarm} == {"features:insurance"}


def test_a_dead_expert_is_told_from_a_starved_one(run: Run, tmp_path: Path) -> None:
    from ple_model.files import write_tensors

    model = run.model()
    with torch.no_grad():
        for p in model.experts["lightgcn"].parameters():
            p.zero_()
    shutil.copytree(run.path, tmp_path / "dead", ignore=shutil.ignore_patterns("analysis"))
    write_tensors(tmp_path / "dead" / "model.safetensors", model.state_dict())
    d = diagnose(tmp_path / "dead")
    assert [f.subject for f in d.of("EXP-DEAD") if f.alarm] == ["lightgcn"]
    assert not [f for f in d.of("EXP-ZERO-INPUT") if f.alarm]


def test_a_sample_is_bounded_and_seeded_and_progress_rises_to_one(run: Run) -> None:
    seen: list[float] = []
    small = diagnose(run, sample=120, seed=1, progress=lambda share, what: seen.append(share))
    assert small.statistics.n == 120
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert (
        small.store.rows(["row"], limit=200)["row"].tolist()
        != diagnose(run, sample=120, seed=2).store.rows(["row"])["row"].tolist()
    )


def test_a_stopped_pass_leaves_nothing_behind(run: Run) -> None:
    before = sorted(p.name for p in (run.path / "analysis").iterdir())

    def stop(share: float, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diagnose(run, seed=99, progress=stop)
    assert sorted(p.name for p in (run.path / "analysis").iterdir()) == before


def test_a_damaged_store_is_passed_over_and_rebuilt(run: Run, found: Diagnosis) -> None:
    copy = run.path / "analysis" / "feedfacefeedface"
    shutil.copytree(found.store.path, copy)
    (copy / "meta.json").write_text("{", encoding="utf-8")
    assert all(s.path != copy for s in stored(run.path))
    with pytest.raises(UserError, match="ple diagnose"):
        AnalysisStore(copy)
    shutil.rmtree(copy)


def test_the_store_holds_no_pickle_and_no_path(found: Diagnosis) -> None:
    for name in ("stats.npz", "vectors.npz"):
        with np.load(found.store.path / name, allow_pickle=False) as z:
            assert all(z[k].dtype.kind != "O" for k in z.files)
    text = (found.store.path / "stats.json").read_text() + (found.store.path / "meta.json").read_text()
    assert str(found.run.parent) not in text


def test_the_report_opens_offline_and_stays_small(found: Diagnosis) -> None:
    page = to_html(found)
    assert len(page.encode()) <= MAX_BYTES
    assert page.count("<!doctype html>") == 1
    assert 'src="http' not in page
    assert page.count("plotly.js v") == 1
    assert found.findings[0].id in page
    assert json.loads(to_json(found))["findings"][0]["id"] == found.findings[0].id
    assert to_markdown(found).startswith("# ")
    test = found.statistics.performance["test"]
    assert f"<p>test: {test.rows} rows of {test.customers} customers</p>" in page
    said = json.loads(to_json(found))["performance"]["test"]["tasks"]["churn"]
    assert said["metrics"]["auc"] == test.tasks["churn"].metrics["auc"]
    assert f"auc {statistic(said['metrics']['auc'])} (0.5)" in page


@pytest.fixture
def quiet(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


def test_ple_diagnose_prints_json_and_says_by_its_exit_code_whether_something_is_wrong(
    run: Run, found: Diagnosis, quiet: pytest.CaptureFixture[str]
) -> None:
    code = main(["diagnose", str(run.path), "--json"])
    printed = json.loads(quiet.readouterr().out)
    assert code == (1 if found.alarms else 0)
    assert {"id", "severity", "subject", "verdict", "evidence", "cause", "fix"} <= set(printed["findings"][0])


def test_ple_diagnose_says_the_verdict_and_why_it_ends_with_1(
    run: Run, starved: Dataset, quiet: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(run.path), "--dataset", str(starved.path)]) == 1
    said = quiet.readouterr()
    assert "exit code 1 says that there are some" in said.err
    assert said.out.splitlines()[0].startswith(f"{run.path.name}: ")
    assert "more finding" in said.out
    with pytest.raises(SystemExit):
        main(["diagnose", "--help"])
    assert "exit code: 0 without" in quiet.readouterr().out


def test_ple_diagnose_compares_as_the_pages_do(
    run: Run, found: Diagnosis, tmp_path: Path, quiet: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "other", ignore=shutil.ignore_patterns("analysis", "state"))
    file = tmp_path / "other" / "model.safetensors"
    stored, meta = read_tensors(file)
    for name, value in stored.items():
        if name.startswith("experts.temporal."):
            value.mul_(0.5)
    write_tensors(file, stored, meta)
    main(["diagnose", str(run.path), "--compare", str(tmp_path / "other"), "--json"])
    said = json.loads(quiet.readouterr().out)["compare"]
    theirs = diagnose(tmp_path / "other")
    shown = compare(profile(found.store, "experts"), profile(theirs.store, "experts")).shown
    assert [(r["subject"], r["measure"]) for r in said["areas"]["experts"]["differs"]] == [
        (r.key.subject, r.key.measure) for r in shown
    ]
    assert "temporal" in {r["subject"] for r in said["areas"]["experts"]["differs"]}
    assert said["areas"]["training"]["differs"] == said["config"] == []
    main(["diagnose", str(run.path), "--compare", str(tmp_path / "other")])
    text = quiet.readouterr().out
    assert "Against other:" in text
    assert "temporal norm" in text


def test_ple_diagnose_reports_a_fault_with_exit_code_one(run: Run, starved: Dataset) -> None:
    assert main(["diagnose", str(run.path), "--dataset", str(starved.path)]) == 1


def test_ple_diagnose_rejects_what_it_cannot_use(run: Run, tmp_path: Path, quiet: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path)]) == 2
    assert main(["diagnose", str(run.path), "--sample", "0"]) == 2
    (tmp_path / "t.json").write_text('{"gate_colapse": 1}')
    assert main(["diagnose", str(run.path), "--thresholds", str(tmp_path / "t.json")]) == 2
    assert "did you mean 'gate_collapse'" in quiet.readouterr().err


def test_a_batch_keeps_its_rows_aligned_with_its_keys(tiny_dataset: Dataset) -> None:
    batch = tiny_dataset.load(None)
    assert isinstance(batch, Batch)
    assert tiny_dataset.table(["customer_id"]).column("customer_id").to_pylist() == batch.customer_id
