"""What every source of `ple import` must satisfy, by discovery: its command exists, and what is not there is one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ple_model.cli import main
from ple_model.importers.importer import importers


@pytest.mark.parametrize("name", sorted(importers()))
def test_a_source_that_is_not_there_is_refused_in_one_sentence_and_nothing_is_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    importers()[name].configure(parser)
    places = [str(tmp_path / a.dest) for a in parser._actions if not a.option_strings]
    assert len(places) == 2, "where it comes from, and where it goes"
    assert main(["import", name, *places, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert places[0] in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(importers()))
def test_a_source_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["import", name, "--help"])
    assert left.value.code == 0
    assert f"ple import {name}" in capsys.readouterr().out
    assert not importers()[name].help.endswith(".")


def test_the_sources_of_the_interface_are_there() -> None:
    assert {"completejourney", "map", "tables", "features"} <= set(importers())
