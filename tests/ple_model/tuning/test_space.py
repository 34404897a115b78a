"""What may be searched over: declared by the fields, narrowed and added to by the user, every fault told with the nearest."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ple_model.config import PRESETS, load_config
from ple_model.errors import UserError
from ple_model.searchable import SEARCH, Between, OneOf
from ple_model.tuning.dimension import setting
from ple_model.tuning.space import _walk, chosen_space, declared, first_keys, with_setting


@pytest.mark.parametrize("preset", PRESETS)
def test_every_declared_range_is_one_that_every_preset_allows(preset: str) -> None:
    config = load_config(preset)
    found = declared(config)
    assert "training.learning_rate" in found
    assert len(chosen_space(config, list(found), only=True)) == len(found)
    assert all(d.help for d in found.values())


def test_the_first_keys_are_in_the_order_of_the_reference() -> None:
    keys = [d.key for d in first_keys(load_config("small"))]
    order = ("training.learning_rate", "shared_experts.temporal.txn_days", "shared_experts.temporal.patch",
             "task_experts.output_dim", "training.batch_size", "global.dropout")  # fmt: skip
    assert keys[: len(order)] == list(order)


def test_a_new_field_is_searchable_by_its_own_declaration() -> None:
    @dataclass(frozen=True)
    class New:
        pieces: int | None = field(default=None, metadata={"help": "Pieces.", SEARCH: Between(2, 8)})
        way: str = field(default="a", metadata={"help": "Way.", SEARCH: OneOf(("a", "b"))})
        other: int = field(default=1, metadata={"help": "Not searched."})

    pieces, way = _walk(New(), "new")
    assert (pieces.key, pieces.kind, pieces.range) == ("new.pieces", "int", "2..8")
    assert (way.key, way.choices) == ("new.way", ('"a"', '"b"'))


def test_given_keys_narrow_and_add() -> None:
    config = load_config("small")
    space = {d.key: d for d in chosen_space(config, ["training.learning_rate=1e-3..2e-3", "direct_path.bends=0..64",
                                                     "task_experts.tasks.nba.weight=0.5..2:log"])}  # fmt: skip
    assert space["training.learning_rate"].range == "0.001..0.002:log"  # as its field declares it
    assert space["direct_path.bends"].kind == "int"
    assert space["task_experts.tasks.nba.weight"].kind == "float"
    assert "global.dropout" in space
    assert [d.key for d in chosen_space(config, ["cgc.temperature"], only=True)] == ["cgc.temperature"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("training.learning_rat=1..2", "did you mean 'training.learning_rate'"),
        ("training.lerning_rate", "did you mean 'training.learning_rate'"),
        ("training.learning_rate=1e-2..1e-3", "did you mean '1e-3..1e-2'"),
        ("training.learning_rate=0..1:log", "begins above 0"),
        ("training.learning_rate=1e-3..1e-2:lgo", "did you mean 'log'"),
        ("training.learning_rate=a..b", "'a' is no number"),
        ("training.learning_rate=1e-3..inf", "it must be finite"),
        ("training.seed", "declares no range"),
        ("training.batch_size=1|32", "it must be at least 2"),
        ("training.batch_size=32|32", "is no range"),
        ("training.phase1_epochs=1.5..3", "whole numbers|expected int"),
        ("global.dropout=0..1", "it must be in \\[0, 1\\)"),
        ("direct_path.start=fitted|fited", "did you mean 'fitted'"),
    ],
)
def test_a_wrong_key_or_range_names_itself_and_the_nearest(given: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        chosen_space(load_config("small"), [given])
    assert given.partition("=")[0] in str(caught.value)


def test_a_key_twice_and_no_key_at_all() -> None:
    config = load_config("small")
    with pytest.raises(UserError, match="given twice"):
        chosen_space(config, ["cgc.temperature", "cgc.temperature=1..2"])
    with pytest.raises(UserError, match="no key to search over"):
        chosen_space(config, only=True)


def test_a_setting_is_read_back_as_it_was_drawn() -> None:
    config = load_config("small")
    for one, value in ((d, d.choices[-1] if d.choices else d.rounded(d.high)) for d in declared(config).values()):
        assert with_setting(config, setting(one.key, value)) is not None
    assert with_setting(config, setting("training.learning_rate", 0.001234)).training.learning_rate == 0.001234
