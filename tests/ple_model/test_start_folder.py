"""Fitted starts that trainings share: the same bits as a fit of one's own, and never those of other rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ple_model import start_folder
from ple_model import train as training
from ple_model.answer import Answer
from ple_model.data.dataset.reader import Dataset
from ple_model.files import read_tensors, write_tensors
from ple_model.fitted_start import start_as_fitted
from ple_model.linear_start import LinearStart, fit_linear_start
from ple_model.model import PLEClusterAdaTT
from ple_model.tuning.begin import Asked, planned
from ple_model.tuning.record import TrialRecord
from ple_model.tuning.trial import TrialRunner
from tests.fakes import tiny_config

PATH = {"enabled": True, "start": "fitted", "hidden_dims": [8], "rate": 0.0, "ridge": 0.0}
BENDS = (2, 3)


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What a fit reads."""

    x: torch.Tensor
    answers: tuple[Answer, ...]
    watch: Any
    bends: tuple[int, int] | None = BENDS

    def once(self, folder: Path) -> LinearStart:
        return start_folder.fit_once(folder, self.x, self.answers, self.watch, None, self.bends)

    def alone(self) -> LinearStart:
        return fit_linear_start(self.x, self.answers, self.watch, None, self.bends)

    def with_answer(self, **changed: Any) -> Rows:
        return dataclasses.replace(self, answers=(dataclasses.replace(self.answers[0], **changed), self.answers[1]))


@pytest.fixture(scope="module")
def rows() -> Rows:
    x = torch.randn(240, 4, generator=torch.Generator().manual_seed(3))
    answers = (
        Answer("churn", "binary", slice(0, 1), (x[:, 0].abs() > 0.7).float()),
        Answer("ltv", "huber", slice(1, 2), x[:, 1] - x[:, 2]),
    )
    return Rows(x, answers, np.arange(240) % 3 == 0)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every fit."""
    made: list[int] = []

    def counted(*given: Any) -> LinearStart:
        made.append(len(given[0]))
        return fit_linear_start(*given)

    counted.__module__ = fit_linear_start.__module__  # whose code the digest is of
    monkeypatch.setattr(start_folder, "fit_linear_start", counted)
    return made


def same(one: LinearStart, other: LinearStart) -> bool:
    """To the bit."""

    def told(found: LinearStart) -> list[torch.Tensor]:
        return [found.weight, found.bias, *(getattr(b, p) for b in found.bends.values() for p in start_folder.BENDS)]

    def chosen(found: LinearStart) -> list[tuple[str, float | None]]:
        return [*found.strengths.items(), *((task, b.strength) for task, b in found.bends.items())]

    return chosen(one) == chosen(other) and all(torch.equal(a, b) for a, b in zip(told(one), told(other), strict=True))


@pytest.mark.parametrize("bends", [None, BENDS])
def test_what_is_taken_is_what_would_have_been_fitted(
    rows: Rows, tmp_path: Path, fits: list[int], bends: tuple[int, int] | None
) -> None:
    asked = dataclasses.replace(rows, bends=bends)
    first, taken = asked.once(tmp_path / "starts"), asked.once(tmp_path / "starts")
    assert fits == [240]
    assert same(asked.alone(), first)
    assert same(first, taken)
    assert first.bends.keys() == ({"churn", "ltv"} if bends else set())
    assert not bends or first.bends["churn"].strength is not None


def test_whatever_a_fit_reads_makes_it_another(
    rows: Rows, tmp_path: Path, fits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, watch = rows.x.clone(), rows.watch.copy()
    cell[7, 2] += 1e-3
    watch[0] = not watch[0]
    others = [
        dataclasses.replace(rows, x=cell), dataclasses.replace(rows, watch=watch), dataclasses.replace(rows, bends=(1, 3)),
        rows.with_answer(y=1 - rows.answers[0].y), rows.with_answer(gamma=1.0), rows.with_answer(alpha=0.5),
    ]  # fmt: skip
    for number, asked in enumerate([rows, *others], 1):
        asked.once(tmp_path)
        assert len(fits) == number
    dataclasses.replace(rows, x=rows.x.clone()).once(tmp_path)
    assert len(fits) == 7
    monkeypatch.setattr(start_folder, "library_versions", lambda: {"torch": "0"})
    rows.once(tmp_path)
    assert len(fits) == 8
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    rows.once(tmp_path)
    assert len(fits) == 9


@pytest.mark.parametrize("damage", ["cut", "text", "shape", "column", "metadata"])
def test_a_damaged_one_is_made_again(rows: Rows, tmp_path: Path, fits: list[int], damage: str) -> None:
    own = rows.once(tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    tensors, metadata = read_tensors(path)
    if damage == "shape":
        write_tensors(path, {**tensors, "weight": tensors["weight"][:, :-1]}, metadata)
    elif damage == "column":
        write_tensors(path, {**tensors, "bends.churn.columns": tensors["bends.churn.columns"] + 9}, metadata)
    elif damage == "metadata":
        write_tensors(path, tensors, {"strengths": "[]"})
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"nothing")
    assert same(own, rows.once(tmp_path))
    assert len(fits) == 2
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_trainings_that_differ_in_what_no_fit_reads_share_one(tiny_dataset: Dataset, tmp_path: Path, fits: list[int]) -> None:
    def started(**changed: Any) -> dict[str, torch.Tensor]:
        model = PLEClusterAdaTT(tiny_config({"direct_path": PATH, **changed}), tiny_dataset.context())
        start_as_fitted(model, tiny_dataset, None, tmp_path)
        return {k: v for k, v in model.state_dict().items() if k.startswith(("direct.fitted", "direct.linear"))}

    one = started()
    other = started(**{"global": {"dropout": 0.4}, "training": {"learning_rate": 0.02, "batch_size": 8}})
    assert len(fits) == 1
    assert all(torch.equal(v, other[k]) for k, v in one.items())
    assert bool(one["direct.fitted"].any())


def test_the_trials_of_a_study_share_one_folder(tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path | None] = []

    def train(*given: Any, **named: Any) -> Any:
        asked.append(named["options"].starts)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    spec = planned(tiny_dataset, tmp_path, Asked("small", trials=2))
    for number in (1, 2):
        record = TrialRecord(number, "running", {}, ())
        runner = TrialRunner(tmp_path, spec, tiny_config(), tiny_dataset, record, lambda step, value: False, lambda: False)
        with pytest.raises(KeyboardInterrupt):
            runner.run()
    assert asked == [tmp_path / "starts"] * 2
