"""Every engineer page says what differs from the compared run, and says plainly when it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from dashboard import background, running
from dashboard.components.compare import names
from dashboard.i18n import catalogue
from dashboard.server import RUNS_VARIABLE
from ple_model.run import Run, load_run

pytestmark = pytest.mark.slow

EN = catalogue("en")
AREAS = {
    "expert_health": "experts",
    "cgc_gates": "gates",
    "hmm": "hmm",
    "logit_transfer": "transfer",
    "uncertainty": "uncertainty",
}


def page(start: str) -> None:
    """The app as it opens on one page (the source of this function is what AppTest runs)."""
    from dashboard.app import main

    main(start)


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, **query: str) -> AppTest:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs))
    app = AppTest.from_function(page, args=(name,), default_timeout=120)
    for key, value in {"run": "one", **query}.items():
        app.query_params[key] = value
    app.run()
    assert [e.message for e in app.exception] == []
    return app


def text(app: AppTest) -> str:
    kinds = (app.subheader, app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    return "\n".join(str(e.value) for kind in kinds for e in kind)


def shown(app: AppTest, column: str) -> bool:
    return any(column in d.value.columns for d in app.dataframe)


@pytest.fixture(scope="session")
def runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` and its `twin`; `moved`, whose weights were shaken; `new`, which nobody measured; `few`, of a dozen customers."""
    folder = tmp_path_factory.mktemp("compared")
    for name in ("one", "twin", "moved", "new", "few"):
        shutil.copytree(tiny_run.path, folder / name, ignore=None if name == "one" else shutil.ignore_patterns("analysis"))
    weights = load_file(folder / "moved" / "model.safetensors")
    rng = np.random.default_rng(0)
    matrices = {k: v for k, v in weights.items() if k.endswith(".weight") and v.ndim == 2}
    shaken = {k: v + 0.2 * rng.standard_normal(v.shape).astype(v.dtype) for k, v in matrices.items()}
    save_file(weights | shaken, folder / "moved" / "model.safetensors")
    shutil.rmtree(folder / "few" / "sample")
    tiny_run.sample().extract(folder / "few" / "sample", limit=12)
    for name in ("one", "moved", "few"):
        diagnose(folder / name)
    shutil.copytree(folder / "one" / "analysis", folder / "twin" / "analysis")
    return folder


def altered(runs: Path, to: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """The runs `one` and `other`; the rows that were measured of the other are changed."""
    for name, copy in (("one", "one"), ("twin", "other")):
        shutil.copytree(runs / name, to / copy)
    for file in (to / "other" / "analysis").glob("*/rows.parquet"):  # several: other tests measure the shared run on other rows
        pq.write_table(change(pq.read_table(file)), file)
    return to


@pytest.mark.parametrize("name", AREAS)
def test_two_identical_runs_do_not_differ(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    app = opened(runs, monkeypatch, name, compare="twin")
    assert "No difference" in text(app)
    assert not shown(app, EN["compare.difference"])


@pytest.mark.parametrize(("name", "language"), [*((n, "en") for n in AREAS), ("cgc_gates", "ko")])
def test_a_page_shows_only_what_differs_the_largest_first(
    runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, language: str
) -> None:
    app = opened(runs, monkeypatch, name, compare="moved", lang=language)
    words = catalogue(language)
    assert words["compare.title"].format(other="moved") in [s.value for s in app.subheader]
    assert words["compare.itself"].format(run="one") in [s.value for s in app.subheader]
    (found,) = [d.value for d in app.dataframe if words["compare.difference"] in d.value.columns]
    a, b = (found[words["compare.in"].format(run=r)] for r in ("one", "moved"))
    assert (found[words["compare.difference"]] != 0).all()
    np.testing.assert_allclose(a - b, found[words["compare.difference"]], atol=2e-3 * float(np.abs(a - b).max()))
    assert not found[words["compare.interval"]].str.match(r"\[-.*\+").any()  # none of them holds zero


@pytest.mark.parametrize("name", AREAS)
def test_without_a_compared_run_a_page_has_no_such_section(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    app = opened(runs, monkeypatch, name)
    assert not [s.value for s in app.subheader if s.value.startswith("What differs")]


@pytest.mark.parametrize("name", AREAS)
def test_too_few_rows_are_not_compared(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    app = opened(runs, monkeypatch, name, compare="few")
    assert "12 in few" in text(app)
    assert "No difference" not in text(app)


def test_the_overview_says_which_run_predicts_better(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(runs, monkeypatch, "overview", compare="moved")
    assert EN["compare.predictions"] in [s.value for s in app.subheader]
    found = next(d.value for d in app.dataframe if EN["compare.difference"] in d.value.columns)
    errors = {EN[f"compare.{e}"] for e in ("squared", "wrong", "absolute")}
    assert set(found[EN["compare.measure_name"]]) <= errors
    assert "No difference" in text(opened(runs, monkeypatch, "overview", compare="twin"))


def test_a_run_that_nobody_measured_is_measured_on_request(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "new"):
        shutil.copytree(runs / name, tmp_path / name)
    assert "has not been measured yet" in text(opened(tmp_path, monkeypatch, "overview", compare="new"))
    app = opened(tmp_path, monkeypatch, "cgc_gates", compare="new")
    assert "has not been measured yet" in text(app)
    assert background.known_measurement(tmp_path / "new") is None
    app.button(key="measure-other").click().run()
    task = background.known_measurement(tmp_path / "new")
    assert task is not None
    assert task.thread is not None
    task.thread.join()
    app.run()
    assert "No difference" in text(app)


def test_a_stopped_measurement_can_be_asked_for_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "new"):
        shutil.copytree(runs / name, tmp_path / name)
    stopped = running.Measuring(tmp_path / "new", error="")
    monkeypatch.setattr(background, "known_measurement", lambda path, data: stopped)
    app = opened(tmp_path, monkeypatch, "hmm", compare="new")
    assert "has not been measured yet" in text(app)
    assert app.button(key="measure-other").label == EN["compare.measure"]


def test_a_column_that_the_other_run_lacks_is_named(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = altered(runs, tmp_path / "runs", lambda rows: rows.drop_columns(["segment"]))
    app = opened(folder, monkeypatch, "cgc_gates", compare="other")
    assert "No difference" in text(app)
    app.multiselect(key="segment").set_value(["warm_start"]).run()
    assert [e.message for e in app.exception] == []
    assert any("other has no column segment" in w.value for w in app.warning)
    assert "No difference" not in text(app)


def test_a_value_that_the_other_run_lacks_is_named(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_cold(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.column_names.index("segment"), "segment", pa.array(["cold_start"] * len(rows)))

    folder = altered(runs, tmp_path / "runs", all_cold)
    app = opened(folder, monkeypatch, "hmm", compare="other")
    app.multiselect(key="segment").set_value(["warm_start"]).run()
    assert [e.message for e in app.exception] == []
    assert any("No customer of other has Segment: warm_start" in w.value for w in app.warning)
    assert not shown(app, EN["compare.difference"])


def test_two_equal_trainings_and_configurations_say_so(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(runs, monkeypatch, "training", compare="twin")
    assert EN["compare.same_config"] in [s.value for s in app.success]
    assert any("numbers of the two trainings are equal" in s.value for s in app.success)


def test_trainings_show_the_keys_and_the_numbers_that_differ(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, copy in (("one", "one"), ("twin", "other")):
        shutil.copytree(runs / name, tmp_path / copy)
    config = tmp_path / "other" / "config.yaml"
    rate = load_run(tmp_path / "one").config.training.learning_rate
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["training"]["learning_rate"] = 2 * rate
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    progress = tmp_path / "other" / "progress.jsonl"
    progress.write_text(progress.read_text(encoding="utf-8").replace('"rss_mb": ', '"rss_mb": 1'), encoding="utf-8")
    app = opened(tmp_path, monkeypatch, "training", compare="other")
    keys = next(d.value for d in app.dataframe if EN["overview.key"] in d.value.columns)
    assert keys.to_numpy().tolist() == [["training.learning_rate", str(rate), str(2 * rate)]]
    found = next(d.value for d in app.dataframe if EN["compare.difference"] in d.value.columns)
    assert found[EN["compare.measure_name"]].tolist() == [EN["training.memory"]]


def test_two_runs_of_one_name_are_told_apart(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "one")
    assert names(load_run(runs / "one"), load_run(runs / "twin")) == ("one", "twin")
    assert names(load_run(runs / "one"), load_run(tmp_path / "one")) == (f"{runs.name}/one", f"{tmp_path.name}/one")
