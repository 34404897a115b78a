"""What every task must satisfy, by discovery over the registry: a new task is covered without a new test."""

from __future__ import annotations

from string import Template

import numpy as np
import pytest
import torch

from ple_model.config import load_config
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.dataset.columns import is_class_task, is_wide_task
from ple_model.data.events.connect import connect
from ple_model.data.labels.labels import Labels, LabelSettings, _words, compute_labels
from ple_model.model import PLEClusterAdaTT
from ple_model.output import LossBreakdown, PLEClusterOutput
from ple_model.registry import expert_classes
from ple_model.tasks import EVERYONE, GROUP_STRENGTH, HMM_MODES, TASKS
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

LOSSES = {"binary": {"focal"}, "multiclass": {"nll"}, "regression": {"mse", "huber"}, "contrastive": {"infonce"}}
ROWS = 24


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Of the tiny bank with all its tables; every fourth customer stops at the first cut-off, every third has no product."""
    frames = tables(80, seed=2)
    ids = sorted(frames["customers"]["customer_id"])
    for name in ("transactions", "sessions"):
        f = frames[name]
        frames[name] = f[~(f["customer_id"].isin(ids[2::4]) & (f["ts"] >= CUTOFFS[0]))]
    frames["holdings"] = frames["holdings"][~frames["holdings"]["customer_id"].isin(ids[::3])]
    with connect(write_events(tmp_path_factory.mktemp("bank") / "events", frames)) as store:
        create_spine(store.con, CUTOFFS[:2], SplitSettings())
        return compute_labels(store, LabelSettings())


@pytest.fixture(scope="module")
def step() -> tuple[PLEClusterAdaTT, PLEClusterOutput, LossBreakdown]:
    """A model of every task there is, its answer to random customers and its losses, gradients worked out."""
    torch.manual_seed(0)
    inputs = random_inputs(ROWS, seed=4)
    model = PLEClusterAdaTT(tiny_config({"task_experts": {"enabled_tasks": list(TASKS)}}), random_context()).train()
    output = model(inputs)
    losses = model.losses(output, inputs.targets or {}, epoch=1)
    losses.total.backward()
    return model, output, losses


def test_the_registry_holds_the_tasks_of_the_reference() -> None:
    off = {n for n, t in TASKS.items() if not t.enabled}
    assert {"uplift", "category_uplift"} <= off
    assert {
        "ctr", "cvr", "engagement", "churn", "retention", "life_stage", "ltv", "balance_util", "channel", "timing", "nba",
        "spending_category", "consumption_cycle", "spending_bucket", "brand_prediction", "merchant_affinity",
    } <= set(TASKS) - off  # fmt: skip


def test_tasks_stand_in_the_order_of_their_groups() -> None:
    order = [list(GROUP_STRENGTH).index(t.group) for t in TASKS.values()]
    assert order == sorted(order)
    assert list(load_config("v3_14").tasks) == [n for n, t in TASKS.items() if t.enabled]


@pytest.mark.parametrize("name", TASKS)
def test_a_record_is_whole(name: str) -> None:
    t = TASKS[name]
    assert t.name == name
    assert t.loss in LOSSES[t.kind]
    assert t.hmm_mode in HMM_MODES
    assert t.weight > 0
    assert set(t.domain_experts) <= set(expert_classes())
    assert t.title
    assert any("가" <= ch <= "힣" for ch in t.title_ko)
    assert t.question.endswith("?")
    assert t.question_ko.endswith("?")
    assert any("가" <= ch <= "힣" for ch in t.question_ko)
    assert (t.focal_alpha is None) == (t.kind != "binary")
    assert t.unit or t.kind != "regression"
    if t.kind == "multiclass":
        assert len(t.classes) == t.out_dim
    if t.kind == "binary":
        assert t.out_dim == 1


@pytest.mark.parametrize("name", TASKS)
def test_a_label_names_only_windows_that_there_are(name: str) -> None:
    assert set(Template(TASKS[name].label).get_identifiers()) <= set(_words(LabelSettings()))


@pytest.mark.parametrize("name", TASKS)
def test_a_label_of_the_tiny_bank_differs_between_customers_and_fits_its_kind(name: str, labels: Labels) -> None:
    t = TASKS[name]
    if t.kind == "contrastive":
        assert len({b for b in labels.brand if b is not None}) > 1
        return
    y, rows = labels.columns[name], len(labels.brand)
    assert y.shape == ((rows, t.out_dim) if is_wide_task(name) else (rows,))
    if is_class_task(name):
        assert y.dtype == np.int32
        assert set(np.unique(y)) <= set(range(-1, 2 if t.kind == "binary" else t.out_dim))
        assert len(np.unique(y[y >= 0])) > 1
    else:
        assert y.dtype == np.float32
        assert np.nanstd(y, axis=0).min() > 0
        assert not np.isinf(y).any()


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.condition is not EVERYONE])
def test_no_label_lies_outside_a_tasks_condition(name: str, labels: Labels) -> None:
    where = labels.defined[name]
    assert 0 < where.sum() < len(where)
    if TASKS[name].kind == "contrastive":
        assert all(b is None for b in labels.brand[~where])
    else:
        y = labels.columns[name][~where]
        assert (y == -1).all() if is_class_task(name) else np.isnan(y).all()


@pytest.mark.parametrize("name", TASKS)
def test_a_model_of_all_tasks_answers_and_learns_this_one(
    name: str, step: tuple[PLEClusterAdaTT, PLEClusterOutput, LossBreakdown]
) -> None:
    model, output, losses = step
    t = TASKS[name]
    shape = (ROWS,) if t.kind == "binary" or (t.kind == "regression" and t.out_dim == 1) else (ROWS, t.out_dim)
    assert tuple(output.predictions[name].shape) == shape
    assert torch.isfinite(output.predictions[name]).all()
    assert losses.raw[name].item() > 0
    assert losses.counts[name].item() > 0
    grad = model.towers.out_weight.grad
    assert grad is not None
    assert grad[model.towers.slices[name]].abs().sum() > 0
    assert (name in output.evidential) == (t.kind != "contrastive")
