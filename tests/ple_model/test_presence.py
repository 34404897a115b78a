"""Presence has one key on its way, and what the files call it is said in one module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.recording.batches import inputs_of
from analysis.stats.inputs import CAUSES
from ple_model import presence
from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.columns import column_type
from ple_model.data.derived.sequences import Sequences
from ple_model.data.derived.tda import Topology
from ple_model.fields import FIELD_SHAPES, OPTIONAL_FIELDS
from ple_model.schema import PART_SLICES
from ple_model.tasks import TASKS

ROOT = Path(__file__).parents[2]
SPELLED = re.compile(r"features:(\w|$)|task:$|p_(features:|$)|f:$")


def spellings(path: Path) -> list[str]:
    """Where a file puts a key or its column together by itself: in a string that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    return [
        f"{path.relative_to(ROOT)}:{n.lineno}: {n.value}"
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in documents and SPELLED.match(n.value)
    ]


def test_only_one_module_spells_the_keys() -> None:
    own = Path(presence.__file__)
    found = [
        s for p in ("ple_model", "analysis", "dashboard") for f in (ROOT / p).rglob("*.py") if f != own for s in spellings(f)
    ]
    assert not found, "use ple_model.presence"
    assert spellings(own), "the pattern still knows what it looks for"


@pytest.mark.parametrize("key", [*OPTIONAL_FIELDS, *map(presence.part_key, PART_SLICES), *map(presence.task_key, TASKS)])
def test_a_key_and_its_column_say_the_same(key: str) -> None:
    column = presence.presence_column(key)
    assert presence.presence_key(column) == key
    assert str(column_type(column)) == "bool"
    assert presence.presence_key(key) is None


def test_columns_that_stored_datasets_hold() -> None:
    keys = ["txn_seq", presence.part_key("overseas"), presence.task_key("churn")]
    assert [presence.presence_column(k) for k in keys] == ["p_txn_seq", "p_features:overseas", "p_task:churn"]
    assert presence.fallback_column("temporal") == "f:temporal"
    assert (presence.plain_name(keys[1]), presence.plain_name("txn_seq")) == ("overseas", "txn_seq")


def test_what_a_build_says_of_its_rows_is_named_as_the_dataset_names_it() -> None:
    said = [f for shape in (Sequences, Topology) for f in shape.__annotations__ if presence.presence_key(f)]
    assert sorted(map(presence.presence_key, said)) == ["session_seq", "tda_long_diagrams", "tda_short_diagrams", "txn_seq"]  # type: ignore[type-var]
    assert set(map(presence.presence_key, said)) <= set(FIELD_SHAPES)


def test_each_absence_is_counted_under_its_cause() -> None:
    """Row 0 has short diagrams, row 1 none, row 2 an empty mask; nobody has long ones."""
    shape = FIELD_SHAPES["tda_short_diagrams"]
    mask = torch.ones(3, shape[0], dtype=torch.bool)
    mask[2] = False
    inputs = PLEClusterInput(
        features=torch.zeros(3, 734),
        cluster_ids=torch.zeros(3, dtype=torch.long),
        tda_short_diagrams=torch.ones(3, *shape),
        tda_short_mask=mask,
        presence={"tda_short_diagrams": torch.tensor([True, False, True])},
    )
    found = inputs_of(inputs, ())
    assert CAUSES == ("field", "row", "mask")
    np.testing.assert_array_equal(found.absent["tda_short_diagrams"], [0, 1, 1])
    np.testing.assert_array_equal(found.absent["tda_long_diagrams"], [3, 0, 0])
