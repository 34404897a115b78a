"""progress.jsonl is strict JSON by line; a reader never trips over a line that is still being written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from ple_model.progress import ProgressWriter, read_progress
from ple_model.progressbar import ProgressBar
from ple_model.run import Run


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    writer = ProgressWriter(path)
    writer.write("start", n=1)
    writer.write("epoch", epoch=1)
    writer.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert len(read_progress(path)) == whole[:cut].count(b"\n")


def test_a_damaged_line_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(b'{"event": "start"}\n\xff{{\n[1]\n{"event": "epoch", "epoch": 1}\n')
    assert [line["event"] for line in read_progress(path)] == ["start", "epoch"]


def test_no_file_means_no_lines(tmp_path: Path) -> None:
    assert read_progress(tmp_path / "none.jsonl") == []


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    writer = ProgressWriter(path)
    writer.write("step", total=float("nan"), parts={"a": [float("inf"), 1.0]})
    writer.close()
    line = json.loads(path.read_text(), parse_constant=lambda c: (_ for _ in ()).throw(ValueError(c)))
    assert line["total"] is None
    assert line["parts"] == {"a": [None, 1.0]}


def test_reopening_at_a_size_cuts_what_came_after_it(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    writer = ProgressWriter(path)
    writer.write("start")
    size = writer.size
    writer.write("epoch", epoch=1)
    writer.close()
    again = ProgressWriter(path, size=size)
    again.write("resumed")
    again.close()
    assert [line["event"] for line in read_progress(path)] == ["start", "resumed"]


def test_steps_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"event": "step"}\n{"event": "epoch", "epoch": 1}\n')
    assert [line["event"] for line in read_progress(path, steps=False)] == ["epoch"]


def test_an_epoch_line_has_every_agreed_key(tiny_run: Run) -> None:
    line = next(e for e in tiny_run.progress() if e["event"] == "epoch")
    assert set(line) >= {
        "time", "epoch", "phase", "lr", "steps", "samples_per_s", "seconds", "eta_s", "rss_mb", "device_mem_mb", "train",
        "valid", "s", "gates", "gate_entropy", "grad_norm", "hmm_grad", "adatt", "frozen", "best",
    }  # fmt: skip
    assert set(line["train"]) == {
        "total", "tasks", "weighted", "n", "entropy", "aux", "sae", "evidential", "evidential_kl", "mean_ratio",
    }  # fmt: skip
    assert set(line["valid"]) == {"tasks", "ratio", "mean_ratio", "n"}
    assert set(line["adatt"]) >= {"tasks", "A", "band", "T", "c", "conflict_share"}
    experts = set(tiny_run.config.shared_experts)
    assert set(line["grad_norm"]) >= experts | {"cgc", "hmm", "basket", "transfer", "towers", "sae", "evidential", "auxiliary"}
    assert set(line["hmm_grad"]) == {"journey", "lifecycle", "behavior"}
    assert set(line["gates"]) == set(tiny_run.config.tasks)
    for weights in line["gates"].values():
        assert len(weights) == len(experts)
        assert abs(sum(weights) - 1) < 1e-5


def test_the_terminal_shows_one_line_an_epoch_when_it_is_not_live(tiny_run: Run) -> None:
    out = io.StringIO()
    bar = ProgressBar(out, live=False)
    for event in tiny_run.progress():
        bar(event)
    bar.close()
    lines = out.getvalue().splitlines()
    assert sum(line.startswith("epoch") and "valid" in line for line in lines) == 4
    assert "\r" not in out.getvalue()


def test_the_live_terminal_line_is_rewritten_and_closed() -> None:
    out = io.StringIO()
    bar = ProgressBar(out, live=True)
    step: dict[str, Any] = {
        "event": "step", "step": 5, "steps": 10, "epoch": 1, "total": None, "samples_per_s": 1200.0, "eta_s": 3700,
    }  # fmt: skip
    bar(step)
    bar.close()
    assert out.getvalue().startswith("\r")
    assert "not finite" in out.getvalue()
    assert out.getvalue().endswith("\n")
