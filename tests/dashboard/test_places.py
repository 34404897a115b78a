"""Data is taken from and written to the allowed folders alone, whatever is typed or sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard import places
from dashboard.server import RUNS_VARIABLE
from ple_model.data.importers.source_map import SourceMap, TableMap
from ple_model.errors import UserError


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))
    (tmp_path / "data" / "months").mkdir(parents=True)
    for name in ("months/a.csv", "months/b.csv", "one.csv", "notes.md"):
        (tmp_path / "data" / name).write_text("x,y\n1,2\n")
    return tmp_path / "data"


def test_a_path_inside_is_taken_and_any_other_refused(data: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("x")
    (data / "link.csv").symlink_to(secret)
    assert places.inside("one.csv") == data / "one.csv"
    assert places.inside(str(data / "months")) == data / "months"
    for typed in (str(secret), "../secret.csv", "/etc/passwd", "link.csv", str(tmp_path), "months/../../secret.csv"):
        with pytest.raises(places.Outside):
            places.inside(typed)
    with pytest.raises(UserError):
        places.inside("a\0b")


@pytest.mark.parametrize(
    ("file", "refused"),
    [
        ("b.csv", False),
        ("*.csv", False),
        ("../one.csv", False),
        ("/etc/passwd", True),
        ("../../secret.csv", True),
        ("../../*.csv", True),
    ],
)
def test_a_map_names_no_file_outside(data: Path, file: str, refused: bool) -> None:
    mapping = SourceMap(tables={"transactions": TableMap(file=file)})
    for source in (data / "months", data / "months" / "a.csv"):
        assert places.named_outside(mapping, source) == (file if refused else None)
    assert places.named_outside(SourceMap(tables={"transactions": TableMap()}), data / "one.csv") is None


def test_files_and_folders_of_tables_are_offered_and_links_are_not(data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("x")
    (data / "link.csv").symlink_to(tmp_path / "secret.csv")
    (data / "events").mkdir()
    (data / "events" / "events.json").write_text("{}")
    (data / "events" / "transactions.parquet").write_text("x")
    assert [places.short(p) for p in places.sources()] == ["months", "months/a.csv", "months/b.csv", "one.csv"]
    assert places.event_folders() == [data / "events"]


@pytest.mark.parametrize("name", ["../../x.csv", "/etc/x.csv", "..", "a\\..\\x.csv", ".x.csv", "\0.csv", ""])
def test_an_upload_lands_in_its_own_folder_under_its_last_name(data: Path, name: str) -> None:
    kept = places.keep_upload([(name, b"x\n1\n")])
    assert kept.parent.parent == data / "uploads"
    assert kept.read_bytes() == b"x\n1\n"
    assert not kept.name.startswith(".")
    assert places.keep_upload([(name, b"x\n1\n")]) == kept


def test_several_uploads_are_one_folder(data: Path) -> None:
    kept = places.keep_upload([("a.csv", b"1"), ("b.csv", b"2")])
    assert sorted(p.name for p in kept.iterdir()) == ["a.csv", "b.csv"]
    assert places.keep_upload([("b.csv", b"2"), ("a.csv", b"1")]) == kept
