"""`ple bench reasons`: the rule of the true cause, ranks by hand, chance, an attribution that knows the cause, no table."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from analysis.bench.attributions import METHODS, Question, ablation, shapley
from analysis.bench.planted import CARRIERS, Planted, expressible, rank, true_causes
from analysis.bench.reason_rows import Places, rows
from analysis.bench.reasons import chance, measure
from analysis.engine.attribution import Tensors
from analysis.engine.explainer import Explainer
from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.schema import load_schema

DAY = date(2024, 7, 1)
NAMES = ("customer_id", "cause", "task", "effect", "since", "until")


def truth(*given: tuple[object, ...]) -> pa.Table:
    columns = list(zip(*given, strict=True))
    types = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.date32(), pa.date32())
    return pa.table({n: pa.array(list(c), t) for n, c, t in zip(NAMES, columns, types, strict=True)})


def told(planted: Planted, customer: str, task: str) -> frozenset[str]:
    return true_causes(planted.weights(customer, task, DAY, planted.medians(task, DAY)), task)


def test_the_true_cause_is_the_largest_one_at_work() -> None:
    june, july, august = date(2024, 6, 1), DAY, date(2024, 8, 1)
    planted = Planted.of(truth(
        ("a", "loop_break", "churn", 1.7, june, july),  # over on the day itself
        ("a", "regime", "churn", 1.0, june, None),
        ("a", "complaint", "churn", 0.9, july, august),
        ("b", "loop_break", "churn", 1.7, july, august),
        ("b", "complaint", "churn", 0.9, None, None),
        ("c", "complaint", "churn", 0.9, august, None),
        ("d", "visit_pace", "timing", 1.0, None, None),
    ))  # fmt: skip
    assert told(planted, "a", "churn") == {"regime"}
    assert told(planted, "b", "churn") == {"loop_break"}
    assert told(planted, "c", "churn") == frozenset()
    assert set(planted.tasks()) == {"churn", "timing"}


def test_a_level_counts_from_the_typical_customer_and_a_direction_in_full() -> None:
    everyone = [(c, "click_propensity", "ctr", v, None, None) for c, v in zip("abc", (0.5, 0.6, 2.5), strict=True)]
    everyone += [(c, "savings_x_evening", "ctr", v, None, None) for c, v in zip("abc", (-1.4, 1.4, 1.4), strict=True)]
    planted = Planted.of(truth(*everyone))
    assert planted.medians("ctr", DAY)["click_propensity"] == 0.6
    assert told(planted, "a", "ctr") == {"savings_x_evening"}  # 1.4 against 0.1
    assert told(planted, "c", "ctr") == {"click_propensity"}  # 1.9 against 1.4


def test_units_that_cannot_be_compared_each_have_their_own() -> None:
    assert true_causes({"cycle_length": 20.0, "age": 4.0, "deep_dive": 3.0}, "life_stage") == {"cycle_length", "age"}
    assert true_causes({"age": 4.0}, "life_stage") == {"age"}
    assert not expressible({"age"})
    assert expressible({"age", "cycle_length"})
    assert true_causes({"visit_pace": 0.0}, "timing") == frozenset()


def test_ranks_and_chance_by_hand() -> None:
    shown = [("spend_28d",), ("gap_mean_90d", "gap_mean_365d"), ("collaborative_features",)]
    assert rank({"taste_community"}, shown) == 3
    assert rank({"taste_community", "visit_pace"}, shown) == 2
    assert rank({"complaint"}, shown) is None
    assert rank({"age"}, shown) is None
    assert chance(10, 2, 1) == pytest.approx(0.2)
    assert chance(10, 2, 3) == pytest.approx(1 - 8 * 7 * 6 / (10 * 9 * 8))
    assert chance(4, 0, 3) == 0
    assert chance(2, 1, 3) == 1


def test_every_cause_of_the_generator_has_a_line_whose_inputs_exist() -> None:
    from ple_model.data.synth.generate import simulate_block  # late: draws a block
    from ple_model.fields import FIELD_SHAPES

    planted = set(simulate_block(7, 0).tables["truth"].column("cause").unique().to_pylist())
    assert planted == set(CARRIERS)
    schema = load_schema()
    names = [*schema.index, *schema.parts, *FIELD_SHAPES]
    for cause, line in CARRIERS.items():
        for pattern in line.inputs:
            one = type(line)((pattern,), line.why)
            assert any(one.holds(n) for n in names), f"{cause}: nothing is called {pattern}"


def test_the_table_of_rows_by_hand() -> None:
    places = Places(
        ["a", "b", "c", "d"], [frozenset({"age"})] + [frozenset({"regime"})] * 3, {"m": [0, 1, 3, 5], "o": [1, 1, 1, 1]},
        {"m": [0, 1, 2, 3], "o": [1, 1, 1, 1]}, {"m": [1, 1, 2, 4], "o": [1, 1, 1, 1]}, [(0.1, 0.3, 0.5)] * 4,
    )  # fmt: skip
    found = {r.measure: r for r in rows({"life_stage": places, "churn": Places()})}
    one = found["life_stage, m: true cause in the first 3"]
    assert (one.value, one.detail["first 1"], one.detail["first 5"]) == (0.5, 0.25, 0.75)
    assert (one.detail["first 3, either side"], one.detail["no input says it"]) == (0.75, 0.25)
    assert one.detail["first 3, counted in it"] == 0.75
    assert one.met is False
    assert found["life_stage, chance: true cause in the first 3"].value == pytest.approx(0.3)
    assert found["all tasks, o less m: first 3"].value == 0.5
    assert found["life_stage, m, where age is a true cause: any true one in the first 3"].value == 0


@pytest.fixture(scope="module")
def planted(tiny_run: Run) -> Planted:
    """Of the customers of the tiny run: who was planted what is made up."""
    ids = sorted(set(tiny_run.sample().table(["customer_id"]).column(0).to_pylist()))
    return Planted.of(
        truth(*((c, "complaint", "churn", 0.9, None, None) for c in ids[::2]),
              *((c, "heavy_tail", "ltv", 0.5, None, None) for c in ids[1::2]))
    )  # fmt: skip


@pytest.fixture(scope="module")
def moved(tiny_run: Run) -> Planted:
    """Everybody was moved, each in a direction of their own."""
    ids = sorted(set(tiny_run.sample().table(["customer_id"]).column(0).to_pylist()))
    return Planted.of(truth(*((c, "taste_community", "churn", 0.9, None, None) for c in ids)))


def knowing(cause: str) -> Callable[[Question], Tensors]:
    """An attribution that puts everything on the columns that carry a cause, in the direction of the difference."""

    def method(case: Question) -> Tensors:
        schema = case.explainer.model.context.schema
        found = [torch.zeros_like(e) for e in case.path.ends]
        at = case.path.fields.index("features")
        for i, c in enumerate(schema.columns):
            found[at][0, i] = float(CARRIERS[cause].holds(c.name)) * (1 if case.default.difference >= 0 else -1)
        return tuple(found)

    return method


def test_an_attribution_that_knows_the_cause_is_always_right(
    tiny_run: Run, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explainer, "outcomes", property(lambda _: None))  # customers bear none of these out
    methods = {"knows": knowing("complaint"), "errs": knowing("heavy_tail")}
    found = measure(tiny_run, planted, ["churn", "ltv"], methods, customers=4)
    assert set(found["churn"].shown["knows"]) == {1}
    assert set(found["churn"].shown["errs"]) == {0}
    assert set(found["ltv"].shown["errs"]) == {1}
    assert not set(found["churn"].customers) & set(found["ltv"].customers)


def test_every_method_ranks_the_same_reasons(tiny_run: Run, moved: Planted) -> None:
    found = measure(tiny_run, moved, ["churn"], METHODS, customers=1)
    shown = {r.measure for r in rows(found)}
    assert {f"churn, {name}: true cause in the first 3" for name in METHODS} <= shown
    assert len(found["churn"].chance) == len(found["churn"].customers) == 1


def test_faithfulness_is_measured_by_method(tiny_run: Run, moved: Planted) -> None:
    methods = {n: METHODS[n] for n in ("gradient x input", "random")}
    found = measure(tiny_run, moved, ["churn"], methods, customers=1, tested=1)
    tests = {name: one[0] for name, one in found["churn"].tests.items()}
    assert tests["random"][3] == 0  # noise does not hear the customer
    assert tests["gradient x input"][3] > 0
    assert np.isfinite(tests["gradient x input"][:4]).all()
    assert "all tasks, random: random orders that deletion and insertion beat" in {r.measure for r in rows(found)}


@pytest.mark.parametrize("method", [shapley, ablation])
def test_shapley_values_add_up_and_ablation_is_what_is_lost(
    tiny_run: Run, moved: Planted, method: Callable[[Question], Tensors]
) -> None:
    def checked(case: Question) -> Tensors:
        found = method(case)
        if method is shapley:
            assert sum(float(v.sum()) for v in found) == pytest.approx(case.default.difference, abs=1e-5)
            return found
        name = "collaborative_features"
        keep = np.array([[g != name for g in case.path.groups]])
        without = case.explainer.value_of_groups(case.path, case.score, keep)[0]
        lost = float(found[case.path.fields.index(name)].sum())
        assert lost == pytest.approx(case.default.prediction - without, abs=1e-6)
        return found

    assert len(measure(tiny_run, moved, ["churn"], {"m": checked}, customers=1)["churn"].customers) == 1


def test_an_absent_or_foreign_truth_table_is_named(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["bench", "reasons", "--run", str(tiny_run.path), "--events", str(tmp_path)]
    assert main(asked) == 2
    assert "truth.parquet" in capsys.readouterr().err
    pq.write_table(pa.table({"cause": ["age"]}), tmp_path / "truth.parquet")
    assert main(asked) == 2
    assert "no column 'customer_id'" in capsys.readouterr().err
    pq.write_table(truth(("a", "moon", "churn", 1.0, None, None)), tmp_path / "truth.parquet")
    with pytest.raises(UserError, match="moon"):
        Planted.read(tmp_path)
    pq.write_table(truth(("a", "regime", "churn", 1.0, None, None)), tmp_path / "truth.parquet")
    assert main([*asked, "--method", "integrated gradient"]) == 2
    assert "integrated gradients" in capsys.readouterr().err
    assert main(["bench", "reasons"]) == 2
    assert "--run" in capsys.readouterr().err


def test_a_task_without_skill_is_listed_with_the_reason(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(truth(("a", "regime", "churn", 1.0, None, None)), tmp_path / "truth.parquet")
    asked = ["bench", "reasons", "--run", str(tiny_run.path), "--events", str(tmp_path), "--json", "--task", "ltv"]
    assert main(asked) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["measure"] == "ltv: left out, nothing planted in it; skill"
