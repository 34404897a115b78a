"""What-if: cached encodings give what a full forward pass gives, intervals bracket, no change changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import whatif, whatif_customer
from analysis.commands import intervention_items
from analysis.engine.columns import FeatureRows, TrainingColumns
from analysis.engine.effects import Engine
from analysis.engine.paired import PairedBootstrap
from analysis.engine.strengths import dose_response, sweep
from ple_model.cli import main
from ple_model.context import ModelContext
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.normalize import Normalizer
from ple_model.errors import UserError
from ple_model.intervention import Intervention
from ple_model.metrics import auc
from ple_model.run import Run
from ple_model.schema import PART_SLICES, load_schema
from tests.factories import random_inputs


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


def test_edited_features_give_what_the_whole_model_says_of_customers_edited_by_hand(tiny_run: Run) -> None:
    engine = Engine.build(tiny_run, tiny_run.sample(), 10_000, 0, batch_size=64)
    batch = tiny_run.sample().load(None)
    inputs = batch.inputs.rows(torch.tensor([i for i, s in enumerate(batch.split) if s != "train"]))
    features, presence = inputs.features.clone(), dict(inputs.presence or {})
    features[:, load_schema().index["recency_days"]] = 2.0
    features[:, load_schema().index["purchase_count_7d"]] *= 1.5
    features[:, PART_SLICES["deposit"]] = 0
    presence["features:deposit"] = torch.zeros(len(inputs), dtype=torch.bool)
    assert inputs.txn_seq is not None
    presence["txn_seq"] = presence["features:deposit"]
    by_hand = replace(inputs, features=features, txn_seq=torch.zeros_like(inputs.txn_seq), presence=presence)
    edits = {"recency_days": 2.0, "purchase_count_7d": "*1.5", "deposit": "absent", "txn_seq": "absent"}
    change = Intervention(features=edits, edge_scale={"ctr:cvr": 0.0})
    with torch.no_grad():
        full = tiny_run.model()(by_hand, Intervention(edge_scale={"ctr:cvr": 0.0}))
    cached = engine.predict(change)
    for task, value in full.predictions.items():
        np.testing.assert_allclose(cached[task].raw, value.numpy(), atol=1e-5)
    assert engine.whatif(change, bootstrap=0).task("churn").mean_change > 0


def test_one_customer_is_answered_as_the_whole_model_does(tiny_run: Run) -> None:
    sample = tiny_run.sample()
    found = whatif_customer(tiny_run, "test-00003", ("feature.recency_days=2", "edge.ctr:cvr=0"), "churn")
    row = sample.table(["customer_id"]).column("customer_id").to_pylist().index("test-00003")
    inputs = sample.take([row]).inputs
    features = inputs.features.clone()
    features[:, 0] = 2.0
    model = tiny_run.model()
    with torch.no_grad():
        before = model(inputs).predictions["churn"]
        after = model(replace(inputs, features=features), Intervention.parse(["edge.ctr:cvr=0"])).predictions["churn"]
    shown = tiny_run.calibration["churn"]
    assert found.before == pytest.approx(float(shown(before.numpy())[0]), abs=1e-5)
    assert found.after == pytest.approx(float(shown(after.numpy())[0]), abs=1e-5)
    move = next(m for m in found.tasks if m.task == "churn")
    assert (move.before, move.after) == (found.before, found.after)
    assert [m.distance for m in found.tasks] == sorted((m.distance for m in found.tasks), reverse=True)
    assert len(found.tasks) == len(model.tasks)


def test_no_change_leaves_a_customer_as_predicted(tiny_run: Run) -> None:
    found = whatif_customer(tiny_run, "test-00003", "edge.ctr:cvr=1")
    assert found.before == found.after
    assert all(m.distance == 0 and not m.flips for m in found.tasks)
    assert found.target_name


def test_a_task_that_learned_nothing_is_not_said_to_move(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelContext, "learned", lambda _, task: task != "churn")
    found = whatif_customer(tiny_run, "test-00003", "feature.recency_days=2")
    assert "churn" not in {m.task for m in found.tasks}
    with pytest.raises(UserError, match="no label"):
        whatif_customer(tiny_run, "test-00003", "feature.recency_days=2", "churn")


def test_a_value_outside_the_training_range_is_allowed_and_said(engine: Engine) -> None:
    inside = engine.whatif("feature.recency_days=0", bootstrap=0)
    outside = engine.whatif("feature.recency_days=5000", bootstrap=0)
    assert inside.notes == ()
    assert "outside" in outside.notes[0].en
    assert "5,000" in outside.notes[0].en
    assert "벗어납니다" in outside.notes[0].ko
    assert str(outside).splitlines()[-1] == f"note: {outside.notes[0].en}"
    shifted = engine.whatif("feature.recency_days=+5000", bootstrap=0)
    assert shifted.notes[0].en.startswith("100.0% of the customers")


def test_the_training_range_is_that_of_all_training_customers(tiny_run: Run) -> None:
    known = TrainingColumns.of(tiny_run)
    x = tiny_run.dataset().load("train").inputs.features.numpy()[:, 0]  # type: ignore[union-attr]
    found = known.range("recency_days")
    assert (found.low, found.high) == (pytest.approx(x.min()), pytest.approx(x.max()))
    assert (found.n, found.whole) == (len(x), True)
    older = TrainingColumns(known.rows, known.normalizer, None, trained=False).range("recency_days")
    assert not older.whole
    assert found.low <= older.low <= older.middle <= older.high <= found.high
    assert known.percentile("recency_days", found.low - 1) == 0
    assert known.percentile("recency_days", found.high + 1) == 1
    assert known.percentile("recency_days", found.middle) == pytest.approx(0.5, abs=0.01)


def test_rows_that_lack_what_is_edited_are_counted() -> None:
    rows = FeatureRows.of([random_inputs(8, absent={"features:rfm": [0, 1, 2]})])
    known = TrainingColumns(rows, Normalizer.identity())
    edits = Intervention(features={"recency_days": rows.features[4, 0], "rfm": "absent"}).feature_edits
    said = [n.en for n in known.notes(edits, rows, Normalizer.identity())]
    assert said == [
        "3 of 8 customers have nothing in rfm (recency, frequency and spend): their recency_days stays empty.",
        "3 of 8 customers had no rfm to begin with.",
    ]


def test_values_that_the_normaliser_cuts_off_or_ignores_are_said() -> None:
    inputs = random_inputs(60)
    real = np.tile(np.linspace(0, 10, 60)[:, None], (1, 734))
    real[:, 1] = 3.0
    fitted = Normalizer.fit(real, ["linear"] * 734)
    rows = FeatureRows.of([replace(inputs, features=torch.from_numpy(fitted.transform(real)))])
    known = TrainingColumns(rows, fitted)
    first, second = load_schema().names[:2]
    said = [n.en for n in known.notes(Intervention(features={first: 1e4, second: 4}).feature_edits, rows, fitted)]
    assert len(said) == 3
    assert "outside what 60 training customers" in said[0]
    assert "(0 to 10 days)" in said[0]
    assert "beyond" in said[1]
    assert "reads nothing" in said[2]


def test_a_dataset_with_a_normaliser_of_its_own_is_edited_in_real_units(tiny_run: Run, tmp_path: Path) -> None:
    sample = tiny_run.sample()
    batch = sample.load("test", limit=80)
    g = np.random.default_rng(0)
    own = Normalizer.fit(g.normal(30, 5, (200, 734)), ["linear"] * 644 + ["raw"] * 90)
    context = sample.context()
    engine = Engine.build(tiny_run, write_dataset(tmp_path / "d", [batch], context=context, normalizer=own), 100, 0)
    with torch.no_grad():
        edited = engine.predict(Intervention(features={"recency_days": 40.0}))
        features = batch.inputs.features.clone()
        features[:, 0] = float((40.0 - own.centre[0]) / own.scale[0])
        by_hand = tiny_run.model()(replace(batch.inputs, features=features)).predictions
    np.testing.assert_allclose(edited["churn"].raw, by_hand["churn"].numpy(), atol=1e-5)


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
    dose = dose_response(engine)["ctr:cvr"]
    p = float(engine.before["ctr"].raw[: dose.n].mean())
    own = float(engine.before["cvr"].raw[: dose.n].mean())
    assert min(dose.target) - 0.02 <= np.interp(p, dose.source, dose.target) <= max(dose.target) + 0.02
    assert np.interp(p, dose.source, dose.target) == pytest.approx(own, abs=0.02)


@pytest.mark.parametrize("edge", ["ctr:cvr", "nba:spending_category", "cvr:ltv", "churn:retention"])
def test_a_sweep_gives_what_the_whole_model_says_at_each_strength(engine: Engine, edge: str) -> None:
    found = sweep(engine, edge, (0.0, 0.5, 1.0, 2.0), bootstrap=40)
    assert found.n == len(engine)
    for i, factor in enumerate(found.factors):
        plain = engine.whatif(f"edge.{edge}={factor}", bootstrap=40).task(found.target)
        assert found.change[i] == pytest.approx(plain.mean_change, abs=1e-6)
        assert found.flips[i] == pytest.approx(plain.flip_share, abs=0.01, nan_ok=True)
        assert (found.metric, found.n_labelled) == (plain.metric, plain.n_labelled)
        if found.metric:
            assert plain.after is not None
            assert found.values[i].value == pytest.approx(plain.after.value, abs=1e-4)
            assert found.differences[i].low <= found.differences[i].value <= found.differences[i].high
    at_one = found.factors.index(1.0)
    assert found.change[at_one] == 0
    assert not found.metric or (found.differences[at_one].low, found.differences[at_one].high) == (0, 0)


def test_a_sweep_without_labels_still_says_how_far_predictions_move(tiny_run: Run) -> None:
    plain = Engine.cached(tiny_run, sample=200, seed=0)
    bare = Engine(plain.model, plain.encoded, {}, plain.customers, plain.calibration)
    found = sweep(bare, "ctr:cvr")
    assert (found.metric, found.values) == ("", ())
    assert found.change[0] > 0
    with pytest.raises(UserError, match="did you mean 'ctr:cvr'"):
        sweep(bare, "ctr:cvrr")


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
        (["feature.recency_days=3", "--cut", "ctr:cvr"], ("feature.recency_days=3", "edge.ctr:cvr=0")),
        (["--feature", "purchase_count_7d=*1.2"], ("feature.purchase_count_7d=*1.2",)),
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


def test_ple_whatif_prints_one_customer(tiny_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["whatif", str(tiny_run.path), "feature.recency_days=5000", "--customer", "test-00003"]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["arguments"] == ["feature.recency_days=5000"]
    assert {"task", "before", "after", "label_before", "distance"} <= set(printed["tasks"][0])
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "customer test-00003" in said
    assert "note: recency_days of 5,000 days is outside" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ablate", "temporl"], "did you mean 'temporal'"),
        (["--pin", "churn=1"], "TASK:EXPERT=WEIGHT"),
        ([], "no intervention given"),
        (["--cut", "cvr:ctr"], "no such transfer edge"),
        (["feature.recency=3"], "did you mean 'recency_days'"),
        (["feature.recency_days=3", "--customer", "test-3"], "no customer 'test-3'"),
        (["feature.recency_days=3", "--task", "churn"], "--customer"),
        (["feature.recency=3", "--customer", "test-00003"], "did you mean 'recency_days'"),
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
