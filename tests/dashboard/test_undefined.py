"""A customer outside a task's condition: the page says that the task is not defined and for whom it is, and shows no number."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis import diagnose
from analysis.faults.rows import rewrite
from dashboard.i18n import catalogue
from ple_model.run import Run, load_run
from ple_model.tasks import TASKS
from tests.dashboard.test_views import opened

CONDITION = TASKS["churn"].condition


@pytest.fixture(scope="module")
def runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured run in whose sample churn is not defined for every other row."""
    folder = tmp_path_factory.mktemp("undefined")
    out = Path(shutil.copytree(tiny_run.path, folder / "tiny", ignore=shutil.ignore_patterns("analysis", "state", "sample")))

    def change(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        inside = np.arange(len(columns["customer_id"])) % 2 == 1
        columns["p_task:churn"] = inside
        columns["y_churn"] = np.where(inside, columns["y_churn"], -1).astype(np.int32)

    rewrite(tiny_run.sample(), out / "sample", change)
    diagnose(out)
    return folder


def outside(runs: Path) -> str:
    """A customer all of whose rows are outside."""
    table = load_run(runs / "tiny").sample().table(["customer_id", "p_task:churn"])
    ids, defined = np.asarray(table.column(0)).astype(str), np.asarray(table.column(1))
    return str(next(c for c in ids if not defined[ids == c].any()))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_says_not_defined_and_for_whom(runs: Path, monkeypatch: pytest.MonkeyPatch, lang: str) -> None:
    app = opened(runs, monkeypatch, "why_recommended", customer=outside(runs), why_task="churn", lang=lang)
    said = catalogue(lang)["why.undefined"].format(condition=CONDITION.ko if lang == "ko" else CONDITION.en)
    assert said in [i.value for i in app.info]
    assert not app.error
    assert not app.metric
    assert not app.dataframe


def test_metrics_and_means_are_of_the_rows_that_it_is_defined_for(runs: Path) -> None:
    found = diagnose(runs / "tiny")
    rows = found.store.rows(["row", "p:churn", "y:churn", "u:churn", "p:cvr"])
    for column in ("p:churn", "u:churn"):
        assert np.isfinite(rows[column].astype(float)).mean() == pytest.approx(0.5, abs=0.01)
    assert np.isfinite(rows["p:cvr"].astype(float)).all()
    test = found.statistics.performance["test"].tasks
    assert test["churn"].n <= found.statistics.performance["test"].rows / 2
    assert 0 < test["churn"].metrics["auc"] < 1
