"""Batches on their way to the device: the same ones, in order; ahead of time and pinned only where that is of use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.reader import Dataset
from ple_model.training.feed import ahead, on_device


def waiting() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "batches ahead"]


def test_on_a_cpu_nothing_is_pinned_and_no_thread_started(small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def pinned(self: Tensor) -> Tensor:
        raise AssertionError("pinned on a CPU")

    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    batches = list(small_dataset.batches("train", 32, shuffle=True))
    fed = []
    for inputs in on_device(batches, torch.device("cpu")):
        assert not waiting()
        fed.append(inputs)
    assert [id(i) for i in fed] == [id(b.inputs) for b in batches]  # the same tensors: equal bit for bit


def test_to_another_device_every_tensor_is_pinned_by_a_thread_and_copied_without_waiting(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers, copies, pinned = set(), [], []

    def pin(self: Tensor) -> Tensor:
        makers.add(threading.current_thread().name)
        pinned.append(self.data_ptr())
        return self

    def to(self: PLEClusterInput, device: torch.device, *, non_blocking: bool) -> PLEClusterInput:
        copies.append((device.type, non_blocking))
        return self

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(PLEClusterInput, "to", to)
    fed = list(on_device(small_dataset.batches("train", 32, shuffle=True, epoch=1), torch.device("meta")))
    assert makers == {"batches ahead"}
    assert copies == [("meta", True)] * len(fed)
    plain = list(small_dataset.batches("train", 32, shuffle=True, epoch=1))
    assert len(fed) == len(plain) > 1
    for one, other in zip(fed, plain, strict=True):
        held: list[Tensor] = []
        one.map(lambda t, held=held: held.append(t) or t)  # type: ignore[misc]
        whole: list[Tensor] = []
        other.inputs.map(lambda t, whole=whole: whole.append(t) or t)  # type: ignore[misc]
        assert {t.data_ptr() for t in held if t.numel()} <= set(pinned)
        for a, b in zip(held, whole, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert not waiting()


def test_what_the_thread_raises_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    fed = ahead(items(), 1)
    assert [next(fed), next(fed)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(fed)
    assert not waiting()


def test_a_training_that_stops_leaves_no_thread_behind() -> None:
    fed = ahead(iter(range(1000)), 2)
    assert next(fed) == 0
    fed.close()  # type: ignore[attr-defined]
    assert not waiting()
