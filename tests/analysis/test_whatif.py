"""What-if: cached encodings give what a full forward pass gives, intervals bracket, no change changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from analysis import whatif
from analysis.commands import intervention_items
from analysis.explain.effects import Engine
from analysis.explain.paired import PairedBootstrap
from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.intervention import Intervention
from ple_model.metrics import auc
from ple_model.run import Run


@pytest.fixture(scope="module")
def engine(tiny_run: Run) -> Engine:
    return Engine.cached(tiny_run, sample=200, seed=0)


def test_cached_encodings_give_the_predictions_of_a_full_forward(tiny_run: Run) -> None:
    engine = Engine.build(tiny_run, tiny_run.sample(), 10_000, 0)
    batch = tiny_run.sample().load(None)
    index = [i for i, s in enumerate(batch.split) if s != "train"]
    change = Intervention.parse(["ablate.temporal=zero", "edge.ctr:cvr=0"])
    with torch.no_grad():
        full = tiny_run.model()(batch.inputs.rows(torch.tensor(index)), change)
    cached = engine.predict(change)
    for task, value in full.predictions.items():
        np.testing.assert_allclose(cached[task].raw, value.numpy(), atol=1e-5)


def test_no_intervention_changes_nothing(engine: Engine) -> None:
    result = engine.whatif(Intervention(), bootstrap=20)
    assert all(t.mean_change == pytest.approx(0, abs=1e-9) and t.flips == 0 for t in result.tasks)
    assert all(t.difference.value == 0 for t in result.tasks if t.difference)


def test_cutting_an_edge_changes_only_what_lies_downstream(engine: Engine) -> None:
    changed = {t.task for t in engine.whatif("edge.ctr:cvr=0", bootstrap=0).tasks if t.mean_change > 1e-9}
    assert "cvr" in changed
    assert changed <= {"cvr", "ltv"}


def test_pinning_a_gate_changes_only_its_task_and_downstream(engine: Engine) -> None:
    changed = {t.task for t in engine.whatif("pin_gate.churn.perslay=1", bootstrap=0).tasks if t.mean_change > 1e-7}
    assert changed <= {"churn", "retention"}
    assert "churn" in changed


def test_the_interval_of_the_difference_brackets_it(engine: Engine) -> None:
    result = engine.whatif("ablate.deepfm=zero", bootstrap=60)
    judged = [t for t in result.tasks if t.difference is not None]
    assert {t.metric for t in judged} >= {"auc", "mae", "accuracy"}
    for t in judged:
        assert t.difference is not None
        assert t.before is not None
        assert t.after is not None
        assert t.difference.low <= t.difference.value <= t.difference.high
        assert t.difference.value == pytest.approx(t.after.value - t.before.value)


def test_the_same_seed_gives_the_same_result(engine: Engine) -> None:
    a, b = (engine.whatif("hmm.journey=default", bootstrap=30, seed=4) for _ in range(2))
    assert a.tasks == b.tasks


def test_effects_hold_one_row_an_intervention(engine: Engine) -> None:
    e = engine.effects(["ablate.temporal=mean", "edge.ctr:cvr=0"])
    assert e.mean_change.shape == (2, len(engine.kinds))
    assert e.n == len(engine)
    single = engine.whatif("edge.ctr:cvr=0", bootstrap=0).task("cvr")
    assert e.flips[1, e.tasks.index("cvr")] == single.flips


def test_standard_interventions_are_all_understood(engine: Engine) -> None:
    for item in engine.standard_interventions():
        engine.parse(item).check(
            engine.model.expert_names,
            engine.model.task_names,
            [e.key for e in engine.model.edges],
            engine.model.sae.n_latents,  # type: ignore[union-attr]
        )


def test_a_dose_at_the_sources_own_value_gives_the_targets_own_answer(engine: Engine) -> None:
    dose = engine.dose_response()["ctr:cvr"]
    p = float(engine.before["ctr"].raw[: dose.n].mean())
    own = float(engine.before["cvr"].raw[: dose.n].mean())
    assert min(dose.target) - 0.02 <= np.interp(p, dose.source, dose.target) <= max(dose.target) + 0.02
    assert np.interp(p, dose.source, dose.target) == pytest.approx(own, abs=0.02)


def test_the_fast_auc_is_the_weighted_auc() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.random(80) < 0.3, np.round(rng.random(80), 1)
    w = rng.integers(0, 3, 80).astype(float)
    fast = PairedBootstrap.of_auc(y, p, p, [str(i) for i in range(80)])
    assert fast.before(w) == pytest.approx(auc(y, p, w))


def test_rows_of_a_customer_are_resampled_together() -> None:
    values = np.array([0.0, 0.0, 1.0, 1.0])
    result = PairedBootstrap.of_means(values, values, ["a", "a", "b", "b"]).run(200)[0]
    assert (result.low, result.high) == (0.0, 1.0)  # whole customers: the mean of a resample is 0, 1/2 or 1
    assert np.isnan(PairedBootstrap.of_means(values, values, ["a"] * 4).run(50)[0].low)


@pytest.mark.parametrize(
    ("words", "items"),
    [
        (["--ablate", "temporal"], ("ablate.temporal=zero",)),
        (["--ablate", "temporal=mean", "--cut", "ctr:cvr"], ("ablate.temporal=mean", "edge.ctr:cvr=0")),
        (["--pin", "churn:perslay=1.0"], ("pin_gate.churn.perslay=1.0",)),
        (["--temperature", "2", "--scale", "ctr:cvr=0.5"], ("gate_temperature=2", "edge.ctr:cvr=0.5")),
        (["--hmm", "journey=default", "--latent", "3=0"], ("hmm.journey=default", "latent.3=0")),
        (["--reconstruct"], ("replace_shared=true",)),
    ],
)
def test_switches_become_interventions(words: list[str], items: tuple[str, ...]) -> None:
    import argparse

    from analysis.commands import COMMANDS

    parser = argparse.ArgumentParser()
    next(c for c in COMMANDS if c.name == "whatif").configure(parser)
    assert intervention_items(parser.parse_args(["run", *words])) == items
    Intervention.parse(items)


def test_ple_whatif_prints_before_and_after(tiny_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whatif", str(tiny_run.path), "--cut", "ctr:cvr", "--bootstrap", "10", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["arguments"] == ["edge.ctr:cvr=0"]
    assert {"task", "mean_change", "before", "after", "difference", "flips"} <= set(printed["tasks"][0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ablate", "temporl"], "did you mean 'temporal'"),
        (["--pin", "churn=1"], "TASK:EXPERT=WEIGHT"),
        ([], "no intervention given"),
        (["--cut", "cvr:ctr"], "no such transfer edge"),
    ],
)
def test_ple_whatif_names_what_it_does_not_understand(
    tiny_run: Run, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["whatif", str(tiny_run.path), *words]) == 2
    assert message in capsys.readouterr().err


def test_the_python_entry_takes_text_or_an_intervention(tiny_run: Run) -> None:
    a = whatif(tiny_run, "edge.ctr:cvr=0", sample=200, bootstrap=0)
    b = whatif(tiny_run, Intervention(edge_scale={"ctr:cvr": 0.0}), sample=200, bootstrap=0)
    assert a.tasks == b.tasks
    with pytest.raises(UserError):
        whatif(tiny_run, "ablate.nobody=zero", sample=200)
