"""A task without labels in training: last, grey and with its reason on every page; no check raises an alarm about it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import diagnose
from analysis.compare import Key, compare
from analysis.figures import gates as gate_figures
from analysis.figures import transfer
from analysis.figures.style import learned_first
from dashboard.i18n import catalogue
from ple_model.files import read_tensors, write_tensors
from ple_model.run import Run
from tests.dashboard.test_views import opened, text

pytestmark = pytest.mark.slow

EN = catalogue("en")
WHY = "(no label in training)"


@pytest.fixture(scope="module")
def silent(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one measured run in which nba and cvr had no label."""
    folder = tmp_path_factory.mktemp("silent") / "tiny"
    shutil.copytree(tiny_run.path, folder, ignore=shutil.ignore_patterns("analysis"))
    path = folder / "preprocess" / "context.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    del plain["constant_loss"]["nba"], plain["constant_loss"]["cvr"]
    path.write_text(json.dumps(plain), encoding="utf-8")
    diagnose(folder)
    return folder.parent


def test_no_check_but_the_one_of_labels_speaks_of_it(silent: Path) -> None:
    found = diagnose(silent / "tiny")
    assert set(found.statistics.facts.unlearned) == {"nba", "cvr"}
    about = [f for f in found.findings if f.alarm and f.id[:3] in ("CGC", "LT-", "EVI")]
    assert [f for f in about if "nba" in f.subject.split(":") or f.subject.endswith(":cvr")] == []
    edges = transfer.edges_info(found.statistics)
    assert [e.learned for e in edges] == sorted((e.learned for e in edges), reverse=True)
    assert {e.edge for e in edges if not e.learned} == {e for e in found.statistics.facts.edges if "cvr" in e or "nba" in e}


def test_a_figure_over_tasks_puts_it_last_under_grey(silent: Path) -> None:
    found = diagnose(silent / "tiny").statistics
    assert found.gates is not None
    drawn = learned_first(gate_figures.weights(found.gates), found.facts.unlearned)
    order = list(drawn.layout.yaxis.categoryarray)
    assert set(order[-2:]) == {"nba", "cvr"}
    assert all(WHY in said for said in drawn.layout.yaxis.ticktext[-2:])
    (shade,) = drawn.layout.shapes
    assert (shade.y0, shade.y1) == (len(order) - 2.5, len(order) - 0.5)
    untouched = learned_first(gate_figures.weights(found.gates), ())
    assert not untouched.layout.shapes
    both = learned_first(gate_figures.task_distance(found.gates), found.facts.unlearned)
    assert len(both.layout.shapes) == 2


@pytest.mark.parametrize("name", ["cgc_gates", "logit_transfer", "sae_neurons", "uncertainty", "training", "data"])
def test_a_page_says_why(silent: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    app = opened(silent, monkeypatch, name)
    assert "never learnt: " in text(app)
    if name in ("cgc_gates", "uncertainty"):
        options = app.selectbox(key="task").options
        assert options[0] != options[-1]
        assert options[-1].endswith(WHY)
        assert WHY not in str(app.selectbox(key="task").value)


def test_no_latent_moves_it_most_and_the_metrics_name_it_last(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.latents import latents

    found = latents(silent / "tiny")
    at = [found.tasks.index(task) for task in ("nba", "cvr")]
    assert np.abs(found.relative_effect[:, at]).max() == 0
    assert not {"nba", "cvr"} & set(found.table()["top_task"])
    app = opened(silent, monkeypatch, "overview")
    tasks = next(list(d.value.iloc[:, 0]) for d in app.dataframe if any(WHY in str(v) for v in d.value.iloc[:, 0]))
    assert [WHY in task for task in tasks] == sorted(WHY in task for task in tasks)


def last_with_why(tasks: list[str]) -> None:
    """Two tasks at the end say why; the others do not."""
    said = [WHY in task for task in tasks]
    assert sum(said) == 2
    assert said == sorted(said)


def test_the_label_table_and_what_training_wrote_name_it_last(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (labels,) = [d.value for d in opened(silent, monkeypatch, "data").dataframe if EN["data.rate"] in d.value.columns]
    last_with_why(list(labels[EN["data.task"]]))
    app = opened(silent, monkeypatch, "training")
    (kept,) = [d.value for d in app.dataframe if EN["overview.constant"] in d.value.columns]
    last_with_why(list(dict.fromkeys(kept[EN["overview.task"]])))
    by_task = [json.loads(c.proto.spec)["layout"] for c in app.get("plotly_chart") if "(no label in training)" in c.proto.spec]
    assert len(by_task) == 4  # loss, turning points, weights and affinity by task
    assert all(layout["shapes"] for layout in by_task)
    assert all(set(layout["yaxis"]["categoryarray"][-2:]) == {"nba", "cvr"} for layout in by_task)


def test_a_comparison_judges_nothing_of_it(silent: Path, tiny_run: Run) -> None:
    from analysis.replicates import predictions

    one, other = (diagnose(p).store for p in (silent / "tiny", tiny_run.path))
    a, b = predictions(one), predictions(other)
    key = Key("nba", "wrong")
    b = replace(b, estimates={**b.estimates, key: replace(b.estimates[key], value=b.estimates[key].value + 0.5)})
    assert [r.key for r in compare(a, b).shown] == [key]
    found = compare(a, b, unlearned=("nba", "cvr"))
    assert found.shown == ()
    assert [r.key for r in found.chance] == [key]
    assert found.judged == len(found.rows) - 2
    assert set(found.subjects[-2:]) == {"nba", "cvr"}


def test_the_comparison_section_names_it_last(
    silent: Path, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "tiny", ignore=shutil.ignore_patterns("state"))
    shutil.copytree(silent / "tiny", tmp_path / "other")
    stored, meta = read_tensors(tmp_path / "tiny" / "model.safetensors")
    for name, value in stored.items():
        if name.startswith("cgc.linear"):
            value.mul_(1.5)
    write_tensors(tmp_path / "tiny" / "model.safetensors", stored, meta)
    diagnose(tmp_path / "tiny")
    app = opened(tmp_path, monkeypatch, "cgc_gates", run="tiny", compare="other")
    assert text(app).count("never learnt: ") == 1  # said by the section, since the run itself has learned them all
    (rows,) = [d.value for d in app.dataframe if EN["compare.difference"] in d.value.columns]
    said = [WHY in task for task in rows[EN["gates.task"]]]
    assert any(said)
    assert said == sorted(said)
