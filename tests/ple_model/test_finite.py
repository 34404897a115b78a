"""What is no number is named before a statistic is drawn from it: weights, scalers, inputs, predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.faults.rows import changed, rewrite
from ple_model.calibration import fit_calibration
from ple_model.cli import main
from ple_model.data.commands_sources import validate_any
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.fields import FIELD_SHAPES
from ple_model.files import read_tensors, write_tensors
from ple_model.finite import Tally, bad_inputs, bad_rows
from ple_model.predict import score_to_parquet
from ple_model.run import Run, load_run
from ple_model.schema import PART_SLICES
from ple_model.scoring import brand_ranks, score
from tests.factories import random_inputs

TENSORS = (
    "towers.out_bias", "evidential.bias", "brands.keys", "cgc.linear.weight", "sae.mean", "hmm.hmm_default_embeddings.behavior",
    "experts.raw_scale.raw_mean", "weighting.task_log_vars", "adatt.ema",
)  # fmt: skip
"""A tower, the evidential heads, the brand table, the gate, buffers."""


@pytest.fixture(scope="module")
def copy(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finite") / "run"
    shutil.copytree(tiny_run.path, path, ignore=shutil.ignore_patterns("analysis", "state"))
    return path


@pytest.fixture
def broken(copy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(copy, tmp_path / "run"))


def poison(run: Path, tensor: str, value: float = float("nan")) -> None:
    tensors, meta = read_tensors(run / "model.safetensors")
    tensors[tensor].view(-1)[0] = value
    write_tensors(run / "model.safetensors", tensors, meta)


def poisoned_sample(run: Path, out: Path, field: str, share: float = 0.05) -> Dataset:
    def change(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        hit = rng.random(len(columns["customer_id"])) < share
        hit[0] = True
        changed(columns, field)[hit] = np.nan

    return rewrite(load_run(run).sample(), out, change)


@pytest.mark.parametrize("tensor", TENSORS)
def test_a_run_with_a_weight_that_is_no_number_is_not_used(broken: Path, tensor: str) -> None:
    poison(broken, tensor)
    with pytest.raises(UserError, match=rf"model\.safetensors: '{tensor}' hold NaN or Inf"):
        load_run(broken).model()
    assert not torch.isfinite(load_run(broken).model(finite=False).state_dict()[tensor]).all()


@pytest.mark.parametrize("command", [["evaluate", "--no-boosting"], ["explain"], ["whatif", "--cut", "ctr:cvr"]])
def test_commands_refuse_weights_that_are_no_numbers(
    broken: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    poison(broken, "brands.keys", float("inf"))
    name, *rest = command
    customer = str(load_run(broken).sample().table(["customer_id"]).column(0)[0])
    assert main([name, str(broken), *rest, *(["--customer", customer] if name == "explain" else [])]) == 2
    assert "'brands.keys'" in capsys.readouterr().err


def test_a_label_scaler_that_is_no_number_is_named(broken: Path) -> None:
    path = broken / "preprocess" / "context.json"
    plain = json.loads(path.read_text())
    plain["label_scalers"]["ltv"]["std"] = float("nan")
    path.write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"'label_scalers\.ltv'"):
        load_run(broken).model()


def test_a_calibration_that_is_no_number_names_the_task(broken: Path) -> None:
    path = broken / "preprocess" / "calibration.json"
    plain = json.loads(path.read_text())
    plain["churn"]["a"] = None
    path.write_text(json.dumps(plain))
    with pytest.raises(UserError, match="'churn'"):
        _ = load_run(broken).calibration


def test_a_column_scale_that_is_no_number_is_named(broken: Path) -> None:
    path = broken / "sample" / "artifacts" / "normalizer.npz"
    with np.load(path) as z:
        arrays = dict(z)
    arrays["scale"][7] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="column 7"):
        load_run(broken).sample().normalizer()


FLOATS = [f for f in FIELD_SHAPES if getattr(random_inputs(1), f).is_floating_point()]


@pytest.mark.parametrize("field", FLOATS)
def test_a_nan_in_any_input_field_is_found(field: str) -> None:
    inputs = random_inputs(8)
    getattr(inputs, field)[3].view(-1)[-1] = float("nan")
    found = bad_inputs(inputs)
    assert list(found) == [field]
    assert found[field].nonzero().flatten().tolist() == [3]


def test_evaluate_refuses_rows_that_are_no_numbers_and_names_field_task_and_share(copy: Path, tmp_path: Path) -> None:
    data = poisoned_sample(copy, tmp_path / "data", "hmm_behavior")
    with pytest.raises(UserError, match=r"'hmm_behavior' in \d\.\d\d% of [\d,]+ rows; predictions that are no numbers: '"):
        evaluate(load_run(copy), data, bootstrap_rounds=0, boosting=False)


def test_predictions_that_are_no_numbers_are_misses(copy: Path, tmp_path: Path) -> None:
    run = load_run(copy)
    data = poisoned_sample(copy, tmp_path / "data", "hmm_behavior", share=1.0)
    rows = score(run.model(), data, "test")
    assert rows.tally.inputs == {"hmm_behavior": data.rows("test")}
    behaviour = [t for t, s in run.model().tasks.items() if s.hmm_mode == "behavior"]
    assert set(behaviour) <= set(rows.tally.tasks)
    if "brand_prediction" in behaviour:
        assert np.isinf(rows.tasks["brand_prediction"].prediction).all()


def test_a_brand_score_that_is_no_number_is_no_hit() -> None:
    nan = float("nan")
    scores = torch.tensor([[0.1, 0.9, 0.5], [nan, 0.9, 0.5], [nan, nan, nan]])
    assert brand_ranks(scores, torch.tensor([1, 1, 0])).tolist() == [1.0, 2.0, float("inf")]


def test_calibration_leaves_out_what_is_no_number_and_says_when_nothing_is_left() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.6, 400)
    y = (rng.random(400) < p).astype(float)
    bad = np.arange(400) % 9 == 0
    assert fit_calibration(np.where(bad, np.nan, p), y) == fit_calibration(p[~bad], y[~bad])
    with pytest.raises(UserError, match="none of the 400 outputs is a number"):
        fit_calibration(np.full(400, np.nan), y)


def test_the_sentence_names_what_is_worst_first_and_a_customer() -> None:
    tally = Tally("bank")
    inputs = random_inputs(10)
    inputs.features[2, 5] = float("inf")
    inputs.hmm_journey[:4] = float("nan")  # type: ignore[index]
    tally.add_inputs(inputs, [f"c{i}" for i in range(10)])
    assert tally.sentence() == (
        "bank: input fields that hold NaN or Inf: 'hmm_journey' in 40.00%, 'features' in 10.00% of 10 rows "
        "(customer 'c2', for example)"
    )
    assert Tally("bank").sentence() == ""


def test_nothing_is_written_where_a_prediction_is_no_number(copy: Path, tmp_path: Path) -> None:
    run = load_run(copy)
    data = poisoned_sample(copy, tmp_path / "data", "hmm_journey")
    with pytest.raises(UserError, match="'hmm_journey' in"):
        score_to_parquet(run, run.model(), data, tmp_path / "out.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_validate_names_field_rows_and_a_customer_of_a_dataset(copy: Path, tmp_path: Path) -> None:
    def change(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        changed(columns, "hmm_behavior")[:2] = np.nan
        changed(columns, "y_ltv")[1] = np.inf

    sample = load_run(copy).sample()
    data = rewrite(sample, tmp_path / "data", change)
    parts = len(data.manifest.files)
    report = validate_any(data.path)
    assert not report.ok
    assert [(f.table, f.column, f.kind, f.rows) for f in report.faults] == [
        ("dataset", "hmm_behavior", "nonfinite", 2 * parts), ("dataset", "y_ltv", "nonfinite", parts)
    ]  # fmt: skip
    first = str(data.table(["customer_id"]).column(0)[0])
    assert report.faults[0].example.startswith(f"customer '{first}' at ")
    assert main(["validate", str(data.path)]) == 1
    assert validate_any(sample.path).faults == ()


@pytest.mark.parametrize("tensor", ["towers.out_bias", "sae.mean"])
def test_validate_names_a_weight_that_is_no_number(broken: Path, tensor: str) -> None:
    assert validate_any(broken).ok
    poison(broken, tensor)
    (fault,) = validate_any(broken).faults
    assert f"'{tensor}' hold NaN or Inf" in fault.message


def test_validate_looks_at_a_runs_sample_and_quantiles(broken: Path, tmp_path: Path) -> None:
    data = poisoned_sample(broken, tmp_path / "data", "txn_seq")
    shutil.rmtree(broken / "sample")
    shutil.copytree(data.path, broken / "sample")
    path = broken / "preprocess" / "uncertainty.json"
    plain = json.loads(path.read_text())
    next(iter(plain.values()))["values"][3] = float("nan")
    path.write_text(json.dumps(plain))
    said = validate_any(broken)
    assert {(f.table, f.column) for f in said.errors} == {("run", None), ("sample", "txn_seq")}
    assert "hold NaN or Inf" in next(f.message for f in said.errors if f.table == "run")


def test_no_number_in_a_part_that_a_row_lacks_is_a_fault_too() -> None:
    """An absent part's columns are zero by contract: experts read them without asking."""
    inputs = random_inputs(4, absent={"features:transaction_stats": [0]})
    assert not bad_inputs(inputs)
    inputs.features[0, PART_SLICES["transaction_stats"].start] = float("nan")
    assert bad_inputs(inputs)["features"].tolist() == [True, False, False, False]


def test_rows_of_numbers_too_large_to_add_up_are_numbers() -> None:
    value = torch.full((3, 4), 3e38)
    assert bad_rows(value).tolist() == [False] * 3
    value[1, 2], value[2, 0] = torch.nan, torch.inf
    assert bad_rows(value).tolist() == [False, True, True]
