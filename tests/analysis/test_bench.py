"""The two forms of the analysis benchmarks agree."""

from __future__ import annotations

import pytest

from analysis.bench import diagnose, skill, whatif
from analysis.record import Recorder
from ple_model.bench.customers import context, customers
from ple_model.bench.measure import Disagreement, agree
from ple_model.config import load_config
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run


def test_an_intervention_from_cached_experts_is_that_of_the_full_pass() -> None:
    model = PLEClusterAdaTT(load_config("small"), context()).eval()
    inputs = customers(12, seed=0)
    engine = whatif.encode(model, inputs)
    change = engine.parse(whatif.CHANGE)
    found = whatif.cached(engine, change)
    assert agree("whatif", found, whatif.full(model, inputs, change), 1e-4) < 1e-4
    with pytest.raises(Disagreement):
        agree("whatif", found, whatif.full(model, inputs, Intervention()), 1e-4)


def test_the_diagnose_pass_stores_what_a_bare_forward_pass_predicts(tiny_run: Run) -> None:
    data = tiny_run.sample()
    difference, store = diagnose.check(tiny_run, tiny_run.model(), data)
    assert difference < 1e-4
    assert store.statistics.n == data.manifest.rows


def test_the_pass_is_timed_without_the_interventions_that_follow(tiny_run: Run) -> None:
    assert diagnose.passed(tiny_run, tiny_run.sample()) >= 0


def test_the_pass_without_skill_measures_the_mechanics_alike_and_nothing_else(tiny_run: Run) -> None:
    whole, less = (skill.seconds(by, tiny_run, tiny_run.sample())[1].statistics for by in (Recorder, skill.Mechanics))
    assert skill.compared(whole, less) == 0.0
    assert whole.written is not None
    assert whole.skill
    assert whole.labels
    assert (less.written, less.consistency, less.skill, less.labels, less.probes) == (None, None, {}, {}, {})
