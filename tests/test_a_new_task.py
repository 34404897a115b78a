"""A task that is added in one file is labelled, trained, evaluated and explained, and runs from before it stay as they were."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import ple_model.tasks as package
from analysis import explain
from analysis.explain.report import to_html
from ple_model.config import load_config
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.connect import connect
from ple_model.data.labels.labels import LabelSettings, compute_labels
from ple_model.evaluate import evaluate
from ple_model.migrations import TASKS_OF_FORMAT_1
from ple_model.run import Run, load_run
from ple_model.tasks import TASKS
from ple_model.tasks.registry import discovered
from ple_model.train import train
from tests.fakes import make_dataset, tiny_config
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

NEW = "task_of_a_test"
MODULE = '''
"""Large purchases."""

from ple_model.tasks.record import ACTIVE_365, TaskSpec

TASKS = (
    TaskSpec(
        "task_of_a_test", "Big ticket", "Consumption", "binary", "focal", 1, "behavior", 0.8, ("raw_scale",), focal_alpha=0.25,
        title_ko="고액 구매", question="Will the customer make a purchase above 100?", condition=ACTIVE_365,
        label="""
            SELECT row_id, coalesce(bool_or(amount > 100), false)::INT AS label
            FROM label_spine LEFT JOIN label_buys USING (row_id) WHERE covered >= $horizon_days GROUP BY 1""",
    ),
)
'''
OLD = (Path("tests/old_runs/format_1"), Path("tests/runs/healthy"), Path("tests/runs/cut-feed"))
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The tasks before it. The module lies in the package's folder, as far as the program can tell; it is gone afterwards."""
    folder = tmp_path_factory.mktemp("added")
    (folder / "large_purchases.py").write_text(MODULE)
    before = dict(TASKS)
    package.__path__.append(str(folder))
    try:
        now = discovered()
        TASKS.clear()
        TASKS.update(now)
        yield list(before)
    finally:
        package.__path__.remove(str(folder))
        TASKS.clear()
        TASKS.update(before)
        sys.modules.pop("ple_model.tasks.large_purchases", None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("data") / "planted", train=64, validation=32, test=32)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 1}})
    return train(data, tmp_path_factory.mktemp("runs") / "new", config, preset="small")


def test_it_is_one_more_task_of_every_preset(known: list[str]) -> None:
    assert NEW in load_config("v3_14").tasks
    assert NEW in load_config("small").hmm_triple_mode.modes["behavior"].target_tasks
    assert [n for n in TASKS if n != NEW] == known


@pytest.mark.parametrize("path", OLD, ids=str)
def test_runs_from_before_it_open_with_their_own_tasks(path: Path) -> None:
    model = load_run(ROOT / path).model()
    assert NEW not in model.task_names
    assert model.task_names == [t for t in TASKS_OF_FORMAT_1 if t in model.task_names]


def test_it_is_labelled_from_events(tmp_path: Path) -> None:
    frames = tables(60, seed=1)
    with connect(write_events(tmp_path / "events", frames)) as store:
        create_spine(store.con, CUTOFFS[:1], SplitSettings())
        who = [str(r[0]) for r in store.con.execute("SELECT customer_id FROM spine ORDER BY row_id").fetchall()]
        found = compute_labels(store, LabelSettings())
    t = frames["transactions"]
    ahead = (t["ts"] >= CUTOFFS[0]) & (t["ts"] < np.datetime64(CUTOFFS[0]) + np.timedelta64(84, "D"))
    large = set(t["customer_id"][(t["kind"] == "card") & ahead & (t["amount"] > 100)])
    there = found.defined[NEW]
    assert found.columns[NEW][there].tolist() == [int(w in large) for w, d in zip(who, there, strict=True) if d]
    assert 0 < found.columns[NEW][there].mean() < 1
    assert (found.columns[NEW][~there] == -1).all()


def test_it_is_trained_evaluated_and_explained(run: Run, data: Dataset) -> None:
    assert run.state == "finished"
    assert NEW in (run.config.task_experts.enabled_tasks or ())
    (measured,) = [t for t in evaluate(run, data, bootstrap_rounds=5, boosting=False).tasks if t.task == NEW]
    assert measured.n > 0
    assert np.isfinite([measured.metrics["log_loss"], measured.metrics["brier"]]).all()
    found = explain(run, run.sample().load("test").customer_id[0], NEW)
    assert (found.task, found.title) == (NEW, "Big ticket")
    assert 0 < found.prediction < 1
    assert "고액 구매" in to_html(found, "ko")


def test_its_run_answers_the_same_where_it_is_read_again(run: Run, data: Dataset) -> None:
    inputs = data.load("test", limit=4).inputs
    with torch.no_grad():
        one, two = run.model()(inputs), load_run(run.path).model()(inputs)
    assert torch.equal(one.predictions[NEW], two.predictions[NEW])
