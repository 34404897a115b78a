"""The direct path from the columns: what it adds, what it leaves alone, and that nothing forgets it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ple_model.config import load_config
from ple_model.direct import LIMIT
from ple_model.edits import FeatureEdit, changed_keys, edit
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.module_outputs import output_marks
from ple_model.optimizer import optimizer_groups
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config

ON = {"direct_path": {"enabled": True, "hidden_dims": [8]}}
OFF = {"direct_path": {"enabled": False}}


@pytest.fixture(scope="module")
def both() -> tuple[PLEClusterAdaTT, PLEClusterAdaTT]:
    """The same tiny model with and without the path."""
    context = random_context()
    return PLEClusterAdaTT(tiny_config(ON), context).eval(), PLEClusterAdaTT(tiny_config(OFF), context).eval()


def test_the_reference_presets_have_no_direct_path_and_its_schedule() -> None:
    for preset in ("v3_14", "v3_15"):
        config = load_config(preset)
        assert (config.direct_path.enabled, config.training.schedule, config.training.phase2_rate) == (
            False,
            "warm_restarts",
            1.0,
        )


def test_without_the_path_a_model_is_what_it_was(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    """Off: no parameter more, every start the same; on: the same model plus what the path says."""
    on, off = both
    assert not [k for k in off.state_dict() if k.startswith("direct")]
    assert "direct_path" not in off.blocks()
    own = {k: v for k, v in on.state_dict().items() if not k.startswith("direct.")}
    assert own.keys() == off.state_dict().keys()
    read = [k for k in own if not k.startswith("expert_heads.")]  # which no prediction reads
    assert [k for k in read if not torch.equal(off.state_dict()[k], own[k])] == []
    inputs = random_inputs(16, seed=3, targets=False)
    with torch.no_grad():
        encoded, plain = on.encode(inputs), off.encode(inputs)
        assert plain.direct is None
        assert encoded.direct is not None
        silent = on.decode(replace(encoded, direct=torch.zeros_like(encoded.direct)))
        without, said = off.decode(plain), on.decode(encoded)
    for task, value in without.logits.items():
        assert torch.equal(value, silent.logits[task]), task
    # what is added is the path's, where the tower's input does not come from a task that it has moved
    moved = {e.target for e in on.edges}
    for task, where in on.direct.slices.items():  # type: ignore[union-attr]
        if task not in moved:
            torch.testing.assert_close(said.logits[task], without.logits[task] + encoded.direct[:, where])


def test_the_path_reads_absent_parts_and_wild_values_as_nothing_special(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    path = both[0].direct
    assert path is not None
    inputs = random_inputs(8, seed=4, targets=False)
    wild = inputs.features.clone()
    wild[0] = 1e12
    assert float(path.columns(replace(inputs, features=wild)).abs().max()) <= LIMIT
    broken = inputs.features.clone()
    where = inputs.parts["overseas"]
    broken[:, where] = torch.nan
    gone = replace(inputs, features=broken, presence={"features:overseas": torch.zeros(8, dtype=torch.bool)})
    assert bool(torch.isfinite(path(gone)).all())


def test_an_edit_of_a_column_reaches_the_path(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    from tests.ple_model.test_edits import IDENTITY

    model = both[0]
    inputs = random_inputs(8, seed=5, targets=False)
    name = model.context.schema.names[0]
    edits = {name: FeatureEdit.of("3")}
    edited = edit(inputs, edits, IDENTITY)
    with torch.no_grad():
        known = model.encode(inputs)
        again = model.encode_again(edited, known, changed_keys(edits))
        assert torch.equal(again.direct, model.encode(edited).direct)
        assert not torch.equal(again.direct, known.direct)
        kept = model.encode_again(inputs, known, ["hmm_journey"])
        assert kept.direct is known.direct


def test_an_answer_from_a_towers_input_is_the_models(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    """Sweeps of an edge and dose responses repeat a tower alone: without the path they would answer for another model."""
    for model in both:
        with torch.no_grad():
            out = model(random_inputs(8, seed=10, targets=False))
            for task in model.tasks:
                torch.testing.assert_close(model.answer(task, out.tower_inputs[task], out.encoded), out.predictions[task])


def test_a_difference_in_the_path_is_marked_as_the_paths(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    on, off = both
    inputs = random_inputs(8, seed=9, targets=False)
    marks = list(output_marks(on, inputs))
    assert marks.index("direct") < marks.index("cgc")
    assert "direct" not in output_marks(off, inputs)


def test_an_encoding_without_the_path_is_refused(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    on, off = both
    with torch.no_grad(), pytest.raises(ValueError, match="direct path"):
        on.decode(off.encode(random_inputs(4, seed=6, targets=False)))


def test_the_linear_map_has_a_learning_rate_and_a_penalty_of_its_own(both: tuple[PLEClusterAdaTT, PLEClusterAdaTT]) -> None:
    model = both[0]
    assert model.direct is not None
    (group,) = [g for g in optimizer_groups(model) if any(p is model.direct.linear.weight for p in g["params"])]
    d = model.config.direct_path
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (d.rate * model.config.training.learning_rate, 0.0, 1)
    assert "direct_path" in model.blocks()
    inputs = random_inputs(8, seed=8)
    assert inputs.targets is not None
    found = model.losses(model(inputs), inputs.targets, epoch=1)
    weight = model.direct.linear.weight
    torch.testing.assert_close(found.aux["direct_path.ridge"], d.ridge * weight.square().sum())
    off = both[1]
    plain = off.losses(off(inputs), inputs.targets, epoch=1)
    assert "direct_path.ridge" not in plain.aux


def test_rows_go_without_the_path_in_training_only() -> None:
    over = {"direct_path": {**ON["direct_path"], "path_dropout": 0.5}}
    model = PLEClusterAdaTT(tiny_config(over), random_context())
    inputs = random_inputs(64, seed=7, targets=False)
    with torch.no_grad():
        torch.manual_seed(0)
        silent = int((model.train().encode(inputs).direct == 0).all(1).sum())  # type: ignore[union-attr]
        assert 10 < silent < 54
        assert int((model.eval().encode(inputs).direct == 0).all(1).sum()) == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["direct_path.dropout=1", "direct_path.rate=-1", "training.phase2_rate=0", "training.schedule=cosin"]
)
def test_impossible_values_name_their_key(text: str) -> None:
    with pytest.raises(UserError, match=text.partition("=")[0]):
        load_config("small", overrides=[text])
