"""What is stored is read back only while nothing that it follows from has changed, and it is said which; what is asked for anew
is really put in its place."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import Diagnosis, diagnose, embedding, fingerprint, load_diagnosis
from analysis.engine.columns import TrainingColumns
from analysis.engine.effects import Engine
from analysis.fingerprint import Why, files_mark
from analysis.kept import Kept
from analysis.latents import latents
from analysis.store import AnalysisStore, StoreWriter, write_statistics
from ple_model.cli import main
from ple_model.run import Run, load_run

ROWS = 60


@pytest.fixture(scope="module")
def original(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    """A run that was measured for real, once."""
    path = tmp_path_factory.mktemp("measured") / "run"
    shutil.copytree(tiny_run.path, path, ignore=shutil.ignore_patterns("analysis"))
    return diagnose(path, sample=ROWS)


@pytest.fixture
def run(original: Diagnosis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A measured copy to change. To measure it again is to copy the first result: what is tested is when, and where it goes."""
    shutil.copytree(original.run, tmp_path / "run")

    def measure(_: object, writer: StoreWriter, made_of: fingerprint.Fingerprint, *, replace: bool) -> AnalysisStore:
        shutil.copytree(original.store.path, writer.folder, dirs_exist_ok=True)
        extra = {k: v for k, v in original.store.meta.items() if k not in ("created", "fingerprint", "rows")}
        return writer.publish(ROWS, extra | {"made_of": made_of.to_dict()}, replace=replace)

    monkeypatch.setattr("analysis.record.Recorder.run", measure)
    monkeypatch.setattr("analysis.record.Recorder.__init__", lambda *_: None)
    return load_run(tmp_path / "run")


def measured(run: Run, **options: bool) -> tuple[Diagnosis, list[Why]]:
    told: list[Why] = []
    return diagnose(run, sample=ROWS, tell=told.append, **options), told


def another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    now = fingerprint.source_digest
    monkeypatch.setattr(fingerprint, "source_digest", lambda *m: f"another {now(*m)}")


def add_a_blank(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def test_what_is_there_is_read_back_and_said_to_be(run: Run) -> None:
    again, told = measured(run)
    assert (told, again.why) == (["reused"], "reused")
    assert "read back" in again.to_dict()["reuse"]
    known = load_diagnosis(run.path)
    assert known is not None
    assert known.store.mark == again.store.mark
    shutil.rmtree(run.path / "analysis")
    first, told = measured(run)
    assert (told, first.why) == (["first"], "first")
    assert first.store.mark != again.store.mark


def test_another_program_measures_anew_and_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = measured(run)[0]
    another_program(monkeypatch)
    assert load_diagnosis(run.path) is None
    after, told = measured(run)
    assert told == ["program"]
    assert after.store.path != before.store.path
    assert measured(run)[1] == ["reused"]


def test_an_analysis_that_does_not_say_what_measured_it_is_of_another_program(run: Run) -> None:
    store = measured(run)[0].store
    meta = json.loads((store.path / "meta.json").read_text())
    del meta["made_of"]
    (store.path / "meta.json").write_text(json.dumps(meta))
    store.path.rename(store.path.with_name("0123456789abcdef"))
    assert load_diagnosis(run.path) is None
    assert measured(run)[1] == ["program"]


@pytest.mark.parametrize(
    "file", ["preprocess/calibration.json", "metrics.json", "config.yaml", "manifest.json", "progress.jsonl"]
)
def test_a_file_of_the_run_that_has_changed_is_seen(run: Run, file: str) -> None:
    before = fingerprint.fingerprint(run, run.sample(), ROWS, 0)
    add_a_blank(run.path / file)
    after = fingerprint.fingerprint(run, run.sample(), ROWS, 0)
    assert (before.rows, before.code) == (after.rows, after.code)
    assert before.run != after.run
    assert after.why([before.to_dict()]) == "changed"
    assert after.why([]) == "first"


def test_artifacts_and_another_choice_of_rows_are_other_rows(run: Run) -> None:
    before = fingerprint.fingerprint(run, run.sample(), ROWS, 0)
    assert fingerprint.fingerprint(run, run.sample(), ROWS, 1).rows != before.rows
    artifact = next(p for p in sorted((run.path / "sample" / "artifacts").iterdir()) if p.suffix == ".json")
    add_a_blank(artifact)
    assert fingerprint.fingerprint(run, run.sample(), ROWS, 0).rows != before.rows


def test_measuring_again_on_purpose_replaces_what_is_stored(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    first = measured(run)[0]
    write_statistics(first.store.path, replace(first.statistics, n=7))  # a wrong number on disk
    assert measured(run)[0].statistics.n == 7
    assert main(["diagnose", str(run.path), "--sample", str(ROWS), "--force", "--json"]) in (0, 1)
    said = capsys.readouterr()
    assert "as asked for" in said.err
    assert json.loads(said.out)["rows"] == ROWS
    again, told = measured(run)
    assert told == ["reused"]
    assert again.statistics.n == ROWS
    assert first.store.replaced
    assert not again.store.replaced
    assert again.store.mark != first.store.mark
    assert [p.name for p in (run.path / "analysis").iterdir()] == [first.store.path.name]


@pytest.mark.parametrize("force", [False, True])
def test_two_that_measure_the_same_leave_one_good_store(run: Run, force: bool) -> None:
    store = measured(run)[0].store
    name = store.path.name
    shutil.copytree(store.path, run.path / "kept")
    shutil.rmtree(store.path)
    writers = [StoreWriter(run.path, name) for _ in range(3)]
    for writer in writers:
        shutil.copytree(run.path / "kept", writer.folder, dirs_exist_ok=True)
    at_once = threading.Barrier(len(writers))
    failed: list[BaseException] = []

    def publish(writer: StoreWriter) -> None:
        at_once.wait()
        try:
            writer.publish(ROWS, {}, replace=force)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=publish, args=(w,)) for w in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.discard()
    assert not failed
    assert AnalysisStore(store.path).count() == ROWS
    assert [p.name for p in (run.path / "analysis").iterdir()] == [name]


def test_what_is_damaged_gives_way(run: Run) -> None:
    store = measured(run)[0].store
    (store.path / "meta.json").write_text("{")
    assert measured(run)[0].store.count() == ROWS


def test_latents_are_measured_anew_by_another_program(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    found = latents(run, rows=ROWS)

    def measure(*_: object) -> object:
        done.append(1)
        return found

    monkeypatch.setattr("analysis.engine.concepts.measure", measure)
    said = [found.why, latents(run, rows=ROWS).why]
    assert not done
    another_program(monkeypatch)
    said += [latents(run, rows=ROWS).why, latents(run, rows=ROWS).why, latents(run, rows=ROWS, force=True).why]
    assert said == ["first", "reused", "program", "reused", "forced"]
    assert len(done) == 2
    add_a_blank(run.path / "preprocess" / "calibration.json")
    assert latents(run, rows=ROWS).why == "changed"


def test_a_map_of_a_measurement_whose_place_was_taken_is_drawn_anew(run: Run) -> None:
    store = measured(run)[0].store
    row = store.vectors["row"]
    embedding._write(embedding.path(store.path, 0), row, np.zeros((len(row), 2), np.float32))
    assert embedding.load(store, 0) is not None
    assert embedding.load(measured(run, force=True)[0].store, 0) is None


@pytest.mark.parametrize("cached", [TrainingColumns.cached, lambda run: Engine.cached(run, sample=ROWS)])
def test_what_is_held_in_memory_is_made_anew_when_a_file_of_the_run_has_changed(
    run: Run, cached: Callable[[Run], object]
) -> None:
    first = cached(run)
    assert cached(run) is first
    add_a_blank(run.path / "preprocess" / "calibration.json")  # neither the weights nor the sample
    assert cached(load_run(run.path)) is not first


@pytest.mark.parametrize("file", ["model.safetensors", "preprocess/calibration.json", "sample/dataset.json"])
def test_the_mark_of_a_run_sees_each_of_its_files(run: Run, file: str) -> None:
    before = files_mark(run.path)
    assert files_mark(run.path) == before
    add_a_blank(run.path / file)
    assert files_mark(run.path) != before


def test_only_the_most_recent_are_kept() -> None:
    kept: Kept[list[str]] = Kept(2)
    made: list[str] = []

    def make(key: str) -> list[str]:
        return kept.get(key, lambda: made.append(key) or [key])  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        assert make(key) == [key]
    assert made == ["a", "b", "c", "b"]


def test_two_that_make_something_else_do_not_wait_for_one_another() -> None:
    kept: Kept[str] = Kept()
    both = threading.Barrier(2, timeout=30)

    def make(key: str) -> str:
        both.wait()  # passes only where the other one is made meanwhile
        return key

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda key: kept.get(key, lambda: make(key)), "ab")) == ["a", "b"]


def test_two_that_ask_for_the_same_have_it_made_once() -> None:
    kept: Kept[list[int]] = Kept()
    at_once, made = threading.Barrier(4, timeout=30), []

    def ask(n: int) -> list[int]:
        at_once.wait()
        return kept.get("a", lambda: made.append(n) or [n])  # type: ignore[func-returns-value]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert found == [made] * 4
