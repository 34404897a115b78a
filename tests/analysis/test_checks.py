"""Checks whose verdict hangs on more than one number: what is expected, what is not, what the suggested fix is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from analysis.checks import Finding, checks, run_checks
from analysis.checks.evidential import too_few
from analysis.checks.registry import Check, NotMeasured, run_check
from analysis.checks.thresholds import Thresholds
from analysis.stats import training
from analysis.stats.probes import TaskProbe
from analysis.stats.run import RowQuality, Statistics
from ple_model.interval import Interval
from tests.analysis.planted import EXPERTS, PLANTED, World, set_config, world


def found(w: World, id: str) -> list[Finding]:
    return [f for f in run_checks(w.measure()) if f.id == id]


def test_a_freeze_that_is_expected_in_phase_2_is_an_error_in_phase_1() -> None:
    w = world()
    for line in w.epochs[:8]:
        line["frozen"]["shared"] = True
        line["grad_norm"] |= dict.fromkeys(EXPERTS, 0.0)
    errors = [f for f in found(w, "GRAD-SHARED-ZERO") if f.severity == "error"]
    assert {f.subject for f in errors} == set(EXPERTS)


@pytest.mark.parametrize("epochs", [1, 10])
def test_gradients_that_were_never_taken_are_not_gradients_of_zero(epochs: int) -> None:
    """Every step of these epochs was skipped, as its loss was not finite: that is the finding, and no expert is called dead."""
    w = world()
    for line in w.epochs[:epochs]:
        line["nonfinite_steps"] = line["steps"]
        line["grad_norm"] = dict.fromkeys(line["grad_norm"], 0.0)
        line["train"]["n"] = dict.fromkeys(line["train"].get("n", {}), 0)
    said = run_checks(w.measure())
    assert [f.severity for f in said if f.id == "LOSS-NAN"] == ["error"]
    blamed = {"GRAD-SHARED-ZERO", "GRAD-CGC-ZERO", "LOSS-TASK-ZERO"}
    assert [f for f in said if f.id in blamed and f.alarm] == []


def test_a_kl_term_heavier_than_published_is_brought_back_to_its_weight() -> None:
    w = world()
    set_config(w, "evidential.kl_lambda", 300.0)
    for k, line in enumerate(w.epochs):
        line["train"]["evidential_kl"] = float(k)
        line["train"]["total"] = 1.0 + float(k)
    (finding,) = found(w, "LOSS-KL-JUMP")
    assert finding.fix is not None
    assert (finding.fix.key, finding.fix.new) == ("evidential.kl_lambda", 1.0)


def test_a_training_that_gave_up_on_a_loss_that_is_not_finite_is_an_error_even_without_an_epoch() -> None:
    stopped = [{"event": "failed", "reason": "epoch 1: the loss or its gradient was not finite for 25 steps"}]
    s = replace(world().measure(), training=training.measure(stopped))
    (finding,) = [f for f in run_checks(s) if f.id == "LOSS-NAN"]
    assert finding.severity == "error"
    nothing = replace(s, training=training.measure([]))
    assert [f.severity for f in run_checks(nothing) if f.id == "LOSS-NAN"] == ["unknown"]


def test_what_a_check_found_before_it_ran_out_of_measurements_stands() -> None:
    def half(s: object, t: object) -> object:
        yield Finding("HALF", "warning", "a", "There is a fault.")
        raise NotMeasured("The rest was not recorded.")

    item = Check("HALF", "Fine.", half, None)  # type: ignore[arg-type]
    assert [f.subject for f in run_check(item, world().measure(), Thresholds())] == ["a"]


def test_idle_modes_are_named_where_only_one_mode_has_tasks() -> None:
    w = world()
    modes = {m: {"target_tasks": []} for m in ("journey", "lifecycle", "behavior")}
    config = {**w.facts.config, "hmm_triple_mode": {"modes": modes}}
    w.facts = replace(w.facts, config=config, hmm_modes=dict.fromkeys(w.facts.tasks, "behavior"))
    assert {f.subject for f in found(w, "HMM-MODE-IMBALANCE") if f.alarm} == {"journey", "lifecycle"}


def test_few_directions_are_a_note_and_one_direction_is_a_warning() -> None:
    w = world()
    line = w.rng.normal(size=(w.n, 1)) * np.ones((1, 16))
    # 15 further directions of variance spread^2 beside one of 16
    for spread, severity in ((0.1, "info"), (0.03, "warning")):
        w.outputs["lightgcn"] = line + spread * w.rng.normal(size=(w.n, 16))
        (finding,) = found(w, "EXP-LOW-RANK")
        assert (finding.subject, finding.severity) == ("lightgcn", severity)


def test_the_cost_of_extraction_is_unknown_where_it_was_not_recorded_and_one_slow_epoch_is_no_fault() -> None:
    w = world()
    w.epochs[2]["adatt_time_share"] = 5.0
    assert [f.severity for f in found(w, "GRAD-ADATT-MEMORY")] == ["ok"]
    for line in w.epochs:
        del line["adatt_time_share"]
    assert [f.severity for f in found(w, "GRAD-ADATT-MEMORY")] == ["unknown"]


def test_the_fix_of_several_tasks_without_labels_switches_each_off() -> None:
    from ple_model.config import load_config

    w = world()
    for line in w.epochs:
        for task in ("nba", "channel"):
            line["train"]["tasks"][task], line["train"]["n"][task] = None, 0
    (finding,) = [f for f in found(w, "LOSS-TASK-ZERO") if f.alarm]
    assert finding.fix is not None
    override = finding.fix.override()
    assert override is not None
    assert not {"nba", "channel"} & set(load_config("small", overrides=(override,)).tasks)


@pytest.mark.parametrize("value", [0.31, 0.29])
def test_uncertainty_points_the_wrong_way_only_below_what_healthy_seeds_show(value: float) -> None:
    w = world()
    w.quality["nba"] = replace(w.quality["nba"], error_auroc=value)
    assert [f.alarm for f in found(w, "EVI-UNINFORMATIVE")] == [value < 0.3]


@pytest.mark.parametrize(
    ("device", "rate", "key"), [("cuda", 5e-4, "training.amp"), ("cpu", 1.0, "training.learning_rate"), ("cpu", 5e-4, "")]
)
def test_the_fix_of_a_loss_that_is_not_finite_follows_what_the_run_used(device: str, rate: float, key: str) -> None:
    w = world()
    w.epochs[3]["train"]["total"] = float("nan")
    set_config(w, "training.learning_rate", rate)
    w.facts = replace(w.facts, run={**w.facts.run, "device": device})
    (finding,) = found(w, "LOSS-NAN")
    assert finding.fix is not None
    assert finding.fix.key == key


def test_a_skipped_step_is_said_with_task_epoch_step_and_the_field_that_did_it() -> None:
    w = world()
    w.epochs[1]["nonfinite_steps"] = 2
    w.epochs.append({
        "event": "skipped", "epoch": 2, "step": 7, "tasks": ["ltv"], "inputs": {"hmm_behavior": 3}, "rows": 256, "cause": "",
    })  # fmt: skip
    (finding,) = found(w, "LOSS-NAN")
    assert finding.subject == "ltv"
    assert finding.verdict == "2 steps were skipped, the first in epoch 2, step 7."
    assert "`hmm_behavior`" in finding.cause


def test_an_onlooker_that_could_not_train_is_named_apart_from_the_model() -> None:
    w = world()
    w.epochs[0]["onlooker_nonfinite"] = {"sae": 20}
    (finding,) = found(w, "LOSS-NAN")
    assert (finding.severity, finding.subject) == ("warning", "sae")
    assert "20 steps" in finding.verdict


def test_rows_that_are_no_numbers_reach_no_verdict_but_their_own() -> None:
    w = world()
    lost = np.arange(w.n) % 20 == 0
    for values in (w.x, w.latent, w.reconstruction, *w.projected.values(), *w.added.values(), *w.own.values()):
        values[lost] = np.nan
    w.uncertainty["ctr"][lost] = np.nan
    w.bad["inputs"]["hmm_behavior"] = lost
    said = run_checks(w.measure())
    assert [f.id for f in said if f.alarm] == ["INPUT-NONFINITE"]
    assert [f.verdict for f in said if re.search(r"\bnan\b", f.verdict)] == []


def test_an_expert_that_was_fed_nan_is_not_said_to_overflow() -> None:
    w = world()
    lost = np.arange(w.n) < 30
    w.outputs["deepfm"][lost] = np.nan
    w.bad["inputs"]["features:rfm"], w.bad["experts"]["deepfm"] = lost, lost
    (finding,) = found(w, "EXP-NONFINITE")
    assert finding.cause == "Its input `features:rfm` holds NaN or Inf: the expert itself may be sound."


@pytest.mark.parametrize(
    ("auroc", "n", "severity"),
    [(0.419, 3000, "info"), (0.419, 30, "unknown"), (0.49, 3000, "ok"), (0.62, 3000, "ok"), (0.2, 3000, "warning")],
)
def test_an_uncertainty_worse_than_chance_is_not_called_good(auroc: float, n: int, severity: str) -> None:
    """0.419 on 3,000 rows lies 7 standard deviations of chance below one half, and passed a limit of 0.3."""
    w = world()
    w.quality["nba"] = RowQuality(n, 0.02, 0.3, 0.1, auroc, 0.4)
    assert [f.severity for f in found(w, "EVI-UNINFORMATIVE")] == [severity]


@pytest.mark.parametrize(
    ("id", "known"),
    [("EXP-TEMPORAL-ZERO", "temporal"), ("EXP-HGCN-NAN", "unified_hgcn"), ("EXP-PERSLAY-PAD", "perslay")],
)
def test_what_is_wrong_with_a_field_is_said_of_whichever_expert_reads_it(id: str, known: str) -> None:
    s = PLANTED[id]().statistics
    assert s.experts is not None

    def renamed(names: Iterable[str]) -> tuple[str, ...]:
        return tuple("newcomer" if n == known else n for n in names)

    reads = dict(zip(renamed(s.facts.reads), s.facts.reads.values(), strict=True))
    facts = replace(s.facts, experts=renamed(s.facts.experts), reads=reads)
    other = replace(s, facts=facts, experts=replace(s.experts, names=renamed(s.experts.names)))
    said = [[f.subject for f in run_check(checks()[id], each, Thresholds()) if f.alarm] for each in (s, other)]
    assert said[0]
    assert said[1] == [subject.replace(known, "newcomer") for subject in said[0]]


def test_a_gate_that_has_nothing_to_choose_for_may_be_uniform() -> None:
    """Of a task that is its fitted linear map alone; a collapse is still told, and that it reaches no prediction."""
    s = PLANTED["CGC-UNIFORM"]().statistics
    uniform, collapse = checks()["CGC-UNIFORM"], checks()["CGC-COLLAPSE"]
    assert [f.subject for f in run_check(uniform, s, Thresholds())] == ["timing"]
    alone = replace(s, facts=replace(s.facts, blend={"timing": 0.0, "churn": 0.5}))
    assert [f.severity for f in run_check(uniform, alone, Thresholds())] == ["ok"]
    s = PLANTED["CGC-COLLAPSE"]().statistics
    (before,) = run_check(collapse, s, Thresholds())
    task = before.subject.partition(":")[0]
    (after,) = run_check(collapse, replace(s, facts=replace(s.facts, blend={task: 0.0})), Thresholds())
    assert [e.name for e in after.evidence][len(before.evidence) :] == ["share of what the network adds that this task takes"]


def test_a_gate_on_one_expert_is_no_alarm_where_training_chose_it_and_it_pays() -> None:
    s = PLANTED["CGC-COLLAPSE"]().statistics
    assert s.written is not None
    assert s.gates is not None
    gap = Interval(-0.01, -0.02, 0.01)
    task = s.skill["test"]["churn"]
    paid = replace(task, skill=Interval(0.2, 0.1, 0.3), behind={"linear": gap, "boosting": gap})
    top = float(s.gates.mean_top[s.gates.tasks.index("churn")])
    chosen = replace(
        s, written=replace(s.written, gate_top={"churn": top}), skill={"test": {**s.skill["test"], "churn": paid}}, probes={}
    )

    def said(s: Statistics) -> list[str]:
        return [f.severity for f in run_check(checks()["CGC-COLLAPSE"], s, Thresholds())]

    assert "perslay" in s.facts.domain_experts["churn"]
    assert said(chosen) == ["info"]
    assert said(replace(chosen, written=s.written)) == ["error"]  # training ended with another mix
    assert said(replace(chosen, written=None)) == ["error"]
    for other in (
        replace(paid, behind={}),
        replace(paid, behind={"linear": Interval(0.05, 0.02, 0.08)}),
        replace(paid, rows=5),
    ):
        assert said(replace(chosen, skill={"test": {"churn": other}})) == ["error"]
    elsewhere = replace(s.facts, domain_experts={**s.facts.domain_experts, "churn": ("deepfm",)})
    assert said(replace(chosen, facts=elsewhere)) == ["error"]
    config = {"task_experts": {"tasks": {"churn": {"gate_bias": {"perslay": 20.0}}}}}
    assert said(replace(chosen, facts=replace(s.facts, config={**s.facts.config, **config}))) == ["error"]


def test_an_even_gate_is_an_alarm_only_where_it_costs_something_or_is_new() -> None:
    s = PLANTED["CGC-UNIFORM"]().statistics
    assert s.written is not None
    assert s.gates is not None
    stages = {"inputs": 0.3, "experts": 0.3, "gate": 0.29, "encoder": 0.29, "task_layer": 0.29, "prediction": 0.2}
    probes = {"timing": TaskProbe(500, stages, lost="head")}

    def said(s: Statistics) -> list[str]:
        return [f.severity for f in run_check(checks()["CGC-UNIFORM"], s, Thresholds())]

    left_so = replace(s, written=replace(s.written, gate_top={"timing": 0.13}), probes=probes)
    assert said(left_so) == ["info"]
    assert said(replace(left_so, written=s.written)) == ["warning"]  # training ended with another mix
    assert said(replace(left_so, probes={"timing": replace(probes["timing"], lost="gate")})) == ["warning"]
    task, gap = s.skill["test"]["timing"], Interval(-0.01, -0.02, 0.01)
    without = replace(left_so, probes={}, skill={})
    assert said(without) == ["info"]  # what nothing says is no alarm
    assert said(replace(without, written=s.written)) == ["warning"]
    level = replace(task, skill=Interval(0.2, 0.1, 0.3), behind={"linear": gap, "boosting": gap})
    assert said(replace(without, skill={"test": {"timing": level}})) == ["info"]
    for lost in (
        replace(level, skill=Interval(0.01, -0.1, 0.1)),
        replace(level, behind={"linear": gap, "boosting": Interval(0.05, 0.02, 0.08)}),
    ):
        assert said(replace(without, skill={"test": {"timing": lost}})) == ["warning"]
    for unknown in (replace(level, behind={}), replace(level, rows=5)):
        assert said(replace(without, skill={"test": {"timing": unknown}})) == ["info"]
    assert said(replace(left_so, written=None)) == ["warning"]
    sums = {k: np.array(getattr(s.gates, k)) for k in ("weight_sum", "weight_sq", "entropy_sum", "top_weight")}
    for values in sums.values():
        values[: len(values) // 2 + 1] = values[s.gates.tasks.index("timing")]
    everywhere = replace(
        left_so, gates=replace(s.gates, **sums), written=replace(s.written, gate_top=dict.fromkeys(s.gates.tasks, 0.13))
    )
    assert set(said(everywhere)) == {"warning"}  # what most gates have in common
    alone = [task for task in s.gates.tasks if task != "timing"][-2 * len(s.gates.tasks) // 3 :]
    mapped = replace(everywhere, facts=replace(s.facts, blend=dict.fromkeys(alone, 0.0)), skill={})
    assert set(said(mapped)) == {"info"}  # few others are left: what they have in common says nothing of gates
    strong = {**s.facts.config, "cgc": {"entropy_lambda": 0.5}}
    assert set(said(replace(mapped, facts=replace(mapped.facts, config=strong)))) == {"warning"}


def test_tasks_with_too_few_labelled_rows_are_named_beside_what_is_judged() -> None:
    s = world().measure()
    few = {k: replace(e, labelled=226) if k == "nba" else e for k, e in s.evidence.items()}
    few["ltv"] = replace(s.evidence["nba"], kind="regression", labelled=0)
    assert too_few(s, Thresholds()) == {}
    assert too_few(replace(s, evidence=few), Thresholds()) == {"nba": 226}
