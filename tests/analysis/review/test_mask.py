"""Masks of customers: the same for the same customer, nothing to be read from them, a key of the user's own."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from analysis.review.id_file import read_ids
from analysis.review.mask import LETTERS, Mask
from ple_model.errors import UserError


def test_a_mask_is_the_keyed_digest_of_the_id(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"sixteen bytes and more")
    mask = Mask.of("data", key)
    inner = hmac.new(b"sixteen bytes and more", b"customers of data", hashlib.sha256).digest()
    number = int.from_bytes(hmac.new(inner, b"C1", hashlib.sha256).digest()[:8], "big")
    signs = [LETTERS[(number // 32**i) % 32] for i in range(12)]
    assert mask("C1") == "-".join("".join(signs[i : i + 4]) for i in (0, 4, 8))
    assert mask("C1") == Mask.of("data", key)("C1")
    assert mask("C1") != Mask.of("other data", key)("C1")
    assert len({mask(f"C{i}") for i in range(5000)}) == 5000
    assert "sixteen" not in repr(mask)


def test_the_users_key_is_made_once_and_for_that_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = Mask.of("data")("C1")
    path = tmp_path / "ple-scope" / "mask.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert first == Mask.of("data")("C1")
    path.unlink()
    assert first != Mask.of("data")("C1")


def test_processes_that_make_the_key_at_once_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("ple_model.staging.os.getpid", lambda: 7)  # as threads, or machines with one home, have it
    folder = tmp_path / "ple-scope"
    folder.mkdir()
    (folder / ".mask.key.7").write_text("left by another", encoding="utf-8")
    link = os.link

    def late(fresh: str, path: Path) -> None:
        path.write_bytes(b"the key of the one who was first")
        link(fresh, path)

    monkeypatch.setattr("ple_model.staging.os.link", late)
    first = Mask.of("data")
    assert first == Mask.of("data")
    assert (folder / ".mask.key.7").read_text(encoding="utf-8") == "left by another"
    assert sorted(p.name for p in folder.iterdir()) == [".mask.key.7", "mask.key"]


def test_a_key_is_named_without_being_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"sixteen bytes and more {name}", encoding="utf-8")
    a, b = (Mask.of("data", tmp_path / name) for name in "ab")
    assert a.named == Mask.of("other data", tmp_path / "a").named != b.named
    assert len(a.named) == 16


def test_without_a_folder_of_state_masks_still_hold_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ple-scope").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(UserError):
        Mask.of("data")
    assert Mask.of("data", keep=False)("C1") == Mask.of("data", keep=False)("C1") != "C1"


def test_a_key_that_can_be_tried_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short\n")
    with pytest.raises(UserError, match="at least 16 bytes, this one has 5"):
        Mask.of("data", tmp_path / "key")
    with pytest.raises(UserError, match="there is no such key file"):
        Mask.of("data", tmp_path / "none")


def test_ids_are_read_from_text_tables_and_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.txt").write_text("\ufeffC1\n\n C2 \nC1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text('name,customer_id\n"a, b",C2\nc,C1\n', encoding="utf-8")
    (tmp_path / "c.csv").write_text("C1\nC2\n", encoding="utf-8")
    pq.write_table(pa.table({"customer_id": [2, 1], "x": [0, 0]}), tmp_path / "d.parquet")
    assert read_ids(tmp_path / "a.txt") == ("C1", "C2")
    assert read_ids(tmp_path / "b.csv") == ("C2", "C1")
    assert read_ids(tmp_path / "c.csv") == ("C1", "C2")
    assert read_ids(tmp_path / "d.parquet") == ("2", "1")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"\n", "holds no customer ids"),
        ("a.txt", "고객".encode("cp949"), "is no UTF-8 text"),
        ("a.csv", b"id,name\n1,a\n", "has no column 'customer_id', its columns are id, name"),
        ("a.parquet", b"PAR1", "is no readable Parquet file"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} {said}"):
        read_ids(tmp_path / name)
