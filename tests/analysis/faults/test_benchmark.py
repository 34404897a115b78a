"""A few faults end to end, planted in the session's tiny run: the real pipeline from the edited folder to the score."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from analysis.checks import run_checks
from analysis.checks.finding import Finding
from analysis.faults import base, measuring
from analysis.faults import bench as benchmark
from analysis.faults.base import Bench
from analysis.faults.bench import Request, planted, run_benchmark
from analysis.faults.fault import Expect, Level, Plant, PlantedFault, faults
from analysis.faults.feeds import cut_feed
from analysis.faults.measuring import confirmed, findings_of
from analysis.faults.planter import Healthy, Planter, built_wrong
from analysis.faults.score import BenchmarkScore, Case
from analysis.record import record
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run, load_run
from tests.fakes import tiny_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def material(tiny_run: Run, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    path = tmp_path_factory.mktemp("faults") / "healthy"
    shutil.copytree(tiny_run.path, path, ignore=shutil.ignore_patterns("analysis"))
    return Bench(0, load_run(path), load_run(path), tiny_dataset)


@pytest.fixture(scope="module")
def healthy(material: Bench) -> Healthy:
    """What the healthy runs say; here both are the same run, which is measured once."""
    with pytest.MonkeyPatch.context() as patch:
        once = cache(lambda path: findings_of(load_run(path)))
        patch.setattr(benchmark, "findings_of", lambda run: once(run.path))
        return Healthy.of(material)


@pytest.fixture(scope="module")
def planter(material: Bench, healthy: Healthy, tmp_path_factory: pytest.TempPathFactory) -> Planter:
    return Planter(material, tmp_path_factory.mktemp("cases"), healthy)


def case(planter: Planter, name: str) -> Case:
    fault = faults()[name]
    return planter.case(fault, fault.levels[0], fixes=False)


@pytest.mark.parametrize("name", ["feed-collaborative", "fitted-on-own-rows", "expert-dead", "sae-dead", "nan-brands"])
def test_a_fault_in_rows_or_weights_is_named_by_its_check(planter: Planter, name: str) -> None:
    found = case(planter, name)
    assert found.found
    assert found.error is None


def test_a_fault_that_breaks_the_diagnosis_is_a_miss_and_not_the_end(planter: Planter, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OverflowError("math range error")

    monkeypatch.setattr(Planter, "_edited", broken)
    found = case(planter, "feed-collaborative")
    assert found.error == "OverflowError: math range error"
    assert not found.found


def test_planting_leaves_the_healthy_run_as_it_was(planter: Planter, material: Bench) -> None:
    before = {p: p.read_bytes() for p in sorted(material.run.path.rglob("*")) if p.is_file() and "analysis" not in p.parts}
    case(planter, "nan-features")
    assert {p: p.read_bytes() for p in before} == before
    assert not list(planter.folder.iterdir())


def test_what_is_measured_for_the_findings_alone_says_what_a_diagnosis_says(healthy: Healthy, tiny_run: Run) -> None:
    ours, theirs = healthy.tiny, run_checks(record(tiny_run).statistics)
    assert [(f.id, f.subject, f.severity, f.verdict, f.follows) for f in ours] == [
        (f.id, f.subject, f.severity, f.verdict, f.follows) for f in theirs
    ]


def test_an_alarm_about_skill_is_looked_at_again_on_test_customers_that_were_not_seen(
    material: Bench, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tiny_dataset.table(["customer_id", "split"])
    pairs = zip(table.column("customer_id").to_pylist(), table.column("split").to_pylist(), strict=True)
    first = tiny_dataset.extract(tmp_path / "first", customers=sorted({c for c, s in pairs if s == "test"})[:20])
    monkeypatch.setattr(Run, "sample", lambda self: first)
    behind, none = (Finding(f"SKILL-{w}", "warning", "churn", "so") for w in ("BEHIND", "NONE"))
    dead = Finding("EXP-DEAD", "warning", "causal", "It is dead.")
    looked: list[Dataset] = []

    def again(run: Run, data: Dataset) -> tuple[Finding, ...]:
        seen = set(run.sample().table(["customer_id"]).column("customer_id").to_pylist())
        table = data.table(["customer_id", "split"])
        assert set(table.column("split").to_pylist()) == {"test"}
        assert not seen & set(table.column("customer_id").to_pylist())
        looked.append(data)
        return behind, dead

    monkeypatch.setattr(measuring, "findings_of", again)
    assert confirmed(material.run, tiny_dataset, [behind, none, dead]) == {"SKILL-BEHIND churn"}
    assert len(looked) == 1
    assert confirmed(material.run, tiny_dataset, [dead]) == frozenset()
    assert confirmed(material.run, None, [behind]) == frozenset()
    assert len(looked) == 1


def test_cases_side_by_side_are_those_of_one_process(material: Bench, healthy: Healthy, tmp_path: Path) -> None:
    work = [(f, f.levels[0], False) for f in (faults()["few-rows"], faults()["transfer-cycle"])]
    alone, apart = (list(planted(material, healthy, work, tmp_path, n)) for n in (1, 2))
    plain = [sorted((replace(c, seconds=0.0) for c in cases), key=lambda c: c.fault) for cases in (alone, apart)]
    assert plain[0] == plain[1]
    assert not list(tmp_path.iterdir())


def test_a_fault_that_trains_is_named_and_its_fix_is_tried(planter: Planter, monkeypatch: pytest.MonkeyPatch) -> None:
    short = ("adatt.warmup_epochs=0", "adatt.freeze_epoch=1", "training.phase1_epochs=1", "training.phase2_epochs=0")
    monkeypatch.setattr(base, "TINY", (*base.TINY, *short, "training.batch_size=160"))
    fault = faults()["labels-missing"]
    found = planter.case(fault, fault.levels[0])
    assert found.found
    assert found.hits[0].fix == "task_experts.tasks.channel.enabled=false"
    assert found.hits[0].fix_clears is True


def test_a_fault_that_must_stop_the_run_is_found_in_the_error(planter: Planter) -> None:
    found = case(planter, "transfer-cycle")
    assert found.found
    assert found.error is not None
    assert "ctr -> cvr" in found.error


def test_a_run_that_is_not_broken_is_a_miss(planter: Planter) -> None:
    nothing = PlantedFault(
        "nothing", "data", "Nothing.", lambda s: Plant(limit=10**6), (Level("none", 0.0),), (Expect("EXP-DEAD"),)
    )
    found = planter.case(nothing, nothing.levels[0])
    assert not found.found
    assert BenchmarkScore((found,)).recall.value == 0.0


def test_a_model_that_was_built_wrong_is_built_right_again_afterwards() -> None:
    def spoil(model: PLEClusterAdaTT) -> None:
        model.cgc.freeze()

    with built_wrong(spoil):
        assert PLEClusterAdaTT(tiny_config()).gates_frozen
    assert not PLEClusterAdaTT(tiny_config()).gates_frozen


@pytest.fixture
def prepared(material: Bench, healthy: Healthy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark finds the healthy runs made and measured."""
    monkeypatch.setattr(benchmark, "prepare", lambda *_: material)
    monkeypatch.setattr(Healthy, "of", lambda _: healthy)


@pytest.mark.usefixtures("prepared")
def test_an_interrupt_leaves_what_was_measured(tmp_path: Path) -> None:
    kept: list[BenchmarkScore] = []

    def keep(score: BenchmarkScore) -> None:
        kept.append(score)
        raise KeyboardInterrupt

    said: list[str] = []
    score = run_benchmark(Request(seeds=(0,), only=("transfer-cycle", "few-rows")), tmp_path, said.append, keep)
    assert [c.fault for c in score.cases if c.hits] == ["few-rows"]
    assert said[-1] == "interrupted after 1 of 2 cases"
    assert kept[0].to_dict()["cases"] == score.to_dict()["cases"]
    assert not list(tmp_path.glob("case-*"))


@pytest.mark.usefixtures("prepared")
def test_ple_faults_prints_the_agreed_json_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "faults.json"
    words = ["faults", "--seeds", "0", "--only", "transfer-cycle", "--workdir", str(tmp_path / "work"), "--out", str(out)]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"recall", "precision", "faults", "healthy_runs"} <= set(printed["summary"])
    assert (printed["summary"]["recall"], printed["summary"]["faults"], printed["summary"]["healthy_runs"]) == (1.0, 1, 2)
    assert [c["check"] for c in printed["by_check"] if c["clear"]] == ["LT-ORDER"]
    assert json.loads(out.read_text()) == printed
    assert main([*words[:-1], str(tmp_path / "no" / "f.json")]) == 2


def test_a_cut_feed_is_zero_and_absent_in_the_rows_that_lost_it_and_in_no_other(tiny_dataset: Dataset, tmp_path: Path) -> None:
    cut = cut_feed(tiny_dataset, tmp_path / "cut", ["txn_seq", "session_seq"], share=0.5, seed=3)
    old, new = tiny_dataset.load(None).inputs, cut.load(None).inputs
    gone = ~new.present("txn_seq").numpy()
    assert 0.4 < gone.mean() < 0.6
    assert np.array_equal(gone, ~new.present("session_seq").numpy())
    assert not new.txn_seq[gone].any()  # type: ignore[index]
    assert np.array_equal(new.txn_seq[~gone], old.txn_seq[~gone])  # type: ignore[index]
    with pytest.raises(UserError, match="did you mean 'txn_seq'"):
        cut_feed(tiny_dataset, tmp_path / "none", ["txn_sec"])
