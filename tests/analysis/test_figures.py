"""Figures: tests assert on the info that is drawn, and that each figure renders for healthy, faulty and empty statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.figures import data, evidence, experts, gates, hmm, sae, transfer, whatif
from analysis.figures import skill as skill_figures
from analysis.figures.registry import figures_of
from analysis.results.whatif import StrengthSweep, TaskEffect, WhatIfResult
from analysis.stats.run import Statistics
from ple_model.interval import Interval
from tests.analysis.planted import PLANTED, healthy
from tests.analysis.test_verdict import of


@pytest.fixture(scope="module")
def well() -> Statistics:
    return healthy()


def state(s: Statistics, name: str) -> str:
    return next(h.state for h in experts.health_info(s) if h.name == name)


def test_starved_dead_and_broken_experts_are_told_apart(well: Statistics) -> None:
    assert state(well, "temporal") == "alive"
    assert state(PLANTED["EXP-TEMPORAL-ZERO"]().statistics, "temporal") == "starved"
    assert state(PLANTED["EXP-DEAD"]().statistics, "causal") == "dead"
    assert state(PLANTED["EXP-NONFINITE"]().statistics, "deepfm") == "not finite"
    assert state(healthy(40), "temporal") == "unknown"


def test_the_health_bars_sum_to_one(well: Statistics) -> None:
    figure = experts.health(experts.health_info(PLANTED["EXP-TEMPORAL-ZERO"]().statistics))
    total: dict[str, float] = {}
    for trace in figure.data:
        for name, share in zip(trace.y, trace.x, strict=True):
            total[name] = total.get(name, 0.0) + share
    assert all(v == pytest.approx(1.0) for v in total.values())
    assert {t.name for t in figure.data} == {"alive", "starved", "zero fallback"}


def test_mass_against_effect_has_one_point_a_cell() -> None:
    s = healthy()
    assert s.gates is not None
    assert s.effects is not None
    named = replace(s.effects, interventions=("ablate.temporal=mean", *s.effects.interventions[1:]))
    info = experts.mass_effect_info(s.gates, named)
    assert {m.expert for m in info} == {"temporal"}
    assert len(info) == len(s.gates.tasks)
    assert info[0].mass == pytest.approx(s.gates.mean[0, s.gates.experts.index("temporal")])


def test_skill_has_model_and_simpler_answers_on_one_axis() -> None:
    tasks = {"churn": of("churn", 0.3), "ctr": of("ctr", 0.05), "ltv": of("ltv", -3.0), "nba": of("nba", 0.1, rows=20)}
    drawn = skill_figures.skill(tasks)
    at = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in drawn.data}
    assert at["boosting"] == dict.fromkeys(tasks, 0.3)
    assert at["this model"] == {"churn": 0.3}
    assert at["this model, too few to say"] == {"nba": 0.1}
    # far below a constant the axis ends, and a triangle says that the value lies further on
    assert at["this model, no better than a constant"] == {"ctr": 0.05, "ltv": skill_figures.LOWEST}
    worse = next(trace for trace in drawn.data if trace.name == "this model, no better than a constant")
    assert list(worse.marker.symbol) == ["circle", "triangle-left"]
    assert worse.customdata[1][0] == -3.0
    assert "linear" not in at


def test_the_gate_heatmap_shows_the_mean_weights(well: Statistics) -> None:
    assert well.gates is not None
    z = np.asarray(gates.weights(well.gates).data[0].z)
    np.testing.assert_allclose(z.sum(1), 1.0)


def test_the_prior_shift_of_unmoved_gates_is_zero() -> None:
    s = PLANTED["CGC-UNMOVED"]().statistics
    assert s.gates is not None
    np.testing.assert_allclose(np.asarray(gates.prior_shift(s.gates, s.facts.prior()).data[0].z), 0.0, atol=1e-12)


def test_a_cell_histogram_counts_every_row(well: Statistics) -> None:
    assert well.gates is not None
    assert sum(gates.cell(well.gates, "ctr", "temporal").data[0].y) == well.n


def test_the_projection_map_leaves_default_rows_out_and_keeps_most_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    default = np.arange(300) < 100
    info = hmm.projection_map(x, np.zeros(6), default, ["a"] * 300)
    assert len(info.xy) == len(info.labels) == 200
    assert sum(info.explained) == pytest.approx(1.0)


def test_many_points_are_drawn_by_webgl_and_few_are_not() -> None:
    rng = np.random.default_rng(0)
    many = hmm.projection_map(rng.normal(size=(3000, 4)), np.zeros(4), np.zeros(3000, bool), ["a"] * 3000)
    few = hmm.projection_map(rng.normal(size=(30, 4)), np.zeros(4), np.zeros(30, bool), ["a"] * 30)
    assert hmm.projection(many).data[0].type == "scattergl"
    assert hmm.projection(few).data[0].type == "scatter"


def test_too_few_points_make_an_empty_map() -> None:
    info = hmm.projection_map(np.zeros((2, 4)), np.zeros(4), np.zeros(2, bool), ["a", "b"])
    assert len(info.xy) == 0
    assert hmm.projection(info).data[-1].name == "default embedding"


def test_the_dag_places_sources_left_of_targets() -> None:
    where = transfer.layout([("ctr", "cvr"), ("cvr", "ltv"), ("churn", "retention")])
    assert where["ctr"][0] < where["cvr"][0] < where["ltv"][0]
    assert where["ctr"][1] == where["ltv"][1] != where["churn"][1]


def test_the_dag_names_each_edges_numbers(well: Statistics) -> None:
    info = transfer.edges_info(well)
    assert [e.edge for e in info] == list(well.facts.edges)
    assert all(np.isfinite(e.ratio) and np.isfinite(e.change) for e in info)
    assert len(transfer.dag(info).layout.annotations) == len(info)


def test_reliability_leaves_empty_bins_out(well: Statistics) -> None:
    figure = evidence.reliability(well.evidence["ctr"])
    assert len(figure.data[1].x) == int((well.evidence["ctr"].bin_count > 0).sum())


def test_risk_coverage_lies_between_best_and_worst() -> None:
    rng = np.random.default_rng(0)
    figure = evidence.coverage(rng.random(500), (rng.random(500) < 0.3).astype(float))
    by_name = {t.name: np.asarray(t.y) for t in figure.data}
    assert (by_name["by uncertainty"] >= by_name["best possible"] - 1e-12).all()


def test_presence_bars_hold_the_absent_share() -> None:
    s = PLANTED["EXP-ZERO-INPUT"]().statistics
    assert s.inputs is not None
    figure = data.presence(s.inputs)
    shares = dict(zip(figure.data[0].y, figure.data[0].x, strict=True))
    assert shares["session_seq"] == 1.0
    assert shares["txn_seq"] == 0.0


def test_density_leaves_dead_latents_out() -> None:
    s = PLANTED["SAE-DEAD"]().statistics
    assert s.sae is not None
    assert sum(sae.density(s.sae).data[0].y) == int((s.sae.active > 0).sum())


def test_differences_are_drawn_with_their_intervals() -> None:
    effect = TaskEffect(
        "ctr", "binary", 10, 0.1, "probability", 2, 10, "auc", Interval(0.7), Interval(0.6), Interval(-0.1, -0.2, 0.0)
    )
    result = WhatIfResult("x", ("edge.ctr:cvr=0",), 10, 0.1, (effect,))
    figure = whatif.difference(result, "auc")
    assert figure.data[0].error_x.array[0] == pytest.approx(0.1)
    assert figure.data[0].error_x.arrayminus[0] == pytest.approx(0.1)
    assert whatif.change(result).data[0].x[0] == pytest.approx(0.2)


@pytest.mark.parametrize("id", ["EXP-TEMPORAL-ZERO", "CGC-NONFINITE", "SAE-LOW-FVE", "EXP-HGCN-NAN"])
def test_every_report_figure_renders_with_faults(id: str) -> None:
    drawn = [draw() for _, draw in figures_of(PLANTED[id]().statistics)]
    assert len(drawn) > 10
    assert all(f.data for f in drawn)


def swept(metric: str) -> StrengthSweep:
    factors = (0.0, 1.0, 2.0)
    values = tuple(Interval(v, v - 0.1, v + 0.1) for v in (0.6, 0.7, 0.65)) if metric else ()
    differences = (Interval(-0.1, -0.15, -0.05), Interval(0.0, 0.0, 0.0), Interval(-0.05, -0.1, 0.02)) if metric else ()
    return StrengthSweep(
        "a:b", 300, factors, (0.02, 0.0, 0.01), "probability", (0.1, 0.0, 0.05), metric, 200, values, differences
    )


def test_a_sweep_draws_the_metric_with_the_band_of_the_difference_closed_at_the_trained_strength() -> None:
    figure = transfer.sweep(swept("auc"))
    high, low, line = figure.data
    np.testing.assert_allclose(line.y, (0.6, 0.7, 0.65))
    np.testing.assert_allclose(low.y, (0.55, 0.7, 0.6))
    np.testing.assert_allclose(high.y, (0.65, 0.7, 0.72))
    assert figure.layout.yaxis.title.text == "AUC"


def test_a_sweep_without_a_metric_draws_the_change_of_the_predictions() -> None:
    for figure in (transfer.sweep(swept("")), transfer.sweep(swept("auc"), "change")):
        assert len(figure.data) == 1
        np.testing.assert_allclose(figure.data[0].y, (0.02, 0.0, 0.01))
        assert figure.layout.yaxis.title.text == "mean change of the prediction"
