"""Bends of single columns beside the fitted map: the switch, what they find, what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ple_model.answer import Answer
from ple_model.bend_start import distinct
from ple_model.bends import pieces
from ple_model.config import load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.edits import FeatureEdit, changed_keys, edit
from ple_model.errors import UserError
from ple_model.fitted_start import start_as_fitted
from ple_model.linear_start import LinearStart, fit_linear_start
from ple_model.model import PLEClusterAdaTT
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config

PATH: dict[str, Any] = {"enabled": True, "start": "fitted", "hidden_dims": [8], "rate": 0.0, "ridge": 0.0}
OFF, ON = {"direct_path": PATH}, {"direct_path": {**PATH, "bends": 3, "bend_pieces": 4}}


def test_the_reference_presets_have_no_bends() -> None:
    found = {p: load_config(p).direct_path.bends for p in ("v3_14", "v3_15", "production", "small")}
    assert found == {"v3_14": 0, "v3_15": 0, "production": 0, "small": 32}


@pytest.mark.parametrize("text", ["direct_path.bends=-1", "direct_path.bend_pieces=1", "direct_path.bends=4"])
def test_impossible_values_name_their_key(text: str) -> None:
    """The last: bends are fitted, and a map that starts at random is not."""
    with pytest.raises(UserError, match=text.split("=")[0].replace(".", r"\.")):
        load_config("v3_14", overrides=[text])


def test_without_bends_a_model_is_what_it_was() -> None:
    """Off: no tensor more; on and before the fit: the same start and the same answers."""
    context = random_context()
    off, on = (PLEClusterAdaTT(tiny_config(c), context).eval() for c in (OFF, ON))
    own = {"direct.bends.columns", "direct.bends.cuts", "direct.bends.weight"}
    assert on.state_dict().keys() - off.state_dict().keys() == own
    assert all(torch.equal(v, on.state_dict()[k]) for k, v in off.state_dict().items())
    assert {n for n, _ in on.named_parameters()} == {n for n, _ in off.named_parameters()}
    inputs = random_inputs(8, seed=1, targets=False)
    with torch.no_grad():
        a, b = off(inputs), on(inputs)
    assert all(torch.equal(v, b.logits[k]) for k, v in a.logits.items())


def test_pieces_fill_one_after_another_and_cuts_at_one_value_are_one() -> None:
    cuts = distinct(torch.tensor([[0.0, 0.0, 1.0, 3.0, 3.0]]))
    assert cuts.tolist() == [[0.0, 1.0, 3.0, 3.0, 3.0]]
    found = pieces(torch.tensor([[-1.0], [0.5], [2.0], [9.0]]), cuts)
    assert found.tolist() == [[0, 0, 0, 0], [0.5, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 0, 0]]


def fitted(y: torch.Tensor, kind: str, x: torch.Tensor, bends: tuple[int, int] | None) -> tuple[LinearStart, float]:
    """A fit on the first half of the rows and its loss on the second."""
    half = len(x) // 2
    width = int(y.max()) + 1 if kind == "multiclass" else 1
    answer = Answer("task", kind, slice(0, width), y)
    watch = np.random.default_rng(0).random(half) < 0.2
    first = torch.arange(len(x)) < half
    found = fit_linear_start(x[:half], [answer.rows(first)], watch, bends=bends)
    z = x @ found.weight.T + found.bias
    if bends is not None:
        z = z + found.bends["task"].adds(x)
    return found, float(answer.rows(~first).loss(z[half:]))


@pytest.fixture(scope="module")
def columns() -> torch.Tensor:
    return torch.randn(3000, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["mse", "huber", "multiclass"])
def test_a_bend_that_no_line_sees_is_found_in_its_column(columns: torch.Tensor, kind: str) -> None:
    """High at both ends of a column, low in its middle: a line through it is flat."""
    y = columns[:, 7].abs() - 0.8 + 0.1 * columns[:, 2]
    if kind == "multiclass":
        y = (y > 0).float() + (columns[:, 7] > 1.5).float()
    straight, before = fitted(y, kind, columns, None)
    bent, after = fitted(y, kind, columns, (3, 8))
    assert straight.bends == {}
    assert int(bent.bends["task"].columns[0]) == 7
    assert bent.bends["task"].strength is not None
    assert after < 0.5 * before
    assert torch.equal(straight.weight, bent.weight)  # the map is what it is without


def test_a_binary_tasks_bends_are_carried_to_the_focal_scale_with_its_map(columns: torch.Tensor) -> None:
    """Ranks stay: what the bends add is stretched as the map is."""
    odds = 3 * columns[:, 7].abs() - 3 + columns[:, 1]
    y = (torch.rand(len(odds), generator=torch.Generator().manual_seed(1)) < torch.sigmoid(odds)).float()
    found, _ = fitted(y, "binary", columns, (2, 8))
    z = columns @ found.weight.T + found.bias + found.bends["task"].adds(columns)
    assert float(torch.corrcoef(torch.stack([z[:, 0], odds]))[0, 1]) > 0.9


def test_noise_has_no_bends_that_matter(columns: torch.Tensor) -> None:
    y = torch.randn(len(columns), generator=torch.Generator().manual_seed(2))
    _, before = fitted(y, "mse", columns, None)
    _, after = fitted(y, "mse", columns, (3, 8))
    assert after < 1.01 * before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_starts_with_map_and_bends_and_a_task_of_share_0_is_both(tiny_dataset: Dataset, dtype: torch.dtype) -> None:
    over = {"direct_path": {**ON["direct_path"], "blend": "validation"}}
    model = PLEClusterAdaTT(tiny_config(over), tiny_dataset.context()).to(dtype).eval()
    found = start_as_fitted(model, tiny_dataset)
    assert model.direct is not None
    assert any(b.strength is not None for b in found.bends.values())
    inputs = tiny_dataset.load("train").inputs.to(dtype=dtype)
    model.direct.set_blends(dict.fromkeys(model.direct.slices, 0.0))
    with torch.no_grad():
        out, x = model(inputs), model.direct.columns(inputs).float()
        said = x @ found.weight.T + found.bias
        for task, where in model.direct.slices.items():
            said[:, where] += found.bends[task].adds(x)
        torch.testing.assert_close(model.direct.map(inputs).float(), said, rtol=1e-3, atol=1e-4)
        for task, where in model.direct.slices.items():
            torch.testing.assert_close(out.logits[task], model.direct.map(inputs)[:, where])


@pytest.fixture(scope="module")
def bent() -> PLEClusterAdaTT:
    """A model whose bends say something."""
    model = PLEClusterAdaTT(tiny_config(ON), random_context()).eval()
    assert model.direct is not None
    assert model.direct.bends is not None
    with torch.no_grad():
        model.direct.bends.cuts.copy_(torch.linspace(-4, 4, 5).expand_as(model.direct.bends.cuts))
        model.direct.bends.weight.fill_(0.5)
    return model


def test_an_edit_of_a_bent_column_reaches_the_prediction(bent: PLEClusterAdaTT) -> None:
    from tests.ple_model.test_edits import IDENTITY

    assert bent.direct is not None
    inputs = random_inputs(8, seed=5, targets=False)
    edits = {bent.context.schema.names[0]: FeatureEdit.of("3")}
    edited = edit(inputs, edits, IDENTITY)
    with torch.no_grad():
        known = bent.encode(inputs)
        again = bent.encode_again(edited, known, changed_keys(edits))
        line = bent.direct.linear
        straight = line(bent.direct.columns(edited)) - line(bent.direct.columns(inputs))
        assert torch.equal(again.direct, bent.encode(edited).direct)
        moved = bent.direct.map(edited) - bent.direct.map(inputs)
        assert not torch.allclose(moved, straight)


def test_an_absent_part_leaves_the_answer_finite(bent: PLEClusterAdaTT) -> None:
    assert bent.direct is not None
    inputs = random_inputs(8, seed=4, targets=False)
    gone = inputs.features.clone()
    gone[:, inputs.parts["overseas"]] = torch.nan
    absent = replace(inputs, features=gone, presence={"features:overseas": torch.zeros(8, dtype=torch.bool)})
    assert bool(torch.isfinite(bent.direct(absent)).all())
