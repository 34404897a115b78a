"""What inputs tell of labels: found on few rows where it is there, nothing where labels are others', and kept with a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ple_model import label_profile
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.told import SIZES, by_size, ranked, told

N, COLUMNS = 500, 120
KINDS = ("binary", "multiclass", "regression")


def rows(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Columns of which a few tell the labels, on scales of their own and with gaps; two rows a customer."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, COLUMNS)).astype(np.float32)
    cause = x[:, 0] + x[:, 1] - x[:, 2] + rng.normal(scale=1.5, size=N)
    labels = {"binary": cause > 1, "multiclass": np.digitize(cause, (-1, 1)), "regression": np.exp(cause)}
    labels = {k: v.astype(float) for k, v in labels.items()}
    x[:, 3] = np.exp(5 * x[:, 3])
    x[rng.random((N, COLUMNS)) < 0.1] = np.nan
    return x, labels, np.arange(N) // 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_labels_of_these_customers_are_told_and_those_of_others_are_not(kind: str, seed: int) -> None:
    x, labels, people = rows(seed)
    y, ranks = labels[kind], ranked(x)
    own = told(kind, y, ranks, people)
    assert own is not None
    assert own.low > 0.05
    others = (np.roll(y, 2), y[np.random.default_rng(seed).permutation(N)], y[::-1])
    for label in others:
        found = told(kind, label, ranks, people)
        assert found is not None
        assert found.high < 0.5 * own.low
        assert abs(found.value) < 0.04


def test_rows_of_one_customer_do_not_tell_each_other() -> None:
    rng = np.random.default_rng(3)
    x = np.repeat(rng.normal(size=(N // 2, COLUMNS)), 2, axis=0).astype(np.float32)
    y = np.repeat(rng.normal(size=N // 2), 2)
    found = told("regression", y, ranked(x), np.arange(N) // 2)
    assert found is not None
    assert found.high < 0.06
    leaking = told("regression", y, ranked(x), np.arange(N))
    assert leaking is not None
    assert leaking.low > 0.03 > abs(found.value)


def test_too_few_rows_or_too_rare_an_outcome_say_nothing() -> None:
    x, labels, people = rows(0)
    ranks = ranked(x)
    assert told("binary", labels["binary"][:150], ranks[:150], people[:150]) is None
    rare = np.zeros(N)
    rare[:10] = 1
    assert told("binary", rare, ranks, people) is None


def test_what_a_run_keeps_is_by_number_of_rows() -> None:
    x, labels, people = rows(1)
    labels["rare"] = np.where(np.arange(N) < 5, 1.0, 0.0)
    labels["few"] = np.where(np.arange(N) < 150, labels["regression"], np.nan)
    kinds = {k: k for k in KINDS} | {"rare": "binary", "few": "regression"}
    found = by_size(kinds, labels, ranked(x), people)
    assert set(found) == set(KINDS)
    kept = found["regression"]
    assert kept.rows == (*SIZES[:2], N)
    assert kept.at(450) == (kept.mean[1], kept.spread[1])
    assert np.isnan(kept.at(150)[0])
    own = told("regression", labels["regression"], ranked(x), people)
    assert own is not None
    assert kept.at(N)[0] == pytest.approx(own.value, abs=1e-6)
    assert min(kept.spread) > 0


def test_a_run_keeps_it_and_an_older_one_opens(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "preprocess"
    folder.mkdir()
    file = folder / label_profile.FILE
    file.write_bytes((tiny_run.preprocess / label_profile.FILE).read_bytes())
    before = label_profile.load(folder)
    assert before is not None
    label_profile.add_told(tmp_path, tiny_dataset, tiny_run.config)
    after = label_profile.load(folder)
    assert after is not None
    assert {k: dataclasses.replace(v, told=None) for k, v in after.items()} == {
        k: dataclasses.replace(v, told=None) for k, v in before.items()
    }
    held = sum(tiny_dataset.rows(s) for s in ("validation", "test"))
    assert any(v.told is not None for v in after.values()) is (held >= SIZES[0])
    plain = json.loads(file.read_text())
    plain["tasks"]["ltv"]["told"] = {"rows": [200], "mean": [0.1, 0.2], "spread": [0.0]}
    file.write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"ltv.*told"):
        label_profile.load(folder)
