"""The three scores by hand: what rings, where it points, whether it says why; and what counts as harm."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.checks.finding import Finding, Fix, Severity
from analysis.faults.causes import excused, tell
from analysis.faults.fault import Expect, Level, Plant, PlantedFault, faults
from analysis.faults.harm import Harm, Losses, harm
from analysis.faults.oracle import ORACLES, Oracle, Usable, oracle_of, with_changed
from analysis.faults.score import BenchmarkScore, Case, judge

FIELD = Oracle(("hmm_behavior", "*.hmm_behavior"), (Usable("INPUT-JOIN", "hmm_behavior", ("shuffl|other customers",)),))


def finding(
    id: str, subject: str = "run", cause: str = "", severity: Severity = "warning", fix: Fix | None = None, under: str = ""
) -> Finding:
    return Finding(id, severity, subject, "It is so.", cause=cause, fix=fix, follows=under)


JOINED = finding("INPUT-JOIN", "hmm_behavior", "Its rows are those of other customers.")
BLAMED = finding("EVI-MISCALIBRATED", "churn", "Refit the calibration.")


def test_a_usable_cause_needs_id_subject_and_words() -> None:
    assert tell(FIELD, [JOINED], []).cause
    vague = finding("INPUT-JOIN", "hmm_behavior", "Something is odd.")
    told = tell(FIELD, [vague], [])
    assert (told.alarm, told.subject, told.cause) == (True, True, False)
    assert not tell(FIELD, [finding("INPUT-JOIN", "hmm_journey", "Rows of other customers.")], []).subject


def test_words_are_looked_for_in_the_fix_too() -> None:
    rate = Oracle(("run",), (Usable("FIT-RATE", says=(r"training\.learning_rate",)),))
    fix = Fix("training.learning_rate", 0.1, 0.001, "Lower it.")
    assert tell(rate, [finding("FIT-RATE", "run", fix=fix)], []).cause
    assert not tell(rate, [finding("FIT-RATE", "run")], []).cause


def test_an_alarm_elsewhere_is_an_alarm_and_no_more() -> None:
    told = tell(FIELD, [BLAMED], [])
    assert (told.alarm, told.subject, told.cause, told.first) == (True, False, False, False)


def test_a_cause_that_is_folded_under_another_finding_is_not_read() -> None:
    hidden = finding("INPUT-JOIN", "hmm_behavior", "Rows of other customers.", under="EVI-MISCALIBRATED churn")
    told = tell(FIELD, [BLAMED, hidden], [])
    assert (told.alarm, told.subject, told.cause, told.folded) == (True, False, False, 1)


def test_the_first_headline_is_told_apart() -> None:
    assert tell(FIELD, [BLAMED, JOINED], []).first, "inputs are asked about before probabilities"
    louder = finding("EVI-MISCALIBRATED", "churn", severity="error")
    told = tell(FIELD, [JOINED, louder], [])
    assert told.cause
    assert not told.first
    assert tell(FIELD, [finding("EVI-MISCALIBRATED", "churn", under="INPUT-JOIN hmm_behavior"), JOINED], []).first


def test_what_the_healthy_run_says_too_is_no_alarm_and_its_cause_proves_nothing() -> None:
    told = tell(FIELD, [JOINED], [JOINED])
    assert (told.alarm, told.cause, told.already) == (False, False, True)


def test_a_cause_that_only_informs_is_read_where_an_alarm_is_folded_under_it() -> None:
    calm = finding("INPUT-JOIN", "hmm_behavior", "Rows of other customers.", "info")
    told = tell(FIELD, [calm, finding("SKILL-NONE", "churn", under="INPUT-JOIN hmm_behavior")], [])
    assert (told.alarm, told.cause, told.headlines) == (True, True, ("INPUT-JOIN hmm_behavior",))


def test_an_alarm_that_is_folded_under_what_the_healthy_run_has_too_has_that_for_a_headline() -> None:
    old = finding("FIT-OVER", "run")
    told = tell(FIELD, [old, finding("EVI-MISCALIBRATED", "churn", under="FIT-OVER run")], [old])
    assert (told.alarm, told.cause, told.headlines) == (True, False, ("FIT-OVER run",))


def test_information_is_no_alarm() -> None:
    assert not tell(FIELD, [finding("INPUT-JOIN", "hmm_behavior", "Rows of other customers.", "info")], []).alarm


def test_a_consequence_is_excused_at_any_depth_under_what_is_true_and_nowhere_else() -> None:
    one = finding("SKILL-NONE", "churn", under="INPUT-JOIN hmm_behavior")
    two = finding("EVI-UNINFORMATIVE", "churn", under="SKILL-NONE churn")
    other = finding("EXP-DEAD", "causal", under="EVI-MISCALIBRATED churn")
    found = [JOINED, one, two, BLAMED, other]
    assert [excused(f, found, {"INPUT-JOIN hmm_behavior"}) for f in found] == [False, True, True, False, False]


def case(*findings: Finding, oracle: Oracle = FIELD, harm: Harm | None = None, family: str = "join") -> Case:
    from dataclasses import replace

    fault = PlantedFault("odd", "data", "Odd.", lambda s: Plant(), (Level("strong", 1.0),), family="join")
    return replace(judge(fault, fault.levels[0], 1, findings, [], oracle), harm=harm, family=family)


HARM, NONE = Harm(True, "churn", 0.2, 0.1, 0.3), Harm(False, "churn", 0.0, -0.001, 0.001)


def test_precision_counts_true_alarms_once_and_folded_ones_not() -> None:
    folded = finding("SKILL-NONE", "churn", under="INPUT-JOIN hmm_behavior")
    c = case(JOINED, folded, BLAMED, harm=HARM)
    assert c.true_alarms == ("INPUT-JOIN hmm_behavior",)
    assert [a.id for a in c.false_alarms] == ["EVI-MISCALIBRATED"]
    assert BenchmarkScore((c,)).precision.to_dict()["value"] == 0.5


def test_a_fault_that_does_no_harm_is_no_miss_but_its_alarms_count() -> None:
    score = BenchmarkScore((case(BLAMED, harm=NONE), case(JOINED, harm=HARM), case(harm=HARM)))
    assert (score.share("alarm").hits, score.share("alarm").n) == (1, 2)
    assert (score.share("cause").hits, score.share("cause").n) == (1, 2)
    assert len(score.false_alarms) == 1
    assert [c.told is not None and c.told.alarm for c in score.untold] == [False]


def test_scores_are_told_by_kind() -> None:
    score = BenchmarkScore((case(JOINED, harm=HARM), case(BLAMED, harm=HARM, family="units")))
    by = {line["kind"]: line for line in score.by_kind()}
    assert by["join"]["cause"]["value"] == 1.0
    assert by["units"]["alarm"]["value"] == 1.0
    assert by["units"]["cause"]["value"] == 0.0
    assert by["units"]["precision"]["value"] == 0.0
    text = str(score)
    assert "no usable cause:" in text
    assert "odd (strong), seed 1; harm: churn +0.200 (+0.100 to +0.300); said: EVI-MISCALIBRATED churn" in text


def test_a_weight_that_was_changed_is_a_cause_where_its_part_is_named() -> None:
    oracle = with_changed(Oracle((), ()), ["experts.deepfm.out.weight", "experts.deepfm.out.bias"])
    named = finding("RUN-CHANGED", "experts.deepfm", "Two tensors of deepfm are not those that training wrote.", "error")
    unnamed = finding("RUN-CHANGED", "run", "The weights are not those that training wrote.", "error")
    assert oracle.names(named)
    assert not oracle.names(unnamed)
    assert oracle.admits(unnamed)
    assert with_changed(FIELD, []) is FIELD
    files = with_changed(Oracle((), ()), ["calibration.json"])
    assert files.names(finding("RUN-CHANGED", "preprocess/calibration.json"))
    assert not files.names(finding("RUN-CHANGED", "preprocess/context.json"))


def test_the_table_covers_every_fault_and_no_other() -> None:
    for fault in faults().values():
        oracle = oracle_of(fault)
        assert oracle.subjects, fault.name
        told_by_what_changed = fault.name == "normaliser-of-another-run"
        assert oracle.usable or told_by_what_changed, fault.name
    assert set(ORACLES) <= set(faults())
    assert {f.name for f in faults().values() if f.family not in ("mechanics", "nan")} == set(ORACLES)


def test_what_is_required_of_a_fault_that_is_drawn_from_a_check_is_usable() -> None:
    fault = PlantedFault(
        "dead", "weight", "Dead.", lambda s: Plant(), (Level("full", 1.0),), (Expect("EXP-DEAD", "causal|deepfm"),)
    )
    oracle = oracle_of(fault)
    assert oracle.names(finding("EXP-DEAD", "deepfm"))
    assert oracle.right_subject(finding("CGC-DEAD-EXPERT", "causal"))
    assert not oracle.names(finding("EXP-DEAD", "temporal"))


def sums(rng: np.random.Generator, mean: float) -> dict[str, tuple[float, int]]:
    return {f"c{i}": (float(x), 1) for i, x in enumerate(rng.normal(mean, 0.1, 300))}


def of(churn: dict[str, tuple[float, int]], *, lost: float = 0.0, constant: float = 1.0) -> Losses:
    return Losses({"churn": churn}, lost, {"churn": constant})


def test_harm_is_a_change_beyond_the_interval_and_the_tolerance() -> None:
    rng = np.random.default_rng(0)
    base = sums(rng, 1.0)
    worse = {c: (x + 0.3, n) for c, (x, n) in base.items()}
    level = {c: (x + 0.001, n) for c, (x, n) in base.items()}
    found = harm(of(base, constant=2.0), of(worse))
    assert found.harmful
    assert found.change == pytest.approx(0.15)
    assert not harm(of(base, constant=2.0), of(level)).harmful
    assert not harm(of(base), of(base)).harmful


def test_predictions_that_are_no_numbers_and_rows_counted_often_are_harm() -> None:
    rng = np.random.default_rng(1)
    base = sums(rng, 1.0)
    assert harm(of(base), of(base, lost=0.05)).harmful
    # the same rows, those with a large loss five times
    often = {c: (5 * x, 5) if x > 1.1 else (x, n) for c, (x, n) in base.items()}
    assert harm(of(base), of(often)).harmful
    assert harm(of(base), Losses({}, 0.0, {})).harmful
