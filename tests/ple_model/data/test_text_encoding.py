"""A map names an encoding of text files; Python's other codecs are refused by the map's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ple_model.data.importers.source_map import load_map
from ple_model.data.importers.text_encoding import text_encoding
from ple_model.errors import UserError

WRONG = (
    "rot13",
    "base64",
    "zlib",
    "hex",
    "bz2",
    "uu",
    "quopri",
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "utf-99",
    "x" * 5000,
)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_encoding_of_text_is_refused_by_its_key(tmp_path: Path, name: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(f"tables: {{transactions: {{encoding: '{name}'}}}}")
    with pytest.raises(UserError, match=r"map\.yaml: tables\.transactions\.encoding: .* is no encoding"):
        load_map(path)


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF_8", "cp949", "euc-kr", "utf-16", "latin-1", "windows-1252", "shift_jis", "gb18030"]
)
def test_encodings_of_text_are_taken(name: str) -> None:
    assert text_encoding(name, "here") == name


def test_a_map_that_breaks_the_parser_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    for text in ("cutoffs: [2001-99-99]", "horizon_days: " + "9" * 5000, "name: !!bool 1", "horizon_days: 99999999999"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"map\.yaml"):
            load_map(path)
