"""What an input says that no other says: found where it was put, absent where another input says it too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.ablation import Ablation
from analysis.input_signal import COLUMNS, DOMAINS, _cells, _flat, blocks, input_signal
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.tasks import TASKS


def _data(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Three inputs of noise; the label follows the first of 'own', and the first of 'twice', which 'twin' repeats."""
    rng = np.random.default_rng(seed)
    own, twice = (rng.standard_normal((n, 3)).astype(np.float32) for _ in range(2))
    y = own[:, 0] + 2.0 * twice[:, 0] + 0.3 * rng.standard_normal(n)
    return {"own": own, "twice": twice, "twin": twice.copy()}, y.astype(np.float64)


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_a_signal_of_one_input_is_found_and_one_that_two_inputs_hold_is_not(kind: str) -> None:
    spec = TASKS[{"regression": "ltv", "binary": "churn", "multiclass": "channel"}[kind]]
    (train, y), (rest, z) = _data(3000, 0), _data(1500, 1)
    if kind != "regression":
        edges = [0.0] if kind == "binary" else [-1.0, 1.0]
        y, z = np.digitize(y, edges).astype(np.float64), np.digitize(z, edges).astype(np.float64)
    z[:50] = np.nan
    customers = [f"c{i // 2}" for i in range(1500)]
    cells = {c.expert: c for c in _cells(spec, train, y, rest, z, customers, 100, 0)}
    assert {c.n for c in cells.values()} == {1450}
    assert cells["own"].clear
    assert cells["own"].extra.value > 10  # of var(y) = 5.09 the input holds 1
    assert abs(cells["twice"].extra.value) < 0.2 * cells["own"].extra.value
    assert abs(cells["twin"].extra.value) < 0.2 * cells["own"].extra.value


def test_the_last_steps_that_are_not_empty_come_first_with_their_age_and_the_means_of_weeks() -> None:
    sequence = np.zeros((2, 14, 2), np.float32)
    sequence[0, 3], sequence[0, 12] = (1, 2), (3, 4)
    flat = _flat(sequence, 3)
    nan = np.nan
    np.testing.assert_array_equal(flat[0, :6], [3, 4, 1, 2, nan, nan])
    np.testing.assert_array_equal(flat[0, 6:9], [2, 11, nan])
    np.testing.assert_allclose(flat[0, 9:], np.array([1, 2, 3, 4]) / 7, rtol=1e-6)
    assert np.isnan(flat[1, :9]).all()


def test_every_column_is_in_one_input_and_an_absent_row_is_missing(tiny_dataset: Dataset) -> None:
    inputs = tiny_dataset.load("train").inputs
    found = blocks(inputs)
    assert list(found) == [*DOMAINS, COLUMNS]
    own = sum(found[d].shape[1] for d in ("raw_scale",))
    assert own == 90
    assert inputs.presence is not None
    absent = ~inputs.presence["collaborative_features"].numpy()
    assert np.isnan(found["lightgcn"][absent]).all()
    assert np.isfinite(found["lightgcn"][~absent]).all()
    for block in found.values():
        assert block.dtype == np.float32


def test_the_command_prints_the_inputs_of_the_tasks_asked_for(
    tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Ablation] = {}

    def once(*data: Dataset, **settings: object) -> Ablation:
        """As `input_signal`; the same question is not fitted twice."""
        asked = repr({k: v for k, v in settings.items() if k != "progress"})
        if asked not in found:
            found[asked] = input_signal(*data, **settings)  # type: ignore[arg-type]
        return found[asked]

    monkeypatch.setattr("analysis.input_signal.input_signal", once)
    assert main(["signal", str(tiny_dataset.path), "--task", "ltv", "--bootstrap", "10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {c["task"] for c in told["cells"]} == {"ltv"}
    assert {c["expert"] for c in told["cells"]} == {*DOMAINS, COLUMNS}
    assert main(["signal", str(tiny_dataset.path), "--task", "ltv", "--bootstrap", "10"]) == 0
    assert "fitted without each expert's input" in capsys.readouterr().out
    assert len(found) == 1


def test_an_unknown_task_is_named_with_the_nearest(tiny_dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"chrun.*churn"):
        input_signal(tiny_dataset, tasks=["chrun"])


def test_a_dataset_of_training_rows_only_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    from ple_model.data.dataset.from_tensors import write_dataset

    batch = tiny_dataset.load("train")
    only = write_dataset(tmp_path / "only", [batch])
    with pytest.raises(UserError, match="no rows outside the training split"):
        input_signal(only, tasks=["ltv"])
