"""Reports for a list by an engine: those of one process; what waits after a stop is nobody's to read and goes on rightly."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.explain.customer import explain_row
from analysis.explain.lookup import Undefined
from analysis.results.explanation import Explanation
from analysis.review import batch_shards, reports
from analysis.review.batch import BatchSummary, make_batch
from analysis.review.batch_parts import PARTS, load_part, save_part
from analysis.review.issue import Desk, Format
from analysis.review.mask import Mask
from analysis.review.record import verify
from analysis.review.reports import BatchOrder, ReportOutcome
from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.tasks import TASKS
from tests.in_process import InProcess

MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
STOPPED = "report_shard 00001"
"""Of three shards the last ends first, and the one in the middle is lost."""


@pytest.fixture
def order(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BatchSummary]:
    """A batch of the three, by an engine or without one, with the record of each folder apart."""
    monkeypatch.setattr(batch_shards, "CUSTOMERS", 1)

    def make(
        ids: list[str], name: str, engine: ShardEngine | None = None, *, record: str | None = None,
        formats: tuple[Format, ...] = ("html",), key: bytes = b"k" * 32,
    ) -> BatchSummary:  # fmt: skip
        desk = Desk.of(tiny_run, "en", record=tmp_path / (record or f"record-{name}"), masks=Mask(key))
        return make_batch(tiny_run, ids, tmp_path / name, desk, BatchOrder("nba", formats), engine=engine)

    return make


@pytest.fixture
def stopped(order: Callable[..., BatchSummary]) -> Callable[..., None]:
    """The same batch, stopped when the report of its last customer alone was made."""

    def stop(ids: list[str], name: str, **more: Any) -> None:
        with pytest.raises(UserError, match="shard 00001: lost"):
            order(ids, name, InProcess(fails=STOPPED), **more)

    return stop


def parts(out: Path) -> list[Path]:
    return [p for p in (out / PARTS).rglob("*") if p.is_file()]


def said(folder: Path) -> list[dict[str, Any]]:
    """What the record says of the reports, without what hangs on the moment."""
    lines = (folder / "explanations.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in ("at", "digest", "before", "files", "contents")} for x in lines]


def test_an_engine_makes_the_reports_that_one_process_makes(
    asked: list[str], order: Callable[..., BatchSummary], tmp_path: Path
) -> None:
    here, there = order(asked, "here"), order(asked, "there", InProcess())
    assert (here.made, there.made) == (3, 3)
    assert said(tmp_path / "record-here") == said(tmp_path / "record-there"), "in the order of the list, whoever ended first"
    names = sorted(p.name for p in (tmp_path / "here").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "there").iterdir())
    for name in (n for n in names if n.endswith(".html")):
        ours, theirs = ((tmp_path / f / name).read_text(encoding="utf-8") for f in ("there", "here"))
        assert ours.replace("record-there", "record-here") == theirs
    plain = [{k: v for k, v in r.items() if k not in ("record", "files")} for r in here.reports]
    assert plain == [{k: v for k, v in r.items() if k not in ("record", "files")} for r in there.reports]


def test_a_report_that_was_made_before_a_shard_was_lost_is_not_made_again(
    asked: list[str], order: Callable[..., BatchSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, rows = reports.explain_row, list[int]()

    def explain_row(run: Run, data: object, row: int, *words: Any, **options: Any) -> Explanation:
        rows.append(row)
        return made(run, data, row, *words, **options)

    monkeypatch.setattr(reports, "explain_row", explain_row)
    with pytest.raises(UserError, match="shard 00001: lost"):
        order(asked, "out", InProcess(fails=STOPPED))
    assert not list((tmp_path / "out").glob("*.html")), "the first of the list is missing, so nobody is handed the last"
    assert not (tmp_path / "record-out").exists()
    assert order(asked, "out", InProcess()).made == 3
    assert (len(rows), len(set(rows))) == (3, 3)
    assert verify(tmp_path / "record-out").entries == 3
    assert not (tmp_path / "out" / ".parts").exists()


def test_customers_of_an_engine_who_cannot_be_explained_are_told(
    asked: list[str], order: Callable[..., BatchSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = reports.explain_row

    def explain_row(*words: Any, **options: Any) -> Explanation:
        found = made(*words, **options)
        if found.customer_id == asked[1]:
            raise UserError(f"the row of {asked[1]} is damaged")
        if found.customer_id == asked[2]:
            raise Undefined("nba", asked[2], "2025-05-01", TASKS["nba"].condition)
        return found

    monkeypatch.setattr(reports, "explain_row", explain_row)
    found = order(asked, "out", InProcess())
    assert (found.made, len(found.broken), len(found.outside)) == (1, 1, 1)
    assert "is damaged" in found.broken[0]
    assert asked[1] not in found.broken[0]


def test_explanations_by_an_engine_are_those_of_one_process(
    tiny_run: Run, asked: list[str], order: Callable[..., BatchSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "explain_row", explain_row)  # the real one: all is computed on both sides
    for name, engine in (("here", None), ("there", _Elsewhere(tmp_path / "elsewhere"))):
        assert order(asked[:2], name, engine, record="record").made == 2
    ours, theirs = ({p.name: p.read_text("utf-8") for p in (tmp_path / f).glob("*.html")} for f in ("here", "there"))
    assert len(ours) == 2
    assert {n: MOMENT.sub("", t) for n, t in ours.items()} == {n: MOMENT.sub("", t) for n, t in theirs.items()}
    here, there = said(tmp_path / "record")[:2], said(tmp_path / "record")[2:]
    assert [{**x, "number": 0} for x in here] == [{**x, "number": 0} for x in there]


class _Elsewhere(InProcess):
    """Shards as another process has them, in another working directory."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir()
        self.folder = folder

    def run(self, work: Callable[[Any], Any], shards: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, shard in shards.items():
            sent = pickle.loads(pickle.dumps(shard))
            with contextlib.chdir(self.folder):
                value = work(sent)
            yield name, value


def test_a_folder_that_is_named_from_here_is_found_from_another_working_directory(
    tiny_run: Run, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = Desk.of(tiny_run, "en", record=Path("record"), masks=Mask(b"k" * 32))
    engine = _Elsewhere(tmp_path / "elsewhere")
    assert make_batch(tiny_run, asked, Path("out"), desk, BatchOrder("nba", ("html",)), engine=engine).made == 3
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_waits_is_named_by_the_key_and_not_by_the_id_alone(
    asked: list[str], stopped: Callable[..., None], tmp_path: Path
) -> None:
    for name, key in (("a", b"a" * 32), ("again", b"a" * 32), ("b", b"b" * 32)):
        stopped(asked, name, key=key)
    a, again, b = ({p.name for p in parts(tmp_path / name)} for name in ("a", "again", "b"))
    assert (a, len(a)) == (again, 1)
    assert not a & b, "who has no key could tell by an id whose the file is"


def test_what_waits_is_no_report_and_is_gone_with_the_batch_whoever_ends_it(
    asked: list[str], order: Callable[..., BatchSummary], stopped: Callable[..., None], tmp_path: Path
) -> None:
    stopped(asked, "out")
    (tmp_path / "out" / PARTS).chmod(0o755)  # as another program left it
    stopped(asked, "out")
    assert stat.S_IMODE((tmp_path / "out" / PARTS).stat().st_mode) == 0o700
    (part,) = parts(tmp_path / "out")
    assert not [text for text in (b"<html", part.stem.encode()) if text in part.read_bytes()]
    assert order(asked, "out").made == 3
    assert not (tmp_path / "out" / PARTS).exists()
    assert verify(tmp_path / "record-out").entries == len(list((tmp_path / "out").glob("*.html"))) == 3


def test_a_stopped_batch_goes_on_with_other_formats_from_nothing(
    asked: list[str], order: Callable[..., BatchSummary], stopped: Callable[..., None], tmp_path: Path
) -> None:
    stopped(asked, "out")
    found = order(asked, "out", InProcess(), formats=("html", "pdf"))
    assert [set(r["files"]) for r in found.reports] == [{"html", "pdf"}] * 3
    assert len(list((tmp_path / "out").glob("*.pdf"))) == 3


def test_a_report_names_the_record_that_its_line_is_in(
    asked: list[str], order: Callable[..., BatchSummary], stopped: Callable[..., None], tmp_path: Path
) -> None:
    stopped(asked, "out", record="first")
    assert order(asked, "out", InProcess(), record="second").made == 3
    for page in (tmp_path / "out").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "&quot;second&quot;" in text
        assert "first&quot;" not in text
        assert str(tmp_path) not in text


def test_a_row_that_failed_once_is_tried_again(
    asked: list[str], order: Callable[..., BatchSummary], stopped: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(reports, "explain_row", _out_of_memory)
        stopped(asked, "out")
    assert (order(asked, "out", InProcess()).made, order(asked, "out").kept) == (3, 3)


def _out_of_memory(*words: object, **options: object) -> Explanation:
    raise RuntimeError("not enough memory")


def test_an_outcome_is_one_thing(tmp_path: Path) -> None:
    for found in (ReportOutcome(outside=True), ReportOutcome(broken="x: damaged")):
        save_part(tmp_path / "x.part", found)
        assert load_part(tmp_path / "x.part") == found
    for words in ({}, {"outside": True, "broken": "x"}, {"told": {}, "outside": True}):
        with pytest.raises(ValueError, match="an outcome is"):
            ReportOutcome(**words)
    whole = (tmp_path / "x.part").read_bytes()
    for damaged in (whole[:-5], b"", b"<html>"):
        (tmp_path / "x.part").write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.part is damaged"):
            load_part(tmp_path / "x.part")
