"""A shared expert is one file: one that the package does not know is trained, explained, summed up and diagnosed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from safetensors.torch import load_file, save_file

import ple_model.experts as package
from analysis.diagnose import diagnose
from analysis.explain.customer import explain
from analysis.explain.lookup import customers
from analysis.explain.report import to_html
from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.registry import expert_classes
from ple_model.run import Run
from ple_model.train import train
from tests.docs.examples import examples
from tests.fakes import make_dataset, reference_config, tiny_config

SOURCE = next(e.text for e in examples() if e.path == "ple_model/experts/habit.py")
HABIT = {"habit": {"output_dim": 4, "hidden_dim": 8}, "temporal": None, "optimal_transport": None, "perslay": None}
"""In place of the experts that take longest."""


@pytest.fixture(scope="module", autouse=True)
def habit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The file in a folder that the package of experts is extended by, and gone afterwards."""
    folder = tmp_path_factory.mktemp("experts")
    (folder / "habit.py").write_text(SOURCE, encoding="utf-8")
    package.__path__.append(str(folder))
    expert_classes.cache_clear()
    yield
    package.__path__.remove(str(folder))
    sys.modules.pop(f"{package.__name__}.habit", None)
    expert_classes.cache_clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("invented")
    dataset = make_dataset(folder / "data", train=96, validation=64, test=96)
    config = tiny_config({"shared_experts": HABIT, "training": {"phase1_epochs": 1, "phase2_epochs": 0}})
    return train(dataset, folder / "run", config, preset="small", device="cpu")


def test_an_explanation_calls_it_by_the_title_of_its_class_in_both_languages(run: Run) -> None:
    found = explain(run, customers(run, limit=1)[0].customer_id, "ltv")
    titles = {c.key: c.title for c in found.experts}
    assert titles["habit"] == "habits over the months (habit)"
    assert titles["cluster"] == "customer cluster"
    assert len(set(titles.values())) == len(titles)
    assert "habits over the months (habit)" in to_html(found, "en")
    korean = to_html(found, "ko")
    assert "월별 습관 (habit)" in korean
    assert "고객군" in korean
    assert "customer cluster" not in korean


def test_a_diagnosis_measures_it_and_names_it_when_its_weights_are_dead(run: Run) -> None:
    weights = load_file(run.path / "model.safetensors")
    dead = {k: v * 0 if k.startswith("experts.habit.out.") else v for k, v in weights.items()}
    save_file(dead, run.path / "model.safetensors")
    found = diagnose(run.path)
    assert found.statistics.facts.reads["habit"] == ("hmm_behavior",)
    assert [f.subject for f in found.findings if f.id == "EXP-DEAD" and f.severity == "error"] == ["habit"]


def test_the_summary_counts_it_without_an_estimate_and_keeps_those_of_the_others() -> None:
    rows = {r.module: r for r in PLEClusterAdaTT(reference_config("shared_experts.habit={}")).summary().rows}
    assert rows["habit"].parameters == 16 * 64 + 64 + 64 * 64 + 64
    assert rows["habit"].reference is None
    assert rows["deepfm"].reference == 169_000
    assert "other widths" not in rows["hmm"].explanation


def test_a_rule_of_its_own_is_an_error_that_names_the_key() -> None:
    said = r"^shared_experts\.habit\.hidden_dim: 8 is not valid, it must be at least output_dim \(64\)$"
    with pytest.raises(UserError, match=said):
        load_config("small", overrides=["shared_experts.habit.hidden_dim=8"])
