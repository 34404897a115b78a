"""A run in a tracker: what the folder holds and nothing twice; a tracker that fails changes no training."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.files import read_tensors
from ple_model.run import Run, load_run
from ple_model.tracking import trackers
from ple_model.tracking.replay import Follower, params, steps, tags, track
from ple_model.train import train
from tests.fakes import tiny_config


class Memory:
    """A tracker that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, float]] = []
        self.tags: dict[str, str] = {}

    def logged(self) -> dict[str, int]:
        return {name: step for name, step, _ in sorted(self.sent, key=lambda x: x[1])}

    def begin(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        self.tags |= tags

    def send(self, values: Mapping[str, float], step: int) -> None:
        self.sent += [(k, step, v) for k, v in values.items()]

    def close(self) -> None:
        pass


class Broken(Memory):
    def send(self, values: Mapping[str, float], step: int) -> None:
        raise RuntimeError("the server is\ngone")


def wanted(run: Run) -> list[tuple[str, int, float]]:
    return [(k, step, v) for step, values in steps(run) for k, v in values.items()]


def test_values_are_those_of_the_folder(tiny_run: Run) -> None:
    told = Memory()
    assert track(tiny_run, told) == len(told.sent)
    epochs = [e for e in tiny_run.progress() if e["event"] == "epoch"]
    by = {(name, step): value for name, step, value in told.sent}
    for e in epochs:
        assert by["loss/total", e["epoch"]] == e["train"]["total"]
        for task, ratio in e["valid"]["ratio"].items():
            assert by[f"skill/validation/{task}", e["epoch"]] == 1 - ratio
    auc = tiny_run.metrics()["splits"]["test"]["ctr"]["metrics"]["auc"]
    assert by["test/ctr/auc", epochs[-1]["epoch"]] == auc
    assert told.tags["ple.data_fingerprint"] == tiny_run.manifest.data.fingerprint


def test_what_is_there_is_not_sent_again(tiny_run: Run) -> None:
    told = Memory()
    track(tiny_run, told)
    first = list(told.sent)
    assert track(tiny_run, told) == 0
    assert told.sent == first


def test_a_training_that_is_stopped_and_resumed_is_told_once(small_dataset: Dataset, tmp_path: Path) -> None:
    told, run = Memory(), tmp_path / "run"
    said: list[str] = []
    first, epochs = Follower(run, told, said.append), list[int]()

    def hear(line: dict[str, object]) -> None:
        first(line)
        if line["event"] == "epoch":
            epochs.append(1)

    train(small_dataset, run, tiny_config(), progress=hear, stop=lambda: bool(epochs), device="cpu")
    assert {step for _, step, _ in told.sent} == {1}
    done = train(small_dataset, run, tiny_config(), resume=True, progress=Follower(run, told, said.append), device="cpu")
    assert said == []
    assert told.sent == wanted(done)
    assert len({(name, step) for name, step, _ in told.sent}) == len(told.sent)


def test_a_tracker_that_fails_is_warned_of_once_and_changes_nothing(small_dataset: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    plain = train(small_dataset, tmp_path / "plain", tiny_config(), device="cpu")
    followed = train(
        small_dataset, tmp_path / "run", tiny_config(), progress=Follower(tmp_path / "run", Broken(), said.append), device="cpu"
    )
    assert said == ["tracking ends here, the training goes on: the server is gone"]
    assert followed.manifest.status == "finished"
    mine, theirs = (read_tensors(r.path / "model.safetensors")[0] for r in (followed, plain))
    assert all((mine[k] == theirs[k]).all() for k in theirs)


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_a_missing_package_is_named_with_its_extra(
    name: str, tiny_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == name] + [name]:
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["track", str(tiny_run.path), "--track", name]) == 2
    assert f"pip install 'ple-scope[{name}]'" in capsys.readouterr().err


def test_a_place_without_a_tracker_is_refused(
    small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(small_dataset.path), str(tmp_path / "run"), "--preset", "small", "--track-to", str(tmp_path / "x")]
    assert main(words) == 2
    assert "--track mlflow or tensorboard" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_place_within_the_run_and_a_tracker_that_fails_are_sentences(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", lambda run, place: Broken())
    words = ["track", str(tiny_run.path), "--track", "mlflow"]
    assert main([*words, "--to", str(tiny_run.path / "ml")]) == 2
    assert "lies within the run" in capsys.readouterr().err
    assert main(words) == 2
    assert capsys.readouterr().err == "mlflow took no more: the server is gone\n"

    def refused(run: Path, place: str) -> Broken:
        raise RuntimeError("no such store")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", refused)
    assert main([*words, "--to", "foo://x"]) == 2
    assert capsys.readouterr().err == "'foo://x' cannot be used by mlflow: no such store\n"


def test_what_was_sent_is_said_as_json_and_in_the_reader_s_language(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Memory()
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", lambda run, place: told)
    words = ["track", str(tiny_run.path), "--track", "mlflow"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["new_values"] == len(told.sent) > 0
    assert said["place"] == str(tiny_run.path.parent / "tracking-mlflow")
    assert main([*words, "--language", "ko"]) == 0
    assert capsys.readouterr().out == "새 값 0개\n"
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", lambda run, place: Broken())
    assert main([*words, "--language", "ko"]) == 2
    assert capsys.readouterr().err == "mlflow 이(가) 더 받지 않았습니다: the server is gone\n"


def test_tensorboard_reads_back_what_was_sent(tiny_run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ["track", str(tiny_run.path), "--track", "tensorboard", "--to", str(tmp_path)]
    assert main(words) == main(words) == 0
    (folder,) = tmp_path.iterdir()
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    read = [(tag, e.step, e.value) for tag in found.Tags()["scalars"] for e in found.Scalars(tag)]
    assert sorted(read) == [(k, s, pytest.approx(v, rel=1e-6)) for k, s, v in sorted(wanted(tiny_run))]


def test_mlflow_reads_back_what_was_sent(tiny_run: Run, tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra 'mlflow' is not installed")
    words = ["track", str(tiny_run.path), "--track", "mlflow", "--to", str(tmp_path / "ml")]
    assert main(words) == main(words) == 0
    client = tracking.MlflowClient(tracking_uri=(tmp_path / "ml").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name(trackers.EXPERIMENT).experiment_id])
    read = [(k, m.step, m.value) for k in run.data.metrics for m in client.get_metric_history(run.info.run_id, k)]
    assert sorted(read) == sorted(wanted(tiny_run))
    assert run.info.status == "FINISHED"
    assert run.data.params == params(tiny_run)
    assert tags(tiny_run).items() <= run.data.tags.items()


def test_another_run_of_the_same_name_is_another(tiny_run: Run, tmp_path: Path) -> None:
    from ple_model.tracking.replay import identity

    copy = load_run(shutil.copytree(tiny_run.path, tmp_path / tiny_run.name))
    assert identity(copy) == identity(tiny_run)
    text = (copy.path / "manifest.json").read_text()
    (copy.path / "manifest.json").write_text(text.replace(copy.manifest.created, "2020-01-01T00:00:00+00:00"))
    assert identity(load_run(copy.path)) != identity(tiny_run)
