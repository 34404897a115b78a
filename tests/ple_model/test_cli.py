"""The command line: exit codes, one line on stderr, --debug, help that works for every command."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import yaml

from ple_model.cli import build_parser, gather, main
from ple_model.commands_model import _on
from ple_model.config import config_from_dict
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run, load_run
from ple_model.training.launch import Launch
from tests.fakes import tiny_config

pytestmark = pytest.mark.slow

OWN = ("train", "evaluate", "config", "presets", "runs")


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}}).to_yaml())
    return path


@pytest.mark.parametrize("name", OWN)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"ple {name}" in capsys.readouterr().out


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(name in out for name in gather())


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: ple" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "did you mean 'train'"),
        (["train"], "DATASET"),
        (["train", "none", "run"], "none is not a dataset"),
        (["evaluate", "none"], "no such run folder"),
        (["evaluate", "none", "--bootstrap", "few"], "few"),
        (["config", "--preset", "smal"], "did you mean 'small'"),
        (["config", "--set", "training.patienc=3"], "did you mean 'patience'"),
        (["config", "--config", "none.yaml"], "none.yaml"),
        (["runs", "none"], "no such folder"),
    ],
)
def test_wrong_use_is_one_line_on_stderr_and_exit_2(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert expected in err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(UserError, match="no such run folder"):
        main(["evaluate", "none", "--debug"])


def test_config_prints_yaml_that_loads_to_the_same_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--preset", "small", "--set", "training.patience=3"]) == 0
    config = config_from_dict(yaml.safe_load(capsys.readouterr().out))
    assert config.training.patience == 3


def test_presets_and_runs_report_json(tiny_run: Run, runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "--json"]) == 0
    assert [p["preset"] for p in json.loads(capsys.readouterr().out)] == ["v3_14", "v3_15", "small", "production"]
    assert main(["runs", str(runs_dir), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["state"], entry["preset"]) == (tiny_run.name, "finished", "small")


def test_a_note_on_a_run_is_kept_shown_and_removed(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs" / "mine"
    shutil.copytree(tiny_run.path, run, ignore=shutil.ignore_patterns("analysis", "sample"))
    assert main(["note", str(run)]) == 0
    assert main(["note", str(run), "less dropout\nthan before"]) == 0
    assert capsys.readouterr().out == "no note\nless dropout\nthan before\n"
    assert main(["runs", str(run.parent)]) == 0
    shown = capsys.readouterr().out
    assert "less dropout" in shown
    assert "than before" not in shown  # a line a run
    assert main(["runs", str(run.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["note"] == "less dropout\nthan before"
    assert main(["note", str(run), "x" * 2001]) == 2
    assert "2,001 characters" in capsys.readouterr().err
    assert main(["note", str(run), ""]) == 0
    assert not (run / "note.txt").exists()


def test_runs_with_a_broken_one_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{")
    assert main(["runs", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().out


def test_train_makes_a_run_and_says_where(
    small_dataset: Dataset, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["train", str(small_dataset.path), str(run), "--preset", "small", "--config", str(config_file), "--sample", "20"]
    assert main([*words, "--device", "cpu", "--set", "training.seed=7"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(run)
    assert "valid" in err
    assert load_run(run).manifest.seed == 7
    assert main(words) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_resume_refuses_another_config(tiny_run: Run, tiny_dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(tiny_dataset.path), str(tiny_run.path), "--resume", "--set", "training.seed=1"]
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_config_error_leaves_no_run_behind(tiny_dataset: Dataset, tmp_path: Path) -> None:
    assert main(["train", str(tiny_dataset.path), str(tmp_path / "run"), "--set", "training.seed=x"]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_a_run_that_resumes(
    name: str, small_dataset: Dataset, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import signal

    from ple_model.progressbar import ProgressBar

    def send(_bar: ProgressBar, event: dict[str, object]) -> None:
        if event["event"] == "start":
            signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr(ProgressBar, "__call__", send)
    run = tmp_path / "run"
    words = ["train", str(small_dataset.path), str(run), "--device", "cpu", "--sample", "20"]
    assert main([*words, "--config", str(config_file)]) == 0
    on = capsys.readouterr().err.split("stopped; `ple ")[1].split("` goes on")[0].split()
    assert on == [*words[:3], "--resume", *words[3:]]
    assert load_run(run).state == "stopped"
    assert main([*on, "--quiet"]) == 0
    assert load_run(run).state == "finished"


def test_what_a_run_does_not_remember_is_said_again_where_it_goes_on(tmp_path: Path) -> None:
    given = ["--track", "mlflow", "--track-to", "a place", "--no-baselines", "--language", "ko"]
    asked = build_parser(gather()).parse_args(["train", str(tmp_path), str(tmp_path / "run"), *given, "--threads", "2"])
    assert shlex.split(_on(asked, Launch())) == [
        "ple",
        "train",
        str(tmp_path),
        str(tmp_path / "run"),
        "--resume",
        "--no-baselines",
        *given[:4],
        *given[5:],
    ]
    assert _on(asked, Launch(0, 2, 0, 2)).startswith("torchrun --nproc-per-node 2 -m ple_model train ")


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ple_model", "presets"], capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("v3_14")


@pytest.mark.parametrize(
    ("words", "bound"),
    [
        (["tune", "none", "study"], True),
        (["tune", "none", "study", "--workers", "2"], False),
        (["estimate", "none"], True),
        (["train", "none", "run"], True),
    ],
)
def test_what_trains_alone_in_its_process_binds_its_threads(
    words: list[str], bound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bool] = []
    for module in ("tune", "estimate", "model"):
        monkeypatch.setattr(f"ple_model.commands_{module}.settle", lambda threads=None, *, bind=False: said.append(bind))
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said == [bound]


@pytest.mark.parametrize("error", [MemoryError(), duckdb.OutOfMemoryException("Out of Memory Error: 2 GiB/2 GiB used")])
def test_too_little_memory_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def presets(arguments: object) -> int:
        raise error

    commands = gather()
    monkeypatch.setattr("ple_model.cli.gather", lambda: {**commands, "presets": replace(commands["presets"], run=presets)})
    assert main(["presets"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("out of memory: ")
    assert "fewer workers" in said
