"""Encodings that exports come in are found by a few rows of the language, or asked; a wrong one is never chosen silently."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ple_model.cli import main
from ple_model.data.importers.encodings import EncodingGuess, guess_encoding
from tests.ple_model.data.languages import LANGUAGES

WESTERN = ("cp1252", "iso8859_15", "iso8859_1", "cp850", "mac_roman")
CENTRAL = ("cp1250", "iso8859_2", "cp852")
WRITTEN = {
    "korean": ("cp949", "euc_kr", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"),
    "japanese": ("cp932", "shift_jis", "euc_jp", "iso2022_jp"), "chinese": ("gb18030", "gbk", "gb2312"),
    "taiwanese": ("big5", "cp950"), "russian": ("cp1251", "koi8_r", "iso8859_5", "cp866", "mac_cyrillic"),
    "german": WESTERN, "french": WESTERN, "french with ligatures": ("cp1252", "iso8859_15"), "spanish": WESTERN,
    "portuguese": WESTERN, "swedish": WESTERN, "polish": CENTRAL, "czech": CENTRAL, "hungarian": CENTRAL,
    "greek": ("cp1253", "iso8859_7"), "turkish": ("cp1254", "iso8859_9"), "lithuanian": ("cp1257", "iso8859_13"),
    "hebrew": ("cp1255",), "arabic": ("cp1256",), "thai": ("cp874",),
}  # fmt: skip
ASKED = {("hebrew", "cp1255")}
"""Its letters are all letters of Cyrillic and Greek encodings too, in words that could be some."""


def guess(path: Path, text: str, encoding: str) -> EncodingGuess | None:
    path.write_bytes(text.encode(encoding))
    return guess_encoding(path)


@pytest.mark.parametrize("language", WRITTEN)
def test_a_file_of_sixty_rows_is_read_as_it_was_written(tmp_path: Path, language: str) -> None:
    text = LANGUAGES[language].text()
    for encoding in WRITTEN[language]:
        found = guess(tmp_path / f"{encoding}.csv", text, encoding)
        assert found is not None, encoding
        read = (tmp_path / f"{encoding}.csv").read_bytes().decode(found.encoding).removeprefix("\ufeff")
        assert read == text, (encoding, found)
        assert bool(found.others) == ((language, encoding) in ASKED), (encoding, found)


@pytest.mark.parametrize(
    ("language", "encoding"), [("portuguese", "cp1252"), ("hungarian", "iso8859_2"), ("russian", "cp1251")]
)
def test_more_rows_say_the_same(tmp_path: Path, language: str, encoding: str) -> None:
    text = LANGUAGES[language].text(600)
    found = guess(tmp_path / "x.csv", text, encoding)
    assert found is not None
    assert text.encode(encoding).decode(found.encoding) == text
    assert not found.others


def test_letters_that_two_encodings_explain_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One word, of letters that Czech has in cp1250 and Icelandic has in cp1252."""
    rows = "".join(f"c{k % 5};2023-{k % 12 + 1:02d}-{k % 28 + 1:02d};{k}.5;Hý\n" for k in range(200))
    file, plan = tmp_path / "x.csv", tmp_path / "map.yaml"
    file.write_bytes(("card;date;amount;obchodník\n" + rows).replace("ý", "\xfd").encode("latin-1"))
    sure = guess_encoding(file)
    assert sure is not None
    assert sure.encoding == "cp1252"  # one text, whatever it is called
    file.write_bytes(("card;date;amount;shop\n" + rows.replace("Hý", "H\xf0r")).encode("latin-1"))
    assert main(["import", "map", str(file), str(plan)]) == 1
    said = capsys.readouterr().out
    assert "which letters are right: cp1252 ('Hðr')" in said
    assert "cp1254 ('Hğr')" in said
    assert yaml.safe_load(plan.read_text(encoding="utf-8"))["tables"]["transactions"]["encoding"] == "?"
    assert main(["import", "tables", str(file), str(tmp_path / "events"), "--map", str(plan)]) == 2
    assert "tables.transactions.encoding" in capsys.readouterr().err
    plan.unlink()
    assert main(["import", "map", str(file), str(plan), "--encoding", "cp1254"]) == 0
    assert yaml.safe_load(plan.read_text(encoding="utf-8"))["tables"]["transactions"]["encoding"] == "cp1254"
    capsys.readouterr()
    assert main(["import", "map", str(file), str(tmp_path / "other.yaml"), "--encoding", "cp999"]) == 2
    assert "--encoding: 'cp999' is no encoding" in capsys.readouterr().err
