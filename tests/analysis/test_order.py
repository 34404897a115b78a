"""Which findings follow from which: only where what the one is about leads to what the other is about."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from graphlib import TopologicalSorter

import pytest

from analysis.checks import checks, run_checks
from analysis.checks.finding import Evidence, Finding, Fix, Severity
from analysis.checks.order import RULES, grouped, in_order, key
from analysis.stats.run import Statistics
from tests.analysis.planted import PLANTED, healthy

NEW = (
    "RUN-CHANGED", "RUN-DIFFERS", "INPUT-JOIN", "INPUT-SENTINEL", "INPUT-DUPLICATE", "LABEL-JOIN", "LABEL-UNIT",
    "LABEL-CONSTANT", "LABEL-CLASS", "LABEL-LEAK", "FIT-OVER", "FIT-UNDER", "FIT-RATE", "SKILL-NONE", "SKILL-HARMFUL",
    "SKILL-BEHIND", "EXP-SCALE", "GATE-JITTER",
)  # fmt: skip


@cache
def well() -> Statistics:
    """Four tasks of a healthy run; what its gates weigh is set where a case needs it."""
    return healthy()


def alarm(id: str, subject: str, severity: Severity = "error", *evidence: Evidence) -> Finding:
    return Finding(id, severity, subject, "said", evidence)


def follows(*findings: Finding, s: Statistics | None = None) -> dict[str, str]:
    return {key(f): f.follows for f in in_order(findings, s or well()) if f.follows}


def test_no_rule_leads_back_to_its_own_cause() -> None:
    ids = {*checks(), *NEW}
    graph = {
        effect: {c for c in ids for r in RULES if c.startswith(r.cause) and effect.startswith(r.effects) and c != effect}
        for effect in ids
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(ids)


def test_every_rule_is_about_checks_that_exist() -> None:
    ids = {*checks(), *NEW}
    named = {start for r in RULES for start in (*r.cause, *r.effects)}
    assert [start for start in named if not any(i.startswith(start) for i in ids)] == []


CAUSED = [
    (alarm("INPUT-NONFINITE", "txn_seq"), alarm("EXP-NONFINITE", "temporal")),
    (
        alarm("INPUT-NONFINITE", "hmm_behavior", "error", Evidence("tasks it reaches", 1.0, text="churn")),
        alarm("SKILL-NONE", "churn"),
    ),
    (alarm("INPUT-JOIN", "hmm_lifecycle"), alarm("HMM-ALL-DEFAULT", "lifecycle")),
    (alarm("INPUT-JOIN", "features"), alarm("LABEL-JOIN", "churn")),
    (alarm("INPUT-JOIN", "cluster_probs"), alarm("DATA-DRIFT", "cluster_ids", "warning")),
    (alarm("LABEL-RATE", "churn"), alarm("SKILL-HARMFUL", "churn")),
    (alarm("RUN-CHANGED", "towers"), alarm("LABEL-CLASS", "channel")),
    (alarm("INPUT-JOIN", "hmm_lifecycle"), alarm("LABEL-JOIN", "churn")),
    (alarm("INPUT-DUPLICATE", "rows"), alarm("LABEL-JOIN", "labels")),
    (alarm("DATA-SELECTED", "rows", "warning"), alarm("LABEL-JOIN", "churn")),
    (alarm("DATA-NONFINITE", "features[3]"), alarm("LABEL-JOIN", "churn")),
    (alarm("EXP-ZERO-INPUT", "temporal.txn_seq"), alarm("LABEL-JOIN", "churn")),
    (alarm("INPUT-SENTINEL", "txn_seq"), alarm("EXP-SCALE", "temporal", "warning")),
    (alarm("INPUT-DUPLICATE", "rows"), alarm("DATA-OWN-ROWS", "run", "warning")),
    (alarm("EXP-SCALE", "temporal", "warning"), alarm("EXP-DEAD", "temporal")),
    (alarm("DATA-DRIFT", "txn_seq", "warning"), alarm("EXP-ZERO-INPUT", "temporal.txn_seq")),
    (alarm("EXP-ZERO-INPUT", "temporal.txn_seq"), alarm("EXP-TEMPORAL-ZERO", "temporal")),
    (alarm("EXP-ZERO-INPUT", "temporal.txn_seq"), alarm("CGC-DILUTION", "temporal", "warning")),
    (alarm("EXP-DEAD", "temporal"), alarm("CGC-DEAD-EXPERT", "temporal", "warning")),
    (alarm("RUN-CHANGED", "experts.temporal"), alarm("EXP-DEAD", "temporal")),
    (alarm("RUN-CHANGED", "preprocess/normalizer.npz"), alarm("SKILL-HARMFUL", "ctr")),
    (
        alarm("RUN-CHANGED", "model.safetensors", "error", Evidence("tensors", 2.0, text="sae.mean, hmm.bias")),
        alarm("EXP-DEAD", "temporal"),
    ),
    (alarm("RUN-CHANGED", "calibration"), alarm("EVI-MISCALIBRATED", "ctr", "warning")),
    (alarm("LABEL-JOIN", "labels", "error", Evidence("tasks", 2.0, text="churn, ltv")), alarm("SKILL-HARMFUL", "churn")),
    (alarm("FIT-UNDER", "run", "warning"), alarm("SAE-DEAD", "sae", "warning")),
    (alarm("LABEL-UNIT", "ltv", "warning"), alarm("CGC-COLLAPSE", "ltv:deepfm")),
    (alarm("INPUT-NONFINITE", "txn_seq"), alarm("LABEL-JOIN", "churn")),
    (alarm("FIT-RATE", "run", "warning"), alarm("CGC-COLLAPSE", "ctr:deepfm")),
    (alarm("FIT-RATE", "learning_rate", "warning"), alarm("SAE-DEAD", "sae", "warning")),
    (alarm("EXP-SCALE", "deepfm"), alarm("GATE-JITTER", "ctr", "warning")),
    (alarm("SKILL-HARMFUL", "churn"), alarm("EVI-MISCALIBRATED", "churn", "warning")),
    (
        alarm("WEIGHTS-NONFINITE", "temporal"),
        alarm("OUTPUT-NONFINITE", "tasks", "error", Evidence("tasks", 2.0, text="ctr, churn")),
    ),
]


@pytest.mark.parametrize(("cause", "effect"), CAUSED, ids=[f"{a.id}-{b.id}" for a, b in CAUSED])
def test_a_consequence_names_its_cause(cause: Finding, effect: Finding) -> None:
    assert follows(effect, cause) == {key(effect): key(cause)}


APART = [
    (alarm("INPUT-NONFINITE", "txn_seq"), alarm("EXP-DEAD", "deepfm")),
    (alarm("INPUT-JOIN", "hmm_lifecycle"), alarm("HMM-ALL-DEFAULT", "journey")),
    (
        alarm("INPUT-JOIN", "hmm_lifecycle"),
        alarm("LABEL-JOIN", "labels", "error", Evidence("tasks", 2.0, text="churn, ctr")),
    ),
    (
        alarm("DATA-SELECTED", "rows", "warning"),
        alarm("LABEL-JOIN", "labels", "error", Evidence("tasks", 2.0, text="churn, ctr")),
    ),
    (alarm("DATA-DRIFT", "session_seq", "warning"), alarm("EXP-ZERO-INPUT", "temporal.txn_seq")),
    (alarm("EXP-DEAD", "temporal"), alarm("CGC-DEAD-EXPERT", "perslay", "warning")),
    (alarm("RUN-CHANGED", "calibration"), alarm("CGC-COLLAPSE", "ctr:deepfm")),
    (alarm("CGC-COLLAPSE", "nba:deepfm"), alarm("SKILL-BEHIND", "churn", "warning")),
    (alarm("RUN-CHANGED", "sample", "warning"), alarm("INPUT-NONFINITE", "txn_seq")),
    (alarm("RUN-CHANGED", "evidential"), alarm("SKILL-NONE", "ctr", "warning")),
    # the tower of one task
    (
        alarm("RUN-CHANGED", "towers", "error", Evidence("tasks it reaches", 1.0, text="churn")),
        alarm("SKILL-BEHIND", "ctr", "warning"),
    ),
    # rounded weights that move no output
    (alarm("RUN-CHANGED", "model.safetensors", "warning"), alarm("SKILL-BEHIND", "churn", "warning")),
    (alarm("LABEL-UNIT", "ltv", "warning"), alarm("SKILL-HARMFUL", "churn")),
    (alarm("LABEL-JOIN", "labels"), alarm("CGC-COLLAPSE", "ctr:deepfm")),
    (alarm("LABEL-LEAK", "ctr"), alarm("SKILL-HARMFUL", "ctr")),
    (alarm("SKILL-BEHIND", "churn", "warning"), alarm("EVI-MISCALIBRATED", "churn", "warning")),
    (alarm("FIT-RATE", "run", "warning"), alarm("DATA-DRIFT", "features:rfm", "warning")),
]


@pytest.mark.parametrize(("first", "later"), APART, ids=[f"{a.id}-{b.id}" for a, b in APART])
def test_a_later_finding_without_a_link_stands_for_itself(first: Finding, later: Finding) -> None:
    assert follows(first, later) == {}


def test_a_task_is_explained_by_an_expert_that_its_gate_weighs_alone() -> None:
    s = well()
    assert s.gates is not None
    share = s.gates.mean
    task, expert = divmod(int((share / share.sum(1, keepdims=True)).argmax()), share.shape[1])
    least = int(share[task].argmin())
    assert share[task, expert] >= 1 / share.shape[1] > share[task, least]
    lost = alarm("SKILL-BEHIND", s.gates.tasks[task], "warning")
    assert follows(alarm("EXP-DEAD", s.gates.experts[expert]), lost) == {key(lost): f"EXP-DEAD {s.gates.experts[expert]}"}
    assert follows(alarm("EXP-DEAD", s.gates.experts[least]), lost) == {}


def test_of_several_causes_the_earlier_question_counts_and_the_first_cause_is_named() -> None:
    chain = [
        alarm("EVI-MISCALIBRATED", "churn", "warning"), alarm("SKILL-HARMFUL", "churn"),
        alarm("DATA-DRIFT", "features:rfm", "warning"), alarm("LABEL-JOIN", "run"),
    ]  # fmt: skip
    assert follows(*chain) == {"EVI-MISCALIBRATED churn": "LABEL-JOIN run", "SKILL-HARMFUL churn": "LABEL-JOIN run"}


def test_labels_upside_down_are_these_customers_own() -> None:
    turned = replace(alarm("SKILL-HARMFUL", "churn"), verdict="churn is inverted: its AUC is 0.19.")
    assert follows(alarm("LABEL-JOIN", "churn"), turned) == {"LABEL-JOIN churn": "SKILL-HARMFUL churn"}
    assert follows(alarm("LABEL-JOIN", "ltv"), turned) == {}


def test_of_many_labels_of_other_customers_one_is_upside_down_by_chance() -> None:
    turned = replace(alarm("SKILL-HARMFUL", "churn"), verdict="churn is inverted: its AUC is 0.43.")
    all_of_them = alarm("LABEL-JOIN", "labels", "error", Evidence("tasks", 2.0, text="churn, ltv"))
    assert follows(all_of_them, turned) == {"SKILL-HARMFUL churn": "LABEL-JOIN labels"}


def test_advice_about_a_key_that_was_edited_follows_from_the_edit() -> None:
    weak = replace(
        alarm("GRAD-BRAND-WEAK", "brand_prediction", "warning"), fix=Fix("training.temperature", 1.0, 0.07, "Lower it.")
    )
    edited = [
        alarm("RUN-CHANGED", "config.yaml", "error", Evidence("keys that changed", 1.0, text=f"{k}: 1 -> 2"))
        for k in ("training.temperature", "training.seed")
    ]
    assert follows(weak, edited[0]) == {key(weak): "RUN-CHANGED config.yaml"}
    assert follows(weak, edited[1]) == {}


def test_the_loudest_group_comes_first_though_its_cause_is_but_a_warning() -> None:
    found = in_order(
        [alarm("EXP-REDUNDANT", "deepfm:causal", "warning"), alarm("FIT-RATE", "run", "warning"),
         alarm("CGC-COLLAPSE", "ctr:deepfm"), Finding("LT-ORDER", "ok", "run", "fine")],
        well(),
    )  # fmt: skip
    assert [(g.cause.id, [f.id for f in g.followers]) for g in grouped(found)] == [
        ("FIT-RATE", ["EXP-REDUNDANT", "CGC-COLLAPSE"][::-1]), ("LT-ORDER", []),
    ]  # fmt: skip


def test_a_consequence_whose_cause_is_not_shown_stands_for_itself() -> None:
    alone = replace(alarm("CGC-COLLAPSE", "ctr:deepfm"), follows="FIT-RATE run")
    assert [g.cause for g in grouped([alone])] == [alone]


def kept(*findings: Finding) -> list[str]:
    return [key(f) for f in in_order(findings, well())]


def test_a_subject_with_an_alarm_carries_no_excuse() -> None:
    collapsed, excuse = alarm("CGC-COLLAPSE", "ctr:deepfm"), Finding("CGC-OFF-DOMAIN", "info", "ctr:deepfm", "It may be fine.")
    other = replace(excuse, subject="churn:deepfm")
    assert kept(collapsed, excuse, other) == ["CGC-COLLAPSE ctr:deepfm", "CGC-OFF-DOMAIN churn:deepfm"]


def test_an_excuse_goes_where_an_alarm_of_another_area_explains_it() -> None:
    untold = Finding("SKILL-NONE", "info", "churn", "These inputs do not tell it.")
    assert kept(untold, alarm("LABEL-JOIN", "churn")) == ["LABEL-JOIN churn"]
    assert kept(untold, alarm("LABEL-JOIN", "ltv")) == ["LABEL-JOIN ltv", "SKILL-NONE churn"]


@pytest.mark.parametrize("id", sorted(PLANTED))
def test_no_planted_fault_hides_behind_another_finding_of_its_own(id: str) -> None:
    """Whatever else it sets off: the finding that a fault was planted for is there, and no cause is named that is not."""
    case = PLANTED[id]()
    found = run_checks(case.statistics)
    assert (id, case.subject, case.severity) in [(f.id, f.subject, f.severity) for f in found]
    assert {f.follows for f in found if f.follows} <= {key(f) for f in found if f.alarm and not f.follows}
