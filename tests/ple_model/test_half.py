"""Sixteen bits, emulated: a GPU's mixed precision on a CPU, which is slow there and says the same."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from ple_model.config import load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Amp, Precision
from ple_model.train import Options, train
from ple_model.training.steps import Steps
from tests.fakes import tiny_config

ONE_EPOCH = {"training": {"phase1_epochs": 1, "phase2_epochs": 1}}


def _trained(
    dataset: Dataset, run: Path, amp: Amp, monkeypatch: pytest.MonkeyPatch, scale: float = 2.0**8
) -> dict[str, Any]:  # fmt: skip
    """The last epoch's line of a training in this precision, the loss scaler of a GPU included. `scale`: what it begins with,
    by default one that few steps need not seek."""
    with monkeypatch.context() as patch:
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=amp == "fp16")
        patch.setattr(Precision, "scaler", lambda self: scaler)
        patch.setattr(Precision, "choose", staticmethod(lambda device, wanted: Precision(device, amp)))
        train(dataset, run, tiny_config(ONE_EPOCH), options=Options(device="cpu", sample_customers=20))
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"][-1]


@pytest.mark.slow
def test_a_training_in_sixteen_bits_learns_what_one_in_thirty_two_does(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {amp: _trained(tiny_dataset, tmp_path / amp, amp, monkeypatch) for amp in ("off", "bf16", "fp16")}
    for amp, tolerance in (("bf16", 0.03), ("fp16", 0.01)):
        got, wanted = (ends[a]["valid"]["mean_ratio"] for a in (amp, "off"))
        assert got == pytest.approx(wanted, abs=tolerance), amp
        assert got != wanted, amp  # it was another precision


def test_an_overflow_in_fp16_skips_the_step_and_halves_the_scale(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales: list[float] = []
    moved: list[bool] = []
    take = Steps.take

    def watched(self: Steps, *given: Any) -> None:
        weight = self.session.model.cgc.linear.bias
        before = weight.detach().clone()
        take(self, *given)
        scales.append(self.scaler.get_scale())
        moved.append(not torch.equal(weight, before))

    monkeypatch.setattr(Steps, "take", watched)
    end = _trained(tiny_dataset, tmp_path / "run", "fp16", monkeypatch, scale=2.0**21)
    assert not moved[0]
    assert moved[-1]
    falls = [b / a for a, b in pairwise(scales) if b != a]
    assert falls
    assert set(falls) == {0.5}
    assert math.isfinite(end["valid"]["mean_ratio"])


def test_the_whole_reference_model_is_finite_in_sixteen_bits() -> None:
    from ple_model.bench.customers import customers
    from ple_model.bench.head import pair

    model, inputs = pair(load_config("v3_14"))[0].train(), customers(4, 0)
    for dtype in (torch.bfloat16, torch.float16):
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=dtype):
            output = model(inputs)
            losses = model.losses(output, inputs.targets or {}, epoch=1)
        (losses.total + losses.sae_total).backward()  # type: ignore[no-untyped-call]
        assert bool(torch.isfinite(losses.total))
        assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None), dtype
