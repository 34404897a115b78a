"""The plain forms that the benchmarks keep say what the fast ones say; the command lists and prints. No time is judged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ple_model.bench import head, scan, whole
from ple_model.bench.customers import customers
from ple_model.bench.measure import Disagreement, Row, Settings, Target, agree, interleave
from ple_model.bench.registry import NOT_YET, benchmarks
from ple_model.cli import main
from ple_model.config import load_config
from ple_model.layers.selective_scan import Mamba2Block


def test_both_loops_give_the_chunked_scan_and_its_gradients() -> None:
    p = scan.problem(3, 47, seed=1)
    ours = scan.step(scan.chunked, p)
    assert ours["gradient of rates"].abs().max() > 0
    for form in (scan.by_channel, scan.by_head):
        assert agree("scan", ours, scan.step(form, p), 1e-4) < 1e-4


def test_plain_heads_give_the_stacked_heads_and_their_gradients() -> None:
    ours, plain = head.pair(load_config("small"))
    assert head.check(ours, plain, head.encoded(ours, 12, seed=2)) < 1e-4


def test_the_plain_heads_hide_no_parameter() -> None:
    ours, plain = head.pair(load_config("small"))
    at = head.encoded(ours, 8, seed=0)
    names = [{k for k in head.step(m.eval(), at) if k.startswith("gradient")} for m in (ours, plain)]
    assert names[0] == names[1]
    assert {"gradient of basket.encoder_weight", "gradient of towers.out_weight", "gradient of evidential.weight"} < names[0]


@pytest.mark.parametrize("patch", [6, 1])
def test_the_plain_model_gives_the_fast_one_s_results_and_gradients(patch: int) -> None:
    ours, plain = head.pair(load_config("small", overrides=[f"shared_experts.temporal.patch={patch}"]))
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert whole.check(ours, plain, customers(5, seed=3)) < 1e-3


def test_a_changed_form_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain = head.pair(load_config("small"))
    inputs = customers(3, seed=0)
    fast = Mamba2Block.forward
    monkeypatch.setattr(Mamba2Block, "forward", lambda self, u: 1.5 * fast(self, u))
    with pytest.raises(Disagreement, match="differs by"):
        whole.check(ours, plain, inputs)


def test_agreement_is_relative_and_sees_names_shapes_and_nan() -> None:
    a = {"x": torch.tensor([1000.0, 1.0])}
    assert agree("t", a, {"x": torch.tensor([1001.0, 1.0])}, 1e-2) == pytest.approx(1 / 1001)
    for other, word in (
        ({"y": a["x"]}, "the other"),
        ({"x": torch.zeros(3)}, "shape"),
        ({"x": torch.tensor([float("nan"), 1.0])}, "not finite"),
        ({"x": torch.tensor([1100.0, 1.0])}, "differs by"),
    ):
        with pytest.raises(Disagreement, match=word):
            agree("t", a, other, 1e-2)


def test_rounds_are_interleaved_and_every_form_runs_in_each() -> None:
    ran: list[str] = []
    times = interleave({"ours": lambda: ran.append("a"), "plain": lambda: ran.append("b")}, 5)
    assert "".join(ran) == "ab" + "abbaabbaab"
    row = dataclasses.replace(times.speedup("t", "m", difference=0.0), value=3.0)
    assert len(times.ratios("plain", "ours")) == 5
    assert dataclasses.replace(row, target=Target(3)).met is True
    assert dataclasses.replace(row, target=Target(2, at_least=False)).met is False
    assert row.met is None


def test_one_measurement_changes_no_gradient_of_the_step() -> None:
    from ple_model.bench import adatt
    from ple_model.bench.customers import context
    from ple_model.model import PLEClusterAdaTT

    model = PLEClusterAdaTT(load_config("small"), context()).eval()
    inputs = customers(6, seed=1)
    without, measured = (adatt.step(model, inputs, measured=m) for m in (False, True))
    assert agree("adatt", measured, without, 0.0) == 0.0


def test_the_cache_and_duckdb_read_the_same_rows(tmp_path: Path) -> None:
    from ple_model.bench import read
    from ple_model.data.dataset.reader import Dataset

    made = read.make(tmp_path / "data", 40, 20, seed=0)
    cached = Dataset.open(made.path, cache=tmp_path / "cache")
    ours = read.joined(read.from_cache(cached, 7, shuffle=False))
    assert len(ours["features"]) == 40
    assert agree("read", ours, read.joined(read.from_duckdb(made, 16)), 0.0) == 0.0


def test_the_list_names_every_benchmark_and_what_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    measured = "scan head train-step forward adatt read build diagnose diagnose-memory skill whatif explain sae page"
    measured += (
        " forecast labels anomaly neighbours sharing reasons neighbour viewers scale peer-mmoe peer-ple single gpu first-view"
    )
    assert set(found["benchmarks"]) == set(measured.split())
    assert set(found["not_yet"]) == set(NOT_YET)
    assert not set(NOT_YET) & set(benchmarks())
    assert main(["bench", "--list"]) == 0
    assert "gpu" in capsys.readouterr().out


def test_a_form_of_the_neighbour_finds_nothing_that_this_process_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    from ple_model.bench import neighbour

    monkeypatch.setattr(neighbour, "_cores", lambda: [0, 1])
    for name in ("OMP_NUM_THREADS", "OMP_PROC_BIND", "GOMP_SPINCOUNT", "PLE_BOUND"):
        monkeypatch.setenv(name, "1")
    found = {k: neighbour.environment(form) for k, form in neighbour.FORMS.items()}
    left = {k: {n for n in v if n.startswith(("OMP_", "GOMP_", "PLE_BOUND"))} for k, v in found.items()}
    ours = {"OMP_PROC_BIND", "GOMP_SPINCOUNT", "PLE_BOUND"}
    assert left == {"free": set(), "bound": {"OMP_PROC_BIND"}, "one": set(), "train": set(), "pool": set(), "app": ours}


def test_the_neighbour_s_ratio_is_of_pairs_measured_one_after_the_other() -> None:
    from ple_model.bench.neighbour import _row

    row = _row("train", [(100.0, 0.1), (200.0, 0.2), (10.0, 1.5)], [(60.0, 0.0), (90.0, 0.1), (9.0, 1.0)])
    assert (row.value, row.low, row.high, row.met) == (0.6, 0.45, 0.9, True)
    assert (row.ours, row.reference, row.detail["cores of others, alone"]) == (60.0, 100.0, 0.2)


@pytest.mark.parametrize("name", ["scan", "head"])
def test_the_command_prints_rows_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    assert main(["bench", name, "--quick", "--json", "--threads", "1"]) == 0
    assert torch.get_num_threads() == threads
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == {}
    assert found["quick"] is True
    for row in found["rows"]:
        assert row["bench"] == name
        assert row["ratio"] > 0
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["difference"] < 1e-4


def test_a_disagreement_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scan, "by_head", lambda p: 2 * scan.by_channel(p))
    assert main(["bench", "scan", "--quick"]) == 1
    assert "differs by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bench", "scna"], "did you mean 'scan'"),
        (["bench", "untold"], "has no benchmark yet (a target)"),
        (["bench", "scan", "--rounds", "2"], "--rounds: 2 is not valid"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setitem(NOT_YET, "untold", "a target")
    assert main(words) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_benchmark_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gpu"]) == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_the_step_of_the_gpu_s_benchmark_trains_and_its_floor_is_what_is_saved() -> None:
    from ple_model.bench import gpu
    from ple_model.bench.customers import context
    from ple_model.model import PLEClusterAdaTT

    cpu, off = torch.device("cpu"), gpu.Precision(torch.device("cpu"), "off")
    rate, multiple = gpu.measure(cpu, "off", 4, 2, preset="small")
    assert rate.value == pytest.approx(4000 / multiple.ours, rel=0.5)  # of the same two rounds
    assert multiple.value > 1
    model = PLEClusterAdaTT(load_config("small"), context()).train()
    few, many = (gpu.saved_bytes(model, customers(n, 0), off) for n in (8, 16))
    assert 1.5 < many / few < 2.5
    before = model.cgc.linear.bias.detach().clone()
    gpu.training_step(model, customers(8, 0), off)()
    assert not torch.equal(model.cgc.linear.bias, before)


def test_the_table_shows_a_row_without_reference() -> None:
    from ple_model.bench.commands import table

    text = table([Row("x", "size", 2.0, Target(5, at_least=False), 2.0, unit="MB")])
    assert "x: size" in text
    assert "<= 5" in text
    assert "yes" in text


def test_quick_sizes_are_the_small_ones() -> None:
    assert Settings(quick=True).pick(512, 4) == 4
    assert Settings().pick(512, 4) == 512


def test_what_only_one_benchmark_reads_is_refused_by_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scan", "--run", str(tmp_path), "--method", "random"]) == 2
    assert (
        "--run: read by `ple bench reasons`, `ple bench single`, `ple bench page` alone, not by scan" in capsys.readouterr().err
    )
    assert main(["bench", "page", "--run", str(tmp_path)]) == 2
    assert "has no stored analysis" in capsys.readouterr().err


def test_several_sizes_are_of_one_benchmark_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scan", "--customers", "10,20"]) == 2
    assert "--customers: several numbers are read by `ple bench scale` alone" in capsys.readouterr().err
    assert main(["bench", "scale", "--customers", "10,x"]) == 2
    assert "'x' is not valid, it must be a whole number" in capsys.readouterr().err
