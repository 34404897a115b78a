"""A table of one's own columns goes the whole way: guessed schema, dataset, training, explanations, scores of new rows."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.stats import ks_2samp
from streamlit.testing.v1 import AppTest

from analysis.checks.registry import run_checks
from analysis.engine.explainer import Explainer
from analysis.explain.customer import explain
from analysis.record import record
from analysis.whatif import whatif_customer
from dashboard.server import DEBUG, RUNS_VARIABLE
from ple_model.cli import main
from ple_model.config import load_config
from ple_model.data.build.folds import folds_of
from ple_model.data.dataset.reader import Dataset
from ple_model.data.own.dataset import FittedRecipe, import_own
from ple_model.data.own.starter import write_starter
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.metrics import auc
from ple_model.predict import predict
from ple_model.run import Run, load_run
from ple_model.scoring import score
from ple_model.train import train
from tests.ple_model.data import own_table

pytestmark = pytest.mark.slow

N = 700
MARRIED = {"name": "married", "kind": "label", "task": "retention", "positive": "yes", "sentence_en": "Married."}
AGE = {
    "name": "age", "kind": "numeric", "unit": "years", "fixed": True, "sentence_en": "Age at the interview.",
    "sentence_ko": "조사 때 나이입니다.",
}  # fmt: skip


def corrected(path: Path, **changes: dict[str, Any]) -> Path:
    """The schema file with entries replaced by column name."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    plain["columns"] = [changes.get(c["name"], c) for c in plain["columns"]]
    path.write_text(yaml.safe_dump(plain, allow_unicode=True), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table, corrected starter schema and dataset."""
    folder = tmp_path_factory.mktemp("own")
    own_table.write(folder / "census.csv", N)
    write_starter(folder / "census.csv", folder / "schema.yaml")
    corrected(folder / "schema.yaml", married=MARRIED, age=AGE)
    import_own(folder / "census.csv", folder / "data", folder / "schema.yaml")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    config = load_config("small", None, ["training.phase1_epochs=5", "training.phase2_epochs=1", "training.batch_size=64"])
    train(Dataset.open(place / "data"), place / "run", config, preset="small", device="cpu")
    return load_run(place / "run")


def test_the_starter_says_what_each_column_looks_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, schema = own_table.write(tmp_path / "t.csv", 300), tmp_path / "s.yaml"
    assert main(["import", "features", str(file), str(tmp_path / "out"), "--schema", str(schema)]) == 0
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().out
    assert "'>50K' counts as 1" in said
    kinds = {c["name"]: c["kind"] for c in yaml.safe_load(schema.read_text())["columns"]}
    assert kinds["person_id"] == "id"
    assert kinds["age"] == kinds["answer 3"] == "numeric"
    assert {c["name"] for c in yaml.safe_load(schema.read_text())["columns"] if c.get("fixed")} == {"age"}
    assert "fixed: by its name nobody can change it" in said
    assert kinds["capital gain"] == "raw"
    assert kinds["workclass"] == kinds["category"] == "categorical"
    assert kinds["note"] == kinds["batch"] == "ignored"
    assert kinds["income"] == "label"
    assert list(kinds) == list(own_table.columns(1))


def test_the_width_is_the_tables_own(place: Path) -> None:
    dataset = Dataset.open(place / "data")
    names = dataset.schema.names
    made = {"age", "workclass_is_Private", "education_is_HS", "hours_per_week", "capital_gain", "capital_gain_raw"}
    assert made <= set(names)
    # a column with the name of one of the package's parts gets another, so that no page calls it by that part's title
    assert "category" not in dataset.parts
    assert "category_column" in dataset.parts
    batch = dataset.load()
    assert batch.inputs.features.shape == (N, len(names)) == (N, 42)
    batch.inputs.validate()
    table = own_table.columns(N)
    own = dataset.normalizer().inverse(batch.inputs.features.numpy())
    row = [int(c[1:]) for c in batch.customer_id]
    np.testing.assert_allclose(own[:, names.index("age")], np.array(table["age"])[row], rtol=1e-4)
    np.testing.assert_allclose(own[:, names.index("capital_gain_raw")], np.array(table["capital gain"])[row], rtol=1e-5)
    private = [table["workclass"][i] == "Private" for i in row]
    unknown = np.array([table["workclass"][i] == "?" for i in row])
    np.testing.assert_array_equal(own[~unknown, names.index("workclass_is_Private")] > 0.5, np.array(private)[~unknown])
    np.testing.assert_array_equal(batch.inputs.present("features:workclass").numpy(), ~unknown)
    assert batch.inputs.targets is not None
    assert batch.inputs.targets["churn"].tolist() == [int(table["income"][i] == ">50K") for i in row]


def test_no_customer_is_told_to_be_of_training_by_the_clusters(place: Path) -> None:
    """The mixture's certainty, by folds; with the components that everybody's rows shaped the training rows lie nearer."""
    data, fitted = Dataset.open(place / "data"), FittedRecipe.load(place / "data" / "artifacts")
    train, others = data.load("train"), [data.load(s) for s in ("validation", "test")]
    probs = [np.asarray(b.inputs.cluster_probs) for b in (train, *others)]
    known, unknown = probs[0], np.concatenate(probs[1:])
    told = [ks_2samp(known[:, j], unknown[:, j]).pvalue for j in range(20)]
    told.append(ks_2samp(known.max(1), unknown.max(1)).pvalue)
    assert min(told) > 0.002 / len(told)
    x = [np.asarray(b.inputs.features)[:, fitted.columns.normalized] for b in (train, *others)]
    common = [fitted.gmm.posterior(v).max(1) for v in x]
    assert ks_2samp(common[0], np.concatenate(common[1:])).pvalue < 1e-20
    new = folds_of(train.customer_id[:50])
    np.testing.assert_allclose(fitted.gmm.posterior(x[0][:50], new), known[:50], atol=1e-6)


def test_a_model_of_it_has_only_experts_and_tasks_that_the_table_feeds(run: Run) -> None:
    assert list(run.config.shared_experts) == ["deepfm", "causal", "optimal_transport", "raw_scale"]
    assert list(run.config.tasks) == ["churn", "retention"]
    model = run.model()
    assert model.experts["deepfm"].field_embeddings.shape[0] == 41
    assert model.experts["raw_scale"].raw_mean.shape == (1,)
    said = " ".join(run.manifest.warnings)
    assert "experts left out, for want of any input in this dataset: unified_hgcn, perslay, temporal, lightgcn" in said
    dataset = run.dataset()
    assert dataset is not None
    rows = score(model, dataset, "test").tasks["churn"]
    assert auc(rows.label, rows.prediction) > 0.75


def test_reasons_name_the_columns_with_unit_and_sentence(run: Run) -> None:
    sample = run.sample().load()
    told = [explain(run, c, task="churn", barred=()) for c in sample.customer_id[:6]]
    assert str(told[0]).startswith(f"{sample.customer_id[0]} · Income: >50K: ")
    text = " ".join(r.en for e in told for r in e.reasons)
    assert "Age at the interview: " in text
    assert re.search(r" years \(all customers: [\d.]+ years; similar customers: [\d.]+ years\)", text)
    assert "the probability of 'Income: >50K'" in text
    assert "조사 때 나이: " in " ".join(r.ko for e in told for r in e.reasons)
    known = set(run.context().schema.names)
    assert {f.name for e in told for f in e.features} <= known
    held = [explain(run, c, task="churn") for c in sample.customer_id[:6]]  # by default an age is no reason
    assert "Age at the interview" not in " ".join(r.en for e in held for r in (*e.reasons, *e.against))
    assert all(e.barred is not None and e.barred.named("en") == ("age",) for e in held)


def test_a_column_is_one_reason_and_nobody_is_told_to_be_younger(run: Run) -> None:
    schema = run.context().schema
    assert schema.fixed == {"age"}
    found = [explain(run, c, task="churn") for c in run.sample().load().customer_id[:8]]
    moved: list[str] = []
    for e in found:
        told = [schema.columns[schema.index[c]].how for r in e.reasons for c in r.sources if c in schema.index]
        assert len(told) == len(set(told))
        if e.counterfactual is not None:
            moved += [c.name for c in e.counterfactual.changes]
            flags = [c for c in e.counterfactual.changes if c.name.startswith("education_is_")]
            assert sum(round(c.before) for c in flags) <= 1
            assert sum(round(c.after) for c in flags) <= 1
    assert moved
    assert "age" not in moved


def test_a_what_if_takes_the_columns_by_name(run: Run) -> None:
    customer = run.sample().load().customer_id[0]
    young, old = (whatif_customer(run, customer, f"feature.age={a}", task="churn").after for a in (20, 85))
    assert old > young + 0.1
    with pytest.raises(UserError, match="no such feature column; did you mean 'capital_gain'"):
        whatif_customer(run, customer, "feature.capital_gains=0", task="churn")
    gone = whatif_customer(run, customer, "feature.age=absent", task="churn")
    assert gone.after != gone.before


def test_a_diagnosis_of_it_reports_no_missing_feed(run: Run) -> None:
    statistics = record(run).statistics
    assert statistics.inputs is not None
    assert len(statistics.inputs.column_n) == 42
    assert statistics.facts.parts["age"] == slice(0, 1)
    found = run_checks(statistics)
    feeds = ("HMM-", "EXP-ZERO", "EXP-DEAD", "EXP-TEMPORAL", "DATA-EMPTY", "DATA-HOLE", "LT-INACTIVE")
    assert [(f.id, f.severity) for f in found if f.id.startswith(feeds) and f.severity != "ok"] == [("HMM-ALL-DEFAULT", "info")]


def page(name: str) -> None:
    """The app as it opens on one page (the source of this function is what AppTest runs)."""
    from dashboard.app import main

    main(name)


@pytest.mark.parametrize("name", ["data", "why_recommended"])
def test_pages_show_the_tables_columns(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(run)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # AppTest leaves its script there
    monkeypatch.setenv(RUNS_VARIABLE, str(run.path.parent))
    monkeypatch.setenv(DEBUG, "1")
    # reasons, whatever the skill of so few rows, and whether their customers bear them out
    monkeypatch.setattr(import_module("analysis.explain.customer"), "standing", lambda *_: None)
    monkeypatch.setattr(Explainer, "outcomes", property(lambda _: None))
    app = AppTest.from_function(page, args=(name,), default_timeout=120)
    app.query_params |= {"run": run.name, "task": "churn"}
    app.run()
    assert [e.message for e in app.exception] == []
    if name == "data":
        assert "Age at the interview." in set(app.dataframe[0].value.iloc[:, 4])
        assert len(app.dataframe[0].value) == 42
    else:
        said = " ".join(str(e.value) for kind in (app.markdown, app.caption) for e in kind)
        assert "the probability of 'Income: >50K' by" in said
        assert "txn_seq" not in said


def test_new_rows_are_scored_by_column_name(run: Run, tmp_path: Path) -> None:
    file = own_table.write(tmp_path / "new.csv", 60, seed=5, drop=("income", "married", "note", "batch"))
    found = predict(run, file, tmp_path / "out.parquet")
    assert found.rows == found.customers == 60
    assert str(found).startswith("60 customers, 60 rows -> ")
    table = pq.read_table(tmp_path / "out.parquet")
    truth = np.array([v == ">50K" for v in own_table.columns(60, 5)["income"]])
    assert table.column("customer_id").to_pylist() == [f"p{i}" for i in range(60)]
    assert auc(truth.astype(float), np.asarray(table.column("churn"), dtype=float)) > 0.7
    again = own_table.write(tmp_path / "again.csv", 60, seed=5, drop=("income",))
    predict(run, again, tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet").column("churn").equals(table.column("churn"))


def test_rows_that_do_not_fit_are_refused_with_the_nearest_name(run: Run, tmp_path: Path) -> None:
    table = own_table.columns(30)
    table = {("edukation" if k == "education" else k): v for k, v in table.items()}
    file = own_table.write(tmp_path / "t.csv", 30, drop=("education",), edukation=table["edukation"])
    with pytest.raises(UserError, match="has no column 'education'; did you mean 'edukation'"):
        predict(run, file, tmp_path / "out.parquet")
    file = own_table.write(tmp_path / "t.csv", 30, age=["x", *range(29)])
    with pytest.raises(UserError, match=r"'age' has 1 values that are no number .*'x'"):
        predict(run, file, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    file = own_table.write(tmp_path / "t.csv", 30, workclass=["Robot", *["Private"] * 29])
    assert any("'Robot'" in n for n in predict(run, file, tmp_path / "out.parquet").notes)


def test_rows_of_another_table_are_refused(run: Run, tiny_dataset: Dataset) -> None:
    with pytest.raises(UserError, match="'features' has 734 columns, the model was trained on 42"):
        evaluate(run, tiny_dataset, bootstrap_rounds=0, boosting=False)
    other = dataclasses.replace(run.sample().load().inputs, parts={"salary": slice(0, 42)})
    with pytest.raises(UserError, match="only one of them has 'salary'"):
        run.model()(other)


def test_a_damaged_column_file_of_a_run_is_one_sentence(run: Run, tmp_path: Path) -> None:
    file = own_table.write(tmp_path / "new.csv", 30)
    for name, change in (
        ("columns.json", lambda t: t.replace('"age"', '"agee"', 1)),
        ("columns.json", lambda t: t.replace('"scale": "linear"', '"scale": "cubic"', 1)),
        ("columns.json", lambda t: t[:200]),
        ("table.json", lambda t: t.replace('"words"', '"word"')),
        ("table.json", lambda t: t.replace('"Private"', "7", 1)),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(run.path, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("analysis", "sample", "state"))
        path = copy / "preprocess" / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        with pytest.raises(UserError, match=r"columns\.json|table\.json"):
            predict(load_run(copy), file, tmp_path / "out.parquet")


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "kind": "numeric", **changes}


INCOME = entry("income", kind="label", task="churn", positive=">50K")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([entry("age", kind="numerical"), INCOME], "'age' has the unknown kind 'numerical'; did you mean 'numeric'"),
        ([entry("agee"), INCOME], "has no column 'agee'; did you mean 'age'"),
        ([entry("age"), entry("age"), INCOME], "the name 'age' stands 2 times"),
        (
            [entry("age"), entry("income", kind="label", task="churning")],
            "of no task .'churning'.; did you mean 'churn'",
        ),
        (
            [entry("age"), entry("income", kind="label", task="churn")],
            "neither 0 nor 1.*'positive' names the one",
        ),
        ([entry("age"), INCOME | {"positive": ">50k"}], "no row holds '>50k'; did you mean '>50K'"),
        ([entry("age"), entry("batch", kind="label", task="churn")], "label 'batch' has one value .1. among the training rows"),
        ([entry("age"), INCOME, MARRIED | {"task": "churn"}], "2 labels feed the task 'churn'"),
        ([entry("age")], "names no label"),
        ([entry("age", fixed="yes"), INCOME], "column 'age': fixed is 'yes'; give true or false"),
        ([entry("age"), INCOME | {"fixed": True}], "'income' is fixed, but its kind is 'label'"),
        ([entry("education"), INCOME], "'education' has 200 values that are no number"),
        ([entry("age"), INCOME, entry("workclass", kind="id")], "ids stand in several rows"),
        ([entry("age", units="years"), INCOME], "'units' is no key; did you mean 'unit'"),
        ([INCOME], "no column is a feature"),
        (
            [entry("age"), INCOME, entry("education", kind="label", task="balance_util")],
            "'education' has 200 values that are no",
        ),
        (["age"], "entry 1 of 'columns' has no text 'name'"),
    ],
)
def test_a_schema_that_does_not_fit_is_one_sentence(columns: list[Any], message: str, tmp_path: Path) -> None:
    schema = tmp_path / "s.yaml"
    schema.write_text(yaml.safe_dump({"columns": columns}))
    with pytest.raises(UserError, match=message) as error:
        import_own(own_table.write(tmp_path / "t.csv", 200), tmp_path / "out", schema)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["columns: [", "columns: 2001-99-99", "a: !!float x", "- 1", "", "columns: []"])
def test_a_schema_that_is_no_schema_is_one_sentence(text: str, tmp_path: Path) -> None:
    schema = tmp_path / "s.yaml"
    schema.write_text(text)
    with pytest.raises(UserError, match=r"s\.yaml"):
        import_own(own_table.write(tmp_path / "t.csv", 30), tmp_path / "out", schema)
