"""What a training step reads back from the device: on a GPU each reading waits until all that was asked for is done.

There is no GPU here. Reading shows in the operators all the same: a value of a tensor becomes a number of the program, or the
shape of a result depends on values.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ple_model
from ple_model.data.dataset.reader import Dataset
from ple_model.train import Options, train
from ple_model.training.steps import Steps
from tests.fakes import tiny_config

PROGRAM = Path(ple_model.__file__).parent
BY_VALUES = {
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "_unique2",
}
READINGS = ("tolist", "numpy", "cpu")
ON_A_CPU_ALONE = {"_cluster_weights", "require_labels"}
"""Checks of values that a GPU is not asked for."""


def _asker() -> str:
    """The function of the program that is at work."""
    frame = sys._getframe(2)
    while frame is not None:
        if PROGRAM in Path(frame.f_code.co_filename).parents:
            return frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


class Readings(TorchDispatchMode):
    """Counts them by the function that asks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1]
        )
        if name in BY_VALUES or masks:
            self.note()
        return func(*args, **(kwargs or {}))

    def note(self) -> None:
        asker = _asker()
        if asker not in ON_A_CPU_ALONE:
            self.found[asker] += 1


def test_a_step_reads_five_times_and_waits_for_three_of_them(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the points of each horizon's diagrams are and how many (the second is known when the first is), and whether the
    losses and gradients are numbers. Every tenth step adaTT asks whether it is frozen too."""
    counted: list[Counter[str]] = []
    take = Steps.take

    def watched(self: Steps, *given: Any) -> None:
        readings = Readings()

        def noted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(tensor: Tensor, *a: Any, **k: Any) -> Any:
                readings.note()
                return real(tensor, *a, **k)

            return call

        with monkeypatch.context() as patch, readings:
            for name in READINGS:
                patch.setattr(Tensor, name, noted(getattr(Tensor, name)))
            take(self, *given)
        counted.append(readings.found)

    monkeypatch.setattr(Steps, "take", watched)
    config = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}, "adatt": {"enabled": False}})
    train(tiny_dataset, tmp_path / "run", config, options=Options(device="cpu", sample_customers=20))
    middle = len(counted) // 2
    plain = [found for i, found in enumerate(counted) if i != middle]  # there the size of a step is measured, once an epoch
    assert plain
    for found in plain:
        assert found == {"pack": 4, "measure": 1}
