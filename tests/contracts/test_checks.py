"""Every check, found by discovery: fires on its planted fault with the right subject, is silent on a healthy run, and says
`unknown` rather than `ok` where nothing was measured."""

from __future__ import annotations

import dataclasses

import pytest

from analysis.checks import checks, run_checks
from analysis.checks.finding import SEVERITIES
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Facts, Statistics
from ple_model.intervention import Intervention
from tests.analysis.planted import PLANTED, healthy

IDS = list(checks())
REFERENCE_IDS = [
    "EXP-ZERO-INPUT",
    "EXP-DEAD",
    "EXP-HGCN-NAN",
    "EXP-TEMPORAL-ZERO",
    "EXP-PERSLAY-PAD",
    "CGC-COLLAPSE",
    "CGC-UNIFORM",
    "CGC-UNMOVED",
    "CGC-OFF-DOMAIN",
    "CGC-LATE-SHIFT",
    "CGC-DILUTION",
    "CGC-DEAD-EXPERT",
    "LOSS-NAN",
    "LOSS-TASK-ZERO",
    "LOSS-UW-CLAMP",
    "LOSS-KL-JUMP",
    "LOSS-ADATT-JUMP",
    "GRAD-SHARED-ZERO",
    "GRAD-CGC-ZERO",
    "GRAD-ADATT-MEMORY",
    "GRAD-BRAND-WEAK",
    "HMM-ALL-DEFAULT",
    "HMM-MODE-IMBALANCE",
    "HMM-DEFAULT-UNTRAINED",
    "LT-OVERRELIANCE",
    "LT-INACTIVE",
    "LT-ORDER",
    "LT-SCALE-FREE",
    "SAE-DEAD",
    "SAE-DENSE",
    "SAE-LOW-FVE",
    "EVI-ZERO-EVIDENCE",
    "EVI-MISCALIBRATED",
    "EVI-UNINFORMATIVE",
    "EXP-REDUNDANT",
    "EXP-LOW-RANK",
    "DATA-DRIFT",
]


@pytest.fixture(scope="module")
def well() -> Statistics:
    return healthy()


def test_every_check_of_the_reference_and_ours_exists() -> None:
    assert set(REFERENCE_IDS) <= set(IDS)


def test_every_check_has_a_planted_fault() -> None:
    assert set(IDS) - set(PLANTED) == set(), "give the check a `proof` beside it"
    assert set(PLANTED) <= set(IDS)


@pytest.mark.parametrize("id", IDS)
def test_it_fires_on_its_planted_fault_with_the_right_subject(id: str) -> None:
    case = PLANTED[id]()
    found = [f for f in run_check(checks()[id], case.statistics, Thresholds()) if f.severity == case.severity]
    assert case.subject in [f.subject for f in found]


@pytest.mark.parametrize("id", IDS)
def test_it_is_silent_on_a_healthy_run(id: str, well: Statistics) -> None:
    assert [f for f in run_check(checks()[id], well, Thresholds()) if f.alarm] == []


@pytest.mark.parametrize("id", IDS)
def test_it_does_not_say_ok_where_nothing_was_measured(id: str) -> None:
    empty = Statistics(facts=Facts({}, ("ctr",), {"ctr": "contrastive"}, {}, {}, ("temporal",), {}), n=0)
    found = run_check(checks()[id], empty, Thresholds())
    without_rows = {"LOSS-ADATT-JUMP", "LT-INACTIVE", "FIT-LINEAR"}  # judged from config and weights alone
    assert all(f.severity in (("ok", "unknown") if id in without_rows else ("unknown", "info")) for f in found)


@pytest.mark.parametrize("id", IDS)
def test_its_findings_are_complete(id: str) -> None:
    for f in run_check(checks()[id], PLANTED[id]().statistics, Thresholds()):
        assert f.id == id
        assert f.severity in SEVERITIES
        assert f.verdict.endswith((".", "!", ")"))
        assert f.subject
        if f.alarm:
            assert f.cause
            assert f.fix is not None
            assert f.evidence
        Intervention.parse(f.whatif)
        assert f.to_dict()["id"] == id


def test_few_rows_are_unknown_and_never_ok_for_what_needs_rows() -> None:
    found = run_checks(healthy(n=40))
    rows = [
        f
        for f in found
        if f.id.startswith(("EXP-", "CGC-", "HMM-", "SAE-"))
        and f.id not in ("CGC-LATE-SHIFT", "HMM-MODE-IMBALANCE", "CGC-NONFINITE")
    ]
    assert {f.severity for f in rows} == {"unknown"}


def test_findings_come_loudest_first() -> None:
    order = [SEVERITIES.index(f.severity) for f in run_checks(PLANTED["EXP-DEAD"]().statistics)]
    assert order == sorted(order, reverse=True)


def test_every_threshold_says_where_it_comes_from() -> None:
    told = [(f.name, f.metadata["help"], f.metadata["source"]) for f in dataclasses.fields(Thresholds)]
    told += [(limit.name, limit.help, limit.source) for c in checks().values() for limit in c.limits]
    assert len({name for name, _, _ in told}) == len(told)
    for name, help, source in told:
        assert source, name
        assert help.endswith("."), name
