"""The audit record's chain: appended lines fit, every change is named, an interrupted write is told apart from one."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.review.record import FILE, START, Person, append, verify
from ple_model.cli import main
from ple_model.errors import UserError

BY = Person("reviewer", "account")


def filled(folder: Path, lines: int) -> list[bytes]:
    for i in range(lines):
        append(folder, {"what": "report", "customer": f"가명-{i}", "prediction": 0.1 * i}, BY)
    return (folder / FILE).read_bytes().splitlines(keepends=True)


def rewritten(folder: Path, lines: list[bytes]) -> None:
    (folder / FILE).write_bytes(b"".join(lines))


def test_every_line_follows_the_one_before(tmp_path: Path) -> None:
    receipts = [append(tmp_path, {"customer": str(i)}, BY) for i in range(4)]
    found = verify(tmp_path)
    assert [r.number for r in receipts] == [1, 2, 3, 4]
    assert (found.whole, found.entries, found.head, found.torn) == (True, 4, receipts[-1].digest, ())
    lines = [json.loads(x) for x in (tmp_path / FILE).read_text(encoding="utf-8").splitlines()]
    assert [x["before"] for x in lines] == [START, *(r.digest for r in receipts[:-1])]
    assert {x["by"] for x in lines} == {"reviewer"}


@pytest.fixture(scope="module")
def five() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        return filled(Path(name), 5)


@settings(deadline=None, max_examples=60)  # each writes and reads a file
@given(st.integers(0, 4), st.data())
def test_any_other_byte_anywhere_is_noticed_at_its_line_or_the_next(five: list[bytes], at: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), list(five)
        position = data.draw(st.integers(0, len(lines[at]) - 2))
        other = data.draw(st.integers(0, 255).filter(lambda b: b != lines[at][position]))
        lines[at] = lines[at][:position] + bytes([other]) + lines[at][position + 1 :]
        rewritten(folder, lines)
        found = verify(folder)
        assert not found.whole
        assert found.broken is not None
        assert found.broken[0] in (at + 1, at + 2)
        assert found.entries <= at + 1


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda x: [x[0], *x[2:]], 2),
        (lambda x: [x[1], x[0], *x[2:]], 1),
        (lambda x: [*x[:3], x[2], *x[3:]], 4),
        (lambda x: [x[0].replace(b'"prediction":0.0', b'"prediction":1.0'), *x[1:]], 1),
        (lambda x: [*x[:4], x[4].replace(b":", b": ", 1)], 5),
        (lambda x: [*x, b"nothing\n"], 6),
        (lambda x: [x[0], x[1][:40] + b"\n", *x[2:]], 2),
    ],
    ids=["taken out", "swapped", "put in twice", "altered", "spaced", "added", "shortened in the middle"],
)
def test_the_first_line_that_does_not_fit_is_named(tmp_path: Path, change: object, line: int) -> None:
    lines = filled(tmp_path, 5)
    rewritten(tmp_path, change(lines))  # type: ignore[operator]
    found = verify(tmp_path)
    assert found.broken is not None
    assert found.broken[0] == line
    assert f"line {line}" in str(found)


def test_an_unfinished_end_is_not_called_whole_and_stays_told_apart(tmp_path: Path) -> None:
    lines = filled(tmp_path, 3)
    rewritten(tmp_path, [*lines[:2], lines[2][:50]])
    found = verify(tmp_path)
    assert (found.whole, found.open, found.broken, found.torn, found.entries) == (False, True, None, (3,), 2)
    assert "unfinished or overwritten, the chain cannot tell which: line 3" in str(found)
    append(tmp_path, {"customer": "next"}, BY)
    found = verify(tmp_path)
    assert (found.whole, found.torn, found.entries) == (True, (3,), 3)
    whole = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    rewritten(tmp_path, [*whole[:2], whole[2][:30] + b"\n", *whole[3:]])  # somebody changes what was torn
    assert not verify(tmp_path).whole
    rewritten(tmp_path, [*whole[:2], *whole[3:]])  # or takes it away
    assert not verify(tmp_path).whole


def test_lines_that_were_overwritten_at_the_end_are_not_declared_innocent(tmp_path: Path) -> None:
    lines = filled(tmp_path, 4)
    rewritten(tmp_path, [*lines[:2], b"x" * 90])
    assert not verify(tmp_path).whole
    assert "no tampering" not in str(verify(tmp_path))
    assert verify(tmp_path, START).broken is not None
    rewritten(tmp_path, [])
    assert not verify(tmp_path).whole
    assert "was emptied" in str(verify(tmp_path))
    assert verify(tmp_path, START).whole


def test_a_line_that_lacks_its_newline_alone_is_a_line(tmp_path: Path) -> None:
    lines = filled(tmp_path, 3)
    rewritten(tmp_path, [*lines[:2], lines[2][:-1]])
    assert (verify(tmp_path).whole, verify(tmp_path).entries) == (True, 3)
    append(tmp_path, {"customer": "next"}, BY)
    found = verify(tmp_path)
    assert (found.whole, found.torn, found.entries) == (True, (), 4)
    assert (tmp_path / FILE).read_bytes().splitlines(keepends=True)[:3] == lines


def test_two_interrupted_writes_in_a_row(tmp_path: Path) -> None:
    lines = filled(tmp_path, 2)
    rewritten(tmp_path, [lines[0], b'{"number":2,"bef', b'\n{"num'])
    assert verify(tmp_path).torn == (2, 3)
    append(tmp_path, {}, BY)
    assert (verify(tmp_path).whole, verify(tmp_path).torn, verify(tmp_path).entries) == (True, (2, 3), 2)


def test_nothing_is_appended_to_a_line_that_was_changed(tmp_path: Path) -> None:
    lines = filled(tmp_path, 2)
    rewritten(tmp_path, [lines[0], lines[1].replace(b'"by":"reviewer"', b'"by":"somebody"')])
    with pytest.raises(UserError, match="was changed: its digest is not that of what it says"):
        append(tmp_path, {}, BY)


def test_lines_missing_at_the_end_show_against_a_head_that_was_kept(tmp_path: Path) -> None:
    lines = filled(tmp_path, 3)
    head = verify(tmp_path).head
    rewritten(tmp_path, lines[:2])
    assert verify(tmp_path).whole
    found = verify(tmp_path, head)
    assert found.broken is not None
    assert found.broken[0] == 3


def _append(folder: str) -> None:
    for i in range(8):
        append(Path(folder), {"customer": str(i)}, BY)


def test_processes_that_append_at_once_make_one_chain(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=_append, args=(str(tmp_path),)) for _ in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert (verify(tmp_path).whole, verify(tmp_path).entries) == (True, 24)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = filled(tmp_path / "audit", 3)
    assert main(["audit", "verify", str(tmp_path)]) == 0
    assert "the chain is whole" in capsys.readouterr().out
    rewritten(tmp_path / "audit", lines[1:])
    assert main(["audit", "verify", str(tmp_path / "audit"), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["whole"], printed["broken"]["line"]) == (False, 1)
    (tmp_path / "empty").mkdir()
    assert main(["audit", "verify", str(tmp_path / "empty")]) == 2
    assert "holds no audit record" in capsys.readouterr().err
    assert main(["audit", "verify", str(tmp_path), "--head", "12"]) == 2
