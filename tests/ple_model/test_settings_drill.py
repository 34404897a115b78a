"""A part of the drill of settings and flags (all of it: `python -m tests.drills.settings`), and the types of all flags."""

from __future__ import annotations

import argparse

import pytest

from ple_model.cli import build_parser, gather
from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.yaml_text import parse_yaml
from tests.drills.settings import drill, options

NEVER = {
    "int": ("", "x", "1e25", "1.5", "\u00b2", "9" * 30, "9" * 5000),
    "float": ("nan", "inf", "x", "1e400"),
    "path": ("", "\0", "x" * 5000, "a\0b", "\udcff"),
    "text": ("\0", "\udcff"),
}
"""By kind of value: what no option of that kind can mean."""
PATHS = ("path", "file_in", "folder_in", "file_out", "folder_out")
KINDS = {"number": "float", "share": "float"} | dict.fromkeys(PATHS, "path")
BOMB = "\n".join(["a0: &a0 [x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))])
"""Aliases of aliases: 400 characters that stand for 10^8 values."""


def test_mutated_settings_and_flags_are_refused_in_one_sentence_or_rightly_taken() -> None:
    report = drill(seed=1, cases=45)
    assert report.bad == []
    assert report.counts["refused"] > 50
    assert report.counts["accepted"] > 2


def test_every_value_of_every_subcommand_is_checked_by_its_kind() -> None:
    parser, found = build_parser(gather()), options()
    assert len(found) > 60
    for words, action in found:
        here = f"ple {' '.join(words)} {action.dest}"
        if action.choices is not None:
            continue
        assert action.type not in (None, int, float, str), f"{here}: {action.type} checks nothing"
        name = getattr(action.type, "__qualname__", "")
        kind = "int" if name.startswith("whole.") else KINDS.get(name, "text")
        for value in NEVER[kind]:
            with pytest.raises(argparse.ArgumentError) as said:
                parser._get_value(action, value)
            assert len(str(said.value)) < 300, here
            assert "\n" not in str(said.value), here


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2001-99-99", "month"),
        ("!!float x", "not valid YAML"),
        ("!!bool 1", "not valid YAML"),
        ("!!timestamp x", "not valid YAML"),
        ("0b_", "not valid YAML"),
        ("9" * 5000, "not valid YAML"),
        ("[" * 900 + "]" * 900, "nested more than"),
        ("&a [*a]", "stands for nothing"),
        (BOMB, "more than 100,000 values"),
        ("x" * 1_000_001, "characters"),
    ],
)  # fmt: skip
def test_yaml_that_breaks_the_parser_is_one_sentence_that_names_where(text: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"^here: .*{said}"):
        parse_yaml(text, "here")


def test_aliases_that_are_few_are_read() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: *a}}", "here") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def test_a_model_that_no_memory_holds_is_refused_before_it_is_filled() -> None:
    config = load_config("small", overrides=["task_towers.hidden_dims=[65536, 65536, 65536, 65536, 65536, 65536]"])
    with pytest.raises(UserError, match=r"of memory that are free|allocate"):
        PLEClusterAdaTT(config)
