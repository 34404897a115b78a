"""Seeds that set limits, were looked at, are run once, or are healthy alone: they do not overlap, and say what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.faults import bench as benchmark
from analysis.faults.bench import Clock, Request, run_benchmark
from analysis.faults.score import BenchmarkScore, judge_healthy
from analysis.faults.seeds import FRESH, LIMITS, LOOKED_AT, ONCE, SEEN, note_use, require_allowed, role, used
from ple_model.cli import main
from ple_model.errors import UserError


def test_no_seed_has_two_roles() -> None:
    groups = [LIMITS, LOOKED_AT, SEEN, (ONCE,), FRESH]
    assert len({s for g in groups for s in g}) == sum(map(len, groups))
    assert [role(g[0]) for g in groups] == ["set limits", "looked at", "looked at", "run once", "healthy alone"]
    assert role(99999) == "other"


def test_the_seed_that_is_run_once_is_refused_in_passing_and_its_use_is_written_down(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--seeds {ONCE}: this seed is run once"):
        require_allowed((11, ONCE), once=False)
    require_allowed((ONCE,), once=True)
    assert used(tmp_path) == []
    assert note_use(tmp_path, "2026-11-28T12:00") == []
    before = note_use(tmp_path, "2026-11-29T12:00")
    assert [(e["seed"], e["when"]) for e in before] == [(ONCE, "2026-11-28T12:00")]
    assert f"seed {ONCE} had been run before: 2026-11-28T12:00" in str(BenchmarkScore((), tuple(before)))


def test_the_command_refuses_seeds_that_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--list", "--seeds", str(ONCE)]) == 2
    assert "--once runs it" in capsys.readouterr().err
    assert main(["faults", "--healthy", "2", "--quick"]) == 2
    assert "--healthy runs no fault" in capsys.readouterr().err
    assert main(["faults", "--once", "--seeds", "11"]) == 2
    assert f"--once stands for seed {ONCE} alone" in capsys.readouterr().err


def test_healthy_runs_alone_print_their_alarms_by_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis.checks.finding import Finding

    ring = Finding("EXP-DEAD", "warning", "causal", "It is dead.")
    behind = Finding("SKILL-BEHIND", "warning", "churn", "It is behind.")
    monkeypatch.setattr(benchmark, "prepare_small", lambda workdir, seed, *_: seed)
    monkeypatch.setattr(benchmark, "findings_of", lambda seed: [ring, behind] if seed == FRESH[1] else [])
    monkeypatch.setattr(benchmark, "confirmed_alone", lambda run, found: {"SKILL-BEHIND churn"})
    assert main(["faults", "--healthy", "3", "--workdir", str(tmp_path), "--json"]) == 1
    said = capsys.readouterr()
    summary = json.loads(said.out)["summary"]
    assert (summary["healthy_runs"], summary["healthy_alarms"], summary["cases"]) == (3, 1, 0)
    assert (summary["healthy_confirmed"], summary["healthy_silent"]) == (1, 2)
    assert summary["seed_roles"] == {str(s): "healthy alone" for s in FRESH[:3]}
    told = "2 alarms; false: warning EXP-DEAD causal; confirmed by other customers: warning SKILL-BEHIND churn"
    assert f"seed {FRESH[1]}: {told}" in said.err
    assert not list(tmp_path.glob("case-*"))


def test_a_benchmark_says_how_long_the_rest_takes() -> None:
    clock = Clock(10)
    assert clock.tick(30.0) == "[1/10, about 4 min left]"
    assert clock.tick(90.0) == "[2/10, about 8 min left]"


def test_an_empty_request_of_the_once_seed_is_written_into_its_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "prepare_small", lambda *_: 0)
    monkeypatch.setattr(benchmark, "findings_of", lambda _: [])
    monkeypatch.setattr(benchmark, "confirmed_alone", lambda *_: frozenset())
    request = Request(seeds=(ONCE,), healthy=True)
    assert run_benchmark(request, tmp_path, lambda _: None).once == ()
    second = run_benchmark(request, tmp_path, lambda _: None)
    assert len(second.once) == 1
    assert second.summary()["once_before"] == list(second.once)
    assert judge_healthy("small", 1, []).false_alarms == ()
