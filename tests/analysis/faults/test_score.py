"""The arithmetic of recall and precision, by hand."""

from __future__ import annotations

import pytest

from analysis.checks.finding import Finding, Fix, Severity
from analysis.faults.fault import Expect, Level, Plant, PlantedFault
from analysis.faults.score import BenchmarkScore, Case, judge, judge_healthy
from ple_model.wilson import wilson

CLEAR, SUBTLE = Level("clear", 1.0), Level("subtle", 0.1, clear=False)


def fault(*required: Expect, permitted: tuple[Expect, ...] = ()) -> PlantedFault:
    return PlantedFault("broken", "data", "Something is broken.", lambda s: Plant(), (CLEAR, SUBTLE), required, permitted)


def finding(id: str, subject: str = "run", severity: Severity = "warning", fix: Fix | None = None) -> Finding:
    return Finding(id, severity, subject, "It is so.", fix=fix)


DEAD = Expect("EXP-DEAD", "causal")


def case(
    found: list[Finding], healthy: list[Finding] | None = None, level: Level = CLEAR, of: PlantedFault | None = None
) -> Case:
    return judge(of or fault(DEAD), level, 1, found, healthy or [])


def test_the_right_check_on_the_wrong_expert_is_a_miss_and_a_false_alarm() -> None:
    c = case([finding("EXP-DEAD", "deepfm")])
    assert not c.found
    assert [(a.id, a.subject) for a in c.false_alarms] == [("EXP-DEAD", "deepfm")]


def test_a_finding_below_the_expected_severity_is_a_miss_but_no_false_alarm() -> None:
    c = case([finding("EXP-DEAD", "causal", "info")])
    assert not c.found
    assert not c.false_alarms


def test_unknown_never_counts_as_found() -> None:
    informs = fault(Expect("DATA-SMALL", "run", "info"))
    assert not case([finding("DATA-SMALL", "run", "unknown")], of=informs).found
    assert case([finding("DATA-SMALL", "run", "info")], of=informs).found


def test_every_required_finding_must_be_there() -> None:
    both = fault(DEAD, Expect("CGC-DEAD-EXPERT"))
    assert not case([finding("EXP-DEAD", "causal")], of=both).found
    assert case([finding("EXP-DEAD", "causal"), finding("CGC-DEAD-EXPERT", "causal")], of=both).found


def test_permitted_alarms_count_on_neither_side() -> None:
    lenient = fault(DEAD, permitted=(Expect("SAE-*"), Expect("SAE-DEAD", "sae")))
    c = case([finding("EXP-DEAD", "causal", "error"), finding("SAE-DEAD", "sae")], of=lenient)
    assert c.permitted == ("SAE-DEAD sae",)
    assert BenchmarkScore((c,)).precision.to_dict()["hits"] == BenchmarkScore((c,)).precision.n == 1


def test_what_the_healthy_run_has_already_proves_nothing() -> None:
    c = case([finding("EXP-DEAD", "causal")], [finding("EXP-DEAD", "causal")])
    assert c.void
    assert BenchmarkScore((c,)).recall.n == 0


def test_a_subject_that_the_healthy_run_lacks_is_evidence_although_another_subject_was_there() -> None:
    any_task = fault(Expect("EVI-ZERO-EVIDENCE", "*"))
    c = case([finding("EVI-ZERO-EVIDENCE", "nba"), finding("EVI-ZERO-EVIDENCE", "ltv")], [finding("EVI-ZERO-EVIDENCE", "nba")],
             of=any_task)  # fmt: skip
    assert c.found
    assert not c.void
    assert c.hits[0].subject == "ltv"


def test_recall_counts_clear_levels_alone_and_precision_counts_all() -> None:
    hit = finding("EXP-DEAD", "causal", "error")
    score = BenchmarkScore((
        case([hit]),
        case([]),
        case([], level=SUBTLE),
        case([hit, finding("LT-INACTIVE", "ctr:cvr")], level=SUBTLE),
        judge_healthy("small", 1, [finding("CGC-UNIFORM", "nba"), finding("CGC-OFF-DOMAIN", "nba:x", "info")]),
    ))  # fmt: skip
    assert (score.recall.hits, score.recall.n) == (1, 2)
    assert (score.precision.hits, score.precision.n) == (2, 4)
    assert [(c.level, h.id) for c, h in score.misses] == [("clear", "EXP-DEAD")]
    assert score.summary()["healthy_alarms"] == 1
    line = next(c for c in score.by_check() if c["check"] == "EXP-DEAD")
    assert (line["clear"], line["found"], line["subtle"], line["subtle_found"]) == (2, 1, 2, 1)


def test_an_alarm_of_the_healthy_run_is_counted_and_marked() -> None:
    old = finding("EXP-LOW-RANK", "perslay")
    c = case([finding("EXP-DEAD", "causal"), old], [old])
    assert [a.healthy for a in c.false_alarms] == [True]
    score = BenchmarkScore((judge_healthy("small", 1, [old]), c, c))
    assert (score.precision.hits, score.precision.n) == (2, 5)
    assert (score.precision_once.hits, score.precision_once.n) == (2, 3)


def test_wilsons_interval_agrees_with_the_published_example_and_stays_inside_the_unit() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, table I
    assert (round(float(low), 4), round(float(high), 4)) == (0.2553, 0.3662)
    assert wilson(0, 20)[0] == wilson(0, 3)[0] == 0.0
    assert wilson(4, 4)[1] == 1.0
    assert wilson(20, 20)[1] == 1.0
    assert wilson(20, 20)[0] == pytest.approx(0.8389, abs=1e-4)


def test_nothing_measured_is_null_and_not_perfect() -> None:
    s = BenchmarkScore(()).summary()
    assert s["recall"] is None
    assert s["precision"] is None
    assert "not measured" in str(BenchmarkScore(()))


def test_the_table_names_misses_and_false_alarms() -> None:
    text = str(BenchmarkScore((case([finding("LT-INACTIVE", "ctr:cvr")]),)))
    assert "EXP-DEAD causal: broken (clear), seed 1" in text
    assert "LT-INACTIVE ctr:cvr: broken (clear), seed 1" in text


def test_a_suggested_fix_is_an_override_that_the_command_line_reads() -> None:
    from ple_model.config import load_config

    bias = Fix("task_experts.tasks.nba.gate_bias", {"deepfm": 20.0}, {"deepfm": None}, "Start anew.").override()
    assert bias is not None
    planted = "task_experts.tasks.nba.gate_bias={deepfm: 20.0}"
    assert load_config("small", overrides=(planted, bias)).task_experts.tasks["nba"].gate_bias == {}
    on = Fix("task_experts.tasks.ctr.enabled", False, True, "Enable it.").override()
    assert on is not None
    assert "ctr" in load_config("small", overrides=("task_experts.tasks.ctr.enabled=false", on)).tasks
    assert Fix("", None, None, "Rebuild.").override() is None


def test_what_other_customers_confirm_of_a_healthy_run_is_told_apart_and_on_neither_side_of_the_precision() -> None:
    behind, dead = Finding("SKILL-BEHIND", "warning", "churn", "behind"), Finding("EXP-DEAD", "warning", "causal", "dead")
    healthy = judge_healthy("small", 1, [behind, dead], {"SKILL-BEHIND churn"})
    assert [a.id for a in healthy.false_alarms] == ["EXP-DEAD"]
    assert [a.id for a in healthy.confirmed] == ["SKILL-BEHIND"]
    of = fault(Expect("SAE-DEAD"))
    copy = judge(of, CLEAR, 1, [behind, dead], [behind, dead], confirmed={"SKILL-BEHIND churn"})
    assert [a.id for a in copy.false_alarms] == ["EXP-DEAD"]
    assert copy.permitted == ("SKILL-BEHIND churn",)
    score = BenchmarkScore((healthy, copy))
    assert score.summary()["healthy_confirmed"] == 1
    assert "SKILL-BEHIND churn: small, seed 1" in str(score)
