"""Reports for a list: what is whole is kept, unknown ids are listed, masks hold, each report stands in the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.explain.lookup import customers, find, find_all
from analysis.results.explanation import Explanation
from analysis.review import reports
from analysis.review.issue import Desk, masked
from analysis.review.mask import Mask
from analysis.review.record import verify
from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.run import Run

Command = Callable[..., int]


@pytest.fixture
def command(tiny_run: Run, tmp_path: Path) -> Command:
    def run(*more: str) -> int:
        words = ["explain", str(tiny_run.path), "--customers", str(tmp_path / "ids.txt"), "--out", str(tmp_path / "out")]
        return main([*words, "--audit", str(tmp_path / "audit"), *more])

    return run


def test_what_is_whole_is_kept_and_the_rest_made_anew(
    asked: list[str], command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--pdf", "--json") == 1  # one id is nobody's
    first = json.loads(capsys.readouterr().out)
    assert (first["made"], first["kept"], first["unknown_at"], len(first["reports"])) == (3, 0, [4], 3)
    out = tmp_path / "out"
    names = sorted(p.name for p in out.iterdir())
    assert len([n for n in names if n.endswith(".pdf")]) == 3
    for report in first["reports"]:
        stem = f"{report['customer']}-nba"
        for kind, digest in report["files"].items():
            assert hashlib.sha256((out / f"{stem}.{kind}").read_bytes()).hexdigest() == digest
    a, b = (f"{r['customer']}-nba" for r in first["reports"][:2])
    (out / f"{a}.pdf").write_bytes(b"half")
    (out / f"{b}.json").unlink()
    assert command("--pdf", "--json") == 1
    second = json.loads(capsys.readouterr().out)
    assert (second["made"], second["kept"]) == (2, 1)
    assert sorted(p.name for p in out.iterdir()) == names
    assert (verify(tmp_path / "audit").whole, verify(tmp_path / "audit").entries) == (True, 5)


@pytest.mark.parametrize("more", [(), ("--cutoff", "1999-01-01")], ids=["latest", "a day without rows"])
def test_no_id_is_in_anything_that_is_written_unless_asked_for(
    asked: list[str], command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert command(*more) == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (len(summary["unknown"]), len(summary["no_row"])) == (1, 3 if more else 0)
    (tmp_path / "audit").mkdir(exist_ok=True)
    printed = capsys.readouterr().out
    assert not [i for i in [*asked, "nobody"] if i in printed]
    written = [p for p in [*(tmp_path / "out").iterdir(), *(tmp_path / "audit").iterdir()] if p.is_file()]
    for path in written:
        text = path.name + path.read_text(encoding="utf-8", errors="replace")
        assert not [i for i in [*asked, "nobody"] if i in text], path


def test_ids_are_shown_where_asked_for(asked: list[str], command: Command, tmp_path: Path) -> None:
    assert command("--show-ids", "--language", "ko") == 1
    assert (tmp_path / "out" / f"{asked[0]}-nba.html").exists()
    assert asked[0] not in (tmp_path / "audit" / "explanations.jsonl").read_text(encoding="utf-8")


def test_a_row_that_cannot_be_explained_stops_nobody_else(
    asked: list[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = reports.explain_row

    def explain_row(*words: Any, **options: Any) -> Explanation:
        found = made(*words, **options)
        if found.customer_id == asked[1]:
            raise UserError(f"the row of {asked[1]} is damaged")
        return found

    monkeypatch.setattr(reports, "explain_row", explain_row)
    assert command() == 1
    out = capsys.readouterr().out
    assert "2 reports made" in out
    assert "is damaged" in out
    assert asked[1] not in out
    assert len(list((tmp_path / "out").glob("*.html"))) == 2


def test_a_batch_by_another_list_of_what_is_barred_is_another(
    asked: list[str], command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("explanations:\n  barred: [age]\n", encoding="utf-8")
    command()
    assert command("--config", str(tmp_path / "c.yaml")) == 2
    assert "its barred is" in capsys.readouterr().err


def test_long_ids_that_begin_alike_have_reports_of_their_own(tiny_run: Run) -> None:
    desk = Desk.of(tiny_run, "en", show_ids=True, recorded=False)
    assert len({desk.file_name("x" * 200 + end, "nba") for end in "ab"}) == 2


def test_a_folder_holds_one_batch(
    asked: list[str], command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command()
    assert command("--show-ids") == 2
    assert "holds another batch: its masked is True, here it is False" in capsys.readouterr().err
    assert command("--task", "ltv") == 2
    assert "its task is 'nba', here it is 'ltv'" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("x", encoding="utf-8")
    assert command("--out", str(tmp_path / "other")) == 2
    assert "holds other files (letter.txt)" in capsys.readouterr().err


def test_a_report_whose_line_cannot_be_written_is_not_made(
    asked: list[str], command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "explanations.jsonl").write_text('{"number":1,"digest":"x"}\n', encoding="utf-8")
    assert command() == 2
    assert "the last line was changed" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.html"))


def test_one_customer_is_reported_masked_and_recorded(
    tiny_run: Run, explained: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    monkeypatch.setattr(import_module("analysis.commands_explain"), "explain", lambda *a, **k: explained)
    files = [tmp_path / n for n in ("a.html", "a.pdf", "d.html")]
    words = ["explain", str(tiny_run.path), "--customer", explained.customer_id, "--audit", str(tmp_path / "audit")]
    words += ["--html", str(files[0]), "--pdf", str(files[1]), "--details", str(files[2])]
    assert main(words) == 0
    others = {s.customer_id for s in explained.similar} | {explained.customer_id}
    for page in (files[0], files[2]):
        text = page.read_text(encoding="utf-8")
        assert not [i for i in others if i in text]
    record = (tmp_path / "audit" / "explanations.jsonl").read_text(encoding="utf-8")
    line = json.loads(record.splitlines()[0])
    assert line["files"]["pdf"] == hashlib.sha256(files[1].read_bytes()).hexdigest()
    assert (line["task"], line["masked"], line["barred"]) == ("nba", True, explained.audit["barred"])
    assert line["sensitive"] == explained.audit["sensitive"] != []
    assert len(line["mask_key"]) == 16
    assert "prediction" not in line
    assert str(float(explained.prediction)) not in record
    noted = [json.loads(x) for x in record.splitlines()]
    assert [x["what"] for x in noted] == ["report", "details"]
    assert noted[1]["files"]["details"] == hashlib.sha256(files[2].read_bytes()).hexdigest()
    assert "&quot;audit&quot;" in files[0].read_text(encoding="utf-8")
    assert str(tmp_path) not in files[0].read_text(encoding="utf-8")
    assert main([*words[:6], "--pdf"]) == 2
    assert main([*words[:2], "--customers", str(files[0])]) == 2


def test_other_customers_are_masked_in_what_is_printed(
    tiny_run: Run, explained: Explanation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import import_module

    monkeypatch.setattr(import_module("analysis.commands_explain"), "explain", lambda *a, **k: explained)
    words = ["explain", str(tiny_run.path), "--customer", explained.customer_id, "--json"]
    others = {s.customer_id for s in explained.similar} - {explained.customer_id}
    assert others
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert explained.customer_id in printed
    assert not [i for i in others if i in printed]
    assert main([*words, "--show-ids"]) == 0
    assert all(i in capsys.readouterr().out for i in list(others)[:1])


def test_one_customer_is_found_by_the_rule_of_a_batch(tiny_run: Run) -> None:
    for c in customers(tiny_run, limit=5):
        for cutoff in (None, c.cutoff):
            data, row = find(tiny_run, c.customer_id, cutoff, None)
            other, same = find_all(tiny_run, [c.customer_id], cutoff, None).rows[c.customer_id]
            assert (data.path, row) == (other.path, same)


def test_nothing_is_recorded_where_nothing_may_be_written(tiny_run: Run, explained: Explanation) -> None:
    def record() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (tiny_run.path / "audit").glob("*")}

    before = record()
    issued = Desk.of(tiny_run, "en", recorded=False).issue(explained, ["html"])
    assert issued.receipt is None
    assert b"noted in no audit record" in issued.files["html"]
    assert record() == before


def test_an_id_that_is_no_file_name_cannot_leave_the_folder(tiny_run: Run, explained: Explanation) -> None:
    desk = Desk.of(tiny_run, "en", show_ids=True, recorded=False)
    issued = desk.issue(replace(explained, customer_id="../../a b"), ["html"])
    assert issued.name == "%2E%2E%2F%2E%2E%2Fa%20b-nba"


def test_similar_customers_are_masked_too(explained: Explanation) -> None:
    mask = Mask(b"k" * 32)
    found = masked(explained, mask)
    assert found.customer_id == mask(explained.customer_id)
    assert [s.customer_id for s in found.similar] == [mask(s.customer_id) for s in explained.similar]
    assert masked(explained, None) is explained


def test_an_engine_is_for_a_list(tiny_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(tiny_run.path), "--customer", "x", "--engine", "local"]) == 2
    assert "go with --customers" in capsys.readouterr().err
