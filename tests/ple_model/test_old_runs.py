"""Runs of every earlier format open as they did, whatever tasks the release has beside theirs.

`tests/old_runs/format_<n>` holds a small finished run as the last release of that format wrote it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ple_model.config import config_from_dict, load_config
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.migrations import FORMAT_VERSION, MIGRATIONS, OFF_IN_FORMAT_1, TASKS_OF_FORMAT_1
from ple_model.run import load_run, write_config
from ple_model.tasks import TASKS
from ple_model.train import train
from tests.fakes import make_dataset, tiny_config

OLD = Path(__file__).parents[1] / "old_runs"
FORMATS = sorted(MIGRATIONS)
ON = [t for t in TASKS_OF_FORMAT_1 if t not in OFF_IN_FORMAT_1]


@pytest.fixture
def one_task_more() -> Iterator[str]:
    """The release has a task that no earlier run knows: before all others, and on."""
    before = dict(TASKS)
    TASKS.clear()
    TASKS.update({"later": replace(before["churn"], name="later"), **before})
    yield "later"
    TASKS.clear()
    TASKS.update(before)


def stored(run: Path) -> dict[str, Any]:
    return json.loads((run / "manifest.json").read_text())


def test_a_run_of_every_earlier_format_is_kept() -> None:
    assert list(range(1, FORMAT_VERSION)) == FORMATS
    assert [stored(OLD / f"format_{n}")["format_version"] for n in FORMATS] == FORMATS


@pytest.mark.parametrize("version", FORMATS)
def test_an_older_run_answers_as_it_did_beside_a_task_that_it_does_not_know(version: int, one_task_more: str) -> None:
    run = load_run(OLD / f"format_{version}")
    assert list(run.config.tasks) == ON
    model = run.model()
    assert model.task_names == ON
    found = {t.task: t.metrics for t in evaluate(run, run.sample(), boosting=False).tasks}
    told = run.metrics()["splits"]["test"]
    assert set(found) == set(told) == set(ON)
    for task in ON:
        kept = {k: v for k, v in told[task]["metrics"].items() if v is not None and k in found[task]}
        assert kept
        assert {k: found[task][k] for k in kept} == pytest.approx(kept, rel=1e-4, abs=1e-6)


def test_format_1_lists_the_tasks_that_its_config_switched_on(tmp_path: Path) -> None:
    run = Path(shutil.copytree(OLD / "format_1", tmp_path / "run"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["task_experts"]["tasks"] |= {"uplift": {"enabled": True}, "churn": {"enabled": False}, "nba": {"weight": 3.0}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    expected = [t for t in TASKS_OF_FORMAT_1 if t not in ("churn", "category_uplift")]
    assert list(load_run(run).config.tasks) == expected
    del config["task_experts"]  # a section without a key of its own
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert list(load_run(run).config.tasks) == ON


@pytest.mark.parametrize("damaged", ["text", {"tasks": "text"}, {"tasks": {"churn": "text"}}, [1]])
def test_a_damaged_section_of_format_1_is_one_sentence(damaged: object, tmp_path: Path) -> None:
    run = Path(shutil.copytree(OLD / "format_1", tmp_path / "run"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "task_experts": damaged}))
    with pytest.raises(UserError, match=r"config\.yaml: task_experts"):
        load_run(run)


def test_a_run_written_in_this_format_keeps_its_list_beside_new_tasks(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = Path(shutil.copytree(OLD / "format_1", tmp_path / "run"))
    opened = load_run(run)
    write_config(run, opened.config)  # as a training does that goes on with it
    opened.manifest.save(run)
    assert stored(run)["format_version"] == FORMAT_VERSION
    request.getfixturevalue("one_task_more")
    again = load_run(run)
    assert again.config == opened.config
    assert list(again.config.tasks) == ON
    measured = evaluate(again, again.sample(), bootstrap_rounds=0, boosting=False).tasks
    assert np.isfinite([t.metrics["rmse"] for t in measured if t.kind == "regression"]).all()


def test_an_older_run_that_is_resumed_goes_on_in_this_format_with_its_own_tasks(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = make_dataset(tmp_path / "data", train=16, validation=8, test=8)
    config = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 1}, "task_experts": {"enabled_tasks": ON}})
    run = train(data, tmp_path / "run", config, stop=lambda: True).path
    manifest, old = stored(run), yaml.safe_load((run / "config.yaml").read_text())
    assert manifest["status"] == "stopped"
    del old["task_experts"]["enabled_tasks"]
    (run / "config.yaml").write_text(yaml.safe_dump(old, sort_keys=False))
    (run / "manifest.json").write_text(json.dumps({**manifest, "format_version": 1}))
    request.getfixturevalue("one_task_more")
    ended = train(data, run, config, resume=True)
    assert (ended.state, stored(run)["format_version"]) == ("finished", FORMAT_VERSION)
    assert yaml.safe_load((run / "config.yaml").read_text())["task_experts"]["enabled_tasks"] == ON
    assert list(ended.config.tasks) == ON


def test_a_new_config_has_the_new_task_and_a_written_one_has_not(one_task_more: str) -> None:
    assert next(iter(load_config("small").tasks)) == one_task_more
    without = load_config("small", overrides=[f"task_experts.tasks.{one_task_more}.enabled=false"])
    assert one_task_more not in without.tasks
    again = config_from_dict(yaml.safe_load(without.to_yaml()))
    assert again == without
    added = config_from_dict({**without.to_dict(), "task_experts": {"tasks": {one_task_more: {"enabled": True}}}})
    assert one_task_more in added.tasks


def test_the_order_of_a_given_list_is_kept_and_a_switch_adds_to_its_end() -> None:
    config = load_config(
        "small", overrides=["task_experts.enabled_tasks=[ltv,ctr,cvr]", "task_experts.tasks.uplift.enabled=true",
                            "task_experts.tasks.cvr.enabled=false"],
    )  # fmt: skip
    assert list(config.tasks) == ["ltv", "ctr", "uplift"]
    assert config.task_experts.enabled_tasks == ["ltv", "ctr", "uplift"]


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ("[ctr,chrun]", r"task_experts\.enabled_tasks\[1\]: no task 'chrun'; did you mean 'churn'\?"),
        ("[ctr,churn,ctr]", r"task_experts\.enabled_tasks\[2\]: task 'ctr' is given twice"),
        ("[]", "every task is switched off"),
        ("churn", r"task_experts\.enabled_tasks: 'churn' is not a list"),
        ("[1]", r"task_experts\.enabled_tasks\[0\]: 1 is int, expected str"),
    ],
)
def test_a_wrong_list_is_one_sentence(listed: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_config("small", overrides=[f"task_experts.enabled_tasks={listed}"])
