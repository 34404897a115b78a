"""Bad input is never a traceback and never a wrong number without a word: generated faults in every table, and what follows.

An error is reported by `validate` with table, column, kind, count and example, and stops `ple build` with one sentence before
anything is written. What is handled is read as the clean input, or as what docs/bad-input.md says. The cases are made in
`malformed.py`.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import ple_model.data.build.build as build_module
from ple_model.cli import main
from ple_model.data.build.build import BuildSettings, build, transform
from ple_model.data.build.coverage import coverage
from ple_model.data.build.spine import create_spine
from ple_model.data.checking.fault import ValidationReport
from ple_model.data.checking.validation import validate
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.connect import connect
from ple_model.data.events.manifest import Defaults
from ple_model.data.events.spec import EXTRA_TABLES, TABLES
from ple_model.data.importers.features import import_features
from ple_model.data.importers.source_map import load_map
from ple_model.data.importers.tables import import_tables
from ple_model.data.labels.labels import Labels, LabelSettings, compute_labels
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.predict import predict
from ple_model.run import load_run
from tests.ple_model.data import malformed
from tests.ple_model.data.malformed import CUTOFF, ERRORS, HANDLED, PEOPLE, Bank, Case, bank, everything, put, write
from tests.ple_model.data.test_import_features import NAMES, N, table
from tests.shared import SMALL_RUN

pytestmark = pytest.mark.slow

ONE = BuildSettings(workers=1, threads=1)
RUN = SMALL_RUN


def _ids(case: Case) -> str:
    return case.name


def _snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*"))}


# errors


def test_the_family_is_large_and_no_case_is_there_twice() -> None:
    names = [c.name for c in (*ERRORS, *HANDLED)]
    assert len(names) == len(set(names)) >= 100
    assert {c.table for c in ERRORS} >= set(TABLES) | {"labels", "exact_spend", "events.json"}


@pytest.mark.parametrize("case", ERRORS, ids=_ids)
def test_an_error_is_reported_and_stops_a_build_before_it_writes(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = case.folder(tmp_path / "events")
    before = _snapshot(tmp_path)
    reports: list[ValidationReport] = []

    def spy(*given: Any) -> ValidationReport:
        reports.append(validate(*given))
        return reports[-1]

    monkeypatch.setattr(build_module, "validate", spy)
    with pytest.raises(UserError) as caught:
        build(events, tmp_path / "dataset", settings=ONE)
    assert _snapshot(tmp_path) == before
    (report,) = reports
    found = [f for f in report.errors if (f.table, f.column, f.kind) == (case.table, case.column, case.kind)]
    assert len(found) == 1, report
    fault = found[0]
    assert fault.rows == case.rows if case.rows is not None else fault.rows > 0
    assert case.said in f"{fault}"
    assert bool(fault.example) == bool(fault.rows)
    assert fault.handling == "Nothing is built."
    said = str(caught.value)
    assert f"{report.errors[0]}" in said
    assert len(said.splitlines()) == 1
    assert len(said) < 600


def test_the_command_says_one_sentence_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, case in enumerate(ERRORS[:: len(ERRORS) // 3]):
        events = case.folder(tmp_path / str(k))
        assert main(["build", str(events), str(tmp_path / "dataset")]) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith(f"{events}: error: ")
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "dataset").exists()


def test_the_report_of_the_command_names_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = next(c for c in ERRORS if c.name == "transactions.amount holds nan").folder(tmp_path / "events")
    assert main(["validate", str(events), "--json"]) == 1
    fault = json.loads(capsys.readouterr().out)["faults"][0]
    assert (fault["table"], fault["column"], fault["kind"], fault["rows"]) == ("transactions", "amount", "not_finite", 1)
    assert main(["validate", str(events)]) == 1
    assert "error: transactions.amount: not a finite number (1 rows, for example 'nan')" in capsys.readouterr().out


# handled: what is read


def _views(folder: Path) -> dict[str, list[str]]:
    """The rows of every table as a build reads them, in the order of their text."""
    with connect(folder, threads=1) as store:
        columns = {s.name: ", ".join(f'"{c.name}"' for c in s.columns) for s in (*TABLES.values(), *EXTRA_TABLES.values())}
        return {
            name: sorted(map(str, store.con.execute(f"SELECT {names} FROM {name}").fetchall()))
            for name, names in columns.items()
            if name in store.present
        }


References = dict[tuple[object, ...], dict[str, list[str]]]


@pytest.fixture(scope="module")
def references() -> References:
    """What was read of the clean banks so far, by their tables and by what makes them: many cases share one."""
    return {}


@pytest.mark.parametrize("case", HANDLED, ids=_ids)
def test_what_is_handled_is_reported_and_read_as_the_clean_input(case: Case, tmp_path: Path, references: References) -> None:
    events = case.folder(tmp_path / "events")
    report = validate(events)
    assert report.ok, report
    found = [f for f in report.faults if (f.table, f.column, f.kind) == (case.table, case.column, case.kind)]
    assert len(found) == 1, report
    assert found[0].rows == case.rows if case.rows is not None else found[0].rows > 0
    assert case.said in f"{found[0]}"
    assert found[0].handling
    key = (case.more, case.like)
    if key not in references:
        references[key] = _views(case.reference(tmp_path / "clean"))
    assert _views(events) == references[key]


@pytest.mark.parametrize("change", malformed.NUMBERS.values(), ids=malformed.NUMBERS)
def test_ids_of_two_number_types_are_the_same_ids(change: malformed.Change, tmp_path: Path) -> None:
    tables, reference = bank("merchants"), bank("merchants")
    change(tables)
    malformed.WHOLE_NUMBERS(reference)
    events = write(tmp_path / "events", tables)
    assert validate(events).faults == ()
    assert _views(events) == _views(write(tmp_path / "clean", reference))


def test_a_folder_of_parts_that_is_called_like_the_file_is_read(tmp_path: Path) -> None:
    clean = _views(write(tmp_path / "clean", bank("sessions")))
    events = write(tmp_path / "events", bank("sessions"))
    malformed.SPARK_FOLDER(events)
    assert validate(events).faults == ()
    assert _views(events) == clean


def test_ids_that_differ_by_case_and_composition_stay_different_and_are_pointed_at(tmp_path: Path) -> None:
    tables = bank()
    put("customers", "customer_id", malformed.cell("Cafe\u0301 1"))(tables)
    put("transactions", "customer_id", malformed.cell("caf\u00e9 1"))(tables)
    fault = next(f for f in validate(write(tmp_path / "events", tables)).faults if "another spelling" in f.message)
    assert (fault.table, fault.kind, fault.severity) == ("transactions", "unknown_customer", "warning")
    assert "Their rows are left out" in fault.handling


def test_known_spellings_of_many_ids_are_counted(tmp_path: Path) -> None:
    tables = bank()
    put("transactions", "customer_id", lambda v: [f" {x}.0" if k < 5 else x for k, x in enumerate(v)])(tables)
    fault = next(f for f in validate(write(tmp_path / "events", tables)).faults if f.kind == "unknown_customer")
    assert fault.rows == 5
    assert "5 of the rows are known under another spelling" in fault.message


def test_rows_that_were_loaded_twice_are_counted(tmp_path: Path) -> None:
    tables = bank("overseas")
    malformed.repeat("overseas", 4)(tables)
    faults = validate(write(tmp_path / "events", tables)).faults
    assert [(f.table, f.kind, f.rows, f.severity) for f in faults] == [("overseas", "repeated_row", 4, "warning")]


# handled: what is built


def _plant_handled(tables: Bank) -> None:
    """Many kinds at once in all tables: the rows of strangers, text, time zones, blanks, other spellings, more columns."""
    stranger = "somebody else"
    for name in ("transactions", "sessions", "holdings", "campaigns", "insurance", "consultation", "overseas", "investment"):
        malformed.repeat(name, 5, customer_id=stranger)(tables)
    for case in HANDLED:
        if case.kind == "text" and case.like is malformed.nothing and case.column != "ts":
            case.change(tables)
    put("sessions", "ts", malformed._zoned)(tables)
    put("transactions", "ts", malformed._offset)(tables)
    put("transactions", "brand", lambda v: ["n/a" if x is None else x for x in v])(tables)
    put("transactions", "merchant_id", lambda v: ["" if x is None else x for x in v])(tables)
    put("transactions", "mcc_l1", lambda v: ["nan" if x is None else x.upper() for x in v])(tables)
    put("transactions", "channel", lambda v: [x.capitalize() for x in v])(tables)
    malformed.repeat("merchants", merchant_id="never visited")(tables)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("clean")
    return build(write(folder / "events", everything()), folder / "dataset", settings=ONE)


def test_a_bank_full_of_handled_faults_builds_the_very_dataset_of_the_clean_one(clean: Dataset, tmp_path: Path) -> None:
    tables = everything()
    _plant_handled(tables)
    dirty = build(write(tmp_path / "events", tables), tmp_path / "dataset", settings=ONE)
    assert dirty.manifest.fingerprint == clean.manifest.fingerprint
    notes = " ".join(dirty.manifest.notes)
    for said in ("5 rows, for example 'somebody else'", "stored as text", "time zone", "stands for nothing", "other capitals"):
        assert said in notes


def _rows(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["customer_id"]: row for row in dataset.table().to_pylist()}


def _inputs(dataset: Dataset) -> Mapping[str, torch.Tensor]:
    """Inputs by field, rows in the order of the ids."""
    batch = dataset.load()
    order = np.argsort(np.array(batch.customer_id))
    return {f: getattr(batch.inputs, f)[order].float() for f in FIELD_SHAPES}


def _transformed(tables: Bank, clean: Dataset, place: Path, cutoff: str = CUTOFF) -> Dataset:
    """The tables with the artifacts of the clean dataset."""
    return transform(write(place / "events", tables), clean.path / "artifacts", place / "dataset", [cutoff], settings=ONE)


STRANGE = (
    "' OR 1=1 --", 'a "quoted" id', "日本 1", "e\u0301", "é", "\U0001f600", "C:\\new\\table", "%s {x} $1", "a/b", "-1", "1e5",
    "NULLIF", "null1", "ÿ", "\u200b", "null island", "Ω", "--", ";", "x" * 64,
)  # fmt: skip


def test_strange_ids_get_the_numbers_of_plain_ones(clean: Dataset, tmp_path: Path) -> None:
    tables = everything()
    ids = sorted(tables["customers"].column("customer_id").to_pylist())
    new = dict(zip(ids, STRANGE, strict=True))
    for name, one in tables.items():
        if "customer_id" in one.column_names:
            put(name, "customer_id", lambda v: [new[x] for x in v])(tables)
    found = _rows(_transformed(tables, clean, tmp_path))
    old = _rows(clean)
    assert set(found) == {new[c] for c in old}
    for customer, row in old.items():
        for column, value in row.items():
            if column not in ("customer_id", "split") and not isinstance(value, str | None):
                mine = found[new[customer]][column]
                np.testing.assert_allclose(mine, value, rtol=1e-4, atol=1e-4, err_msg=column)


def test_free_columns_of_customers_may_have_any_name_and_type(clean: Dataset, tmp_path: Path) -> None:
    tables = everything()
    names = (
        "cutoff",
        "row_id",
        "split",
        "k",
        "total",
        "days",
        "covered",
        "Region",
        "it's",
        'a "b"',
        "s",
        "c",
        "recency",
        "market",
    )
    for k, name in enumerate(names):
        values = [None, k, 2 * k] if k % 3 else [[k], None, [1, 2]]
        column = pa.array([values[i % 3] for i in range(PEOPLE)])
        tables["customers"] = tables["customers"].append_column(name, column)
    found = _inputs(_transformed(tables, clean, tmp_path))
    for name, value in _inputs(clean).items():
        if name != "coldstart_features":  # holds the free columns
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=name)


def test_an_empty_table_is_silence_and_a_missing_one_is_absence(clean: Dataset, tmp_path: Path) -> None:
    tables = everything()
    malformed.empty("overseas")(tables)
    del tables["consultation"]
    dataset = _transformed(tables, clean, tmp_path)
    presence = dataset.load().inputs.presence
    assert presence is not None
    assert presence["features:overseas"].all()
    assert not presence["features:consultation"].any()
    assert "consultation" in dataset.manifest.absent_sources
    assert "overseas" not in dataset.manifest.absent_sources
    assert any("overseas: it has no rows" in n and "zero, not absent" in n for n in dataset.manifest.notes)


def test_repeated_rows_count_and_refunds_are_taken_off(clean: Dataset, tmp_path: Path) -> None:
    tables = everything()
    spent = tables["transactions"].to_pandas()
    day = spent[(spent["kind"] == "card") & (spent["ts"] < CUTOFF) & (spent["ts"] >= "2024-02-10")].iloc[0]
    who = day["customer_id"]
    one = tables["transactions"].filter(pa.array(list(spent.index == day.name)))
    refund = one.set_column(one.schema.get_field_index("amount"), "amount", pa.array([-1.0]))
    tables["transactions"] = pa.concat_tables([tables["transactions"], one, refund])
    found, old = _rows(_transformed(tables, clean, tmp_path))[who], _rows(clean)[who]
    assert found["raw:n_transactions_90d"] == old["raw:n_transactions_90d"] + 1  # a refund is no purchase
    assert found["raw:spend_28d"] == pytest.approx(old["raw:spend_28d"] + day["amount"] - 1.0)
    assert found["y_ltv"] == old["y_ltv"]


def test_a_cut_off_long_after_the_last_event_is_said(clean: Dataset, tmp_path: Path) -> None:
    dataset = _transformed(everything(), clean, tmp_path, "2026-03-01")
    assert any("cut-off 2026-03-01: the last event is of 2024-07-13" in n for n in dataset.manifest.notes)
    batch = dataset.load()
    assert all(torch.isfinite(getattr(batch.inputs, f).float()).all() for f in FIELD_SHAPES)
    assert (batch.inputs.targets or {})["churn"].eq(-1).all()


def test_a_good_dataset_survives_a_build_from_bad_events(clean: Dataset, tmp_path: Path) -> None:
    shutil.copytree(clean.path, tmp_path / "dataset")
    tables = everything()
    put("transactions", "amount", malformed.cell(float("nan")))(tables)
    with pytest.raises(UserError, match=r"transactions\.amount: not a finite number"):
        build(write(tmp_path / "events", tables), tmp_path / "dataset", settings=ONE)
    Dataset.open(tmp_path / "dataset").verify()


@pytest.mark.parametrize("people", [1, 3])
def test_a_handful_of_like_customers_builds_or_is_one_sentence(people: int, tmp_path: Path) -> None:
    tables = bank()
    keep = pa.array([k < people for k in range(PEOPLE)])
    tables["customers"] = tables["customers"].filter(keep)
    first = tables["customers"].column("customer_id").to_pylist()
    put("transactions", "customer_id", lambda v: [first[k % people] for k in range(len(v))])(tables)
    put("transactions", "amount", lambda v: [5.0] * len(v))(tables)
    try:
        dataset = build(write(tmp_path / "events", tables), tmp_path / "dataset", settings=ONE)
    except UserError as e:
        assert "training split" in str(e)  # noqa: PT017
        assert not (tmp_path / "dataset").exists()
    else:
        assert all(torch.isfinite(v).all() for v in _inputs(dataset).values())


# places and dates


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["build", "{events}", "{events}"], "holds the event tables"),
        (["build", "{events}", "{file}"], "is a file"),
        (["build", "{file}", "{out}"], "a folder is expected"),
        (["build", "{events}", "{out}", "--cutoff", "01/03/2024"], "'01/03/2024' is not a date"),
        (["build", "{events}", "{out}", "--cutoff", "1990-01-01"], "no customer has joined"),
        (["build", "{events}", "{out}", "--horizon-days", "0"], "must be at least 1"),
        (["build", "{events}", "{out}", "--workers", "0"], "--workers"),
        (["build", "{events}", "{out}", "--seed", "-1"], "--seed"),
        (["validate", "{file}"], "a folder is expected"),
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_impossible_places_dates_and_numbers_are_one_sentence(
    words: list[str], match: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = write(tmp_path / "events", bank())
    (tmp_path / "file").write_text("x")
    before = _snapshot(tmp_path)
    places = {"events": str(events), "file": str(tmp_path / "file"), "out": str(tmp_path / "out")}
    assert main([w.format(**places) for w in words]) == 2
    error = capsys.readouterr().err.strip()
    assert match in error.splitlines()[-1]
    assert [line for line in error.splitlines()[:-1] if not line.endswith(" done")] == []
    assert _snapshot(tmp_path) == before


# own labels: what is taken from them


def _labels(tables: Bank, place: Path) -> Labels:
    folder = write(place, tables)
    report = validate(folder)
    assert report.ok, report
    with connect(folder, threads=1) as store:
        create_spine(store.con, (CUTOFF,), ONE.split)
        return compute_labels(store, LabelSettings())


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Labels without an own table."""
    return _labels(bank(), tmp_path_factory.mktemp("derived") / "events")


LABELS: dict[str, tuple[malformed.Change, str, Callable[[Any], Any]]] = {
    "NaN keeps the derived label": (put("labels", "ltv", malformed.cell(float("nan"), 5)), "ltv",
                                    lambda derived: np.where(np.arange(PEOPLE) == 5, derived, 2.5)),
    "-1 keeps the derived label": (put("labels", "churn", lambda v: [-1] * PEOPLE), "churn", lambda derived: derived),
    "numbers as text are numbers": (put("labels", "ltv", malformed.text(" nan ")), "ltv",
                                    lambda derived: np.where(np.arange(PEOPLE) == malformed.ROW, derived, 2.5)),
    "class numbers as text": (put("labels", "churn", malformed.text()), "churn", lambda derived: np.arange(PEOPLE) % 2),
    "true and false are 1 and 0": (put("labels", "churn", lambda v: [x == 1 for x in v]), "churn",
                                   lambda derived: np.arange(PEOPLE) % 2),
    "empty text is no class": (put("labels", "nba", malformed.cell("", 2)), "nba",
                               lambda derived: np.where(np.arange(PEOPLE) == 2, derived, 5)),
    "rows of strangers change nothing": (malformed.repeat("labels", 1, customer_id="stranger"), "timing",
                                         lambda derived: np.full(PEOPLE, 4)),
    "a column that is no task changes nothing": (malformed.rename("labels", "churn", "satisfaction"), "churn",
                                                 lambda derived: derived),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_own_labels_with_gaps_and_other_types_are_taken_as_documented(name: str, derived: Labels, tmp_path: Path) -> None:
    change, task, expected = LABELS[name]
    tables = bank("labels")
    change(tables)
    own = _labels(tables, tmp_path / "events")
    np.testing.assert_allclose(own.columns[task], expected(derived.columns[task]))


def test_own_labels_for_other_dates_are_said_and_for_no_date_of_the_build_refused(tmp_path: Path) -> None:
    tables = bank("labels")
    put("labels", "cutoff", lambda v: [datetime.date(2024, 3, 2)] * len(v))(tables)
    events = write(tmp_path / "events", tables)
    fault = next(f for f in validate(events).faults if f.kind == "other_cutoff")
    assert (fault.rows, fault.example, fault.severity) == (PEOPLE, "'2024-03-02'", "warning")
    with pytest.raises(UserError, match=r"none of the 20 rows of labels.parquet.*did you mean '2024-03-02'"):
        build(events, tmp_path / "dataset", settings=ONE)
    assert not (tmp_path / "dataset").exists()


def test_a_horizon_that_the_events_do_not_reach_is_said_and_undeclared_ones_have_no_label(tmp_path: Path) -> None:
    late = "2024-06-20"  # the events end on 2024-07-13
    said = write(tmp_path / "said", bank(), Defaults((late,), 84))
    silent = write(tmp_path / "silent", bank(), Defaults((late,)))
    found = {}
    for folder in (said, silent):
        with connect(folder, threads=1) as store:
            create_spine(store.con, (late,), ONE.split)
            found[folder] = compute_labels(store, LabelSettings()).columns["retention"], coverage(store, (late,), 84)
    assert (found[said][0] == 0).all()
    assert "labels take the silence since then for inactivity" in found[said][1][0]
    assert (found[silent][0] == -1).all()
    assert "labels that look until 2024-09-11 are missing" in found[silent][1][0]


# ready feature tables


FEATURES: dict[str, tuple[dict[str, Any], str]] = {
    "infinity": ({NAMES[0]: [float("inf")] * N}, f"'{NAMES[0]}' has 400 values that are not finite"),
    "one number too large": ({NAMES[1]: [1e300, *[1.0] * (N - 1)]}, f"'{NAMES[1]}' has 1 values that are too large"),
    "a word": ({NAMES[0]: ["much", *["1"] * (N - 1)]}, "has 1 values that are no number, for example 'much'"),
    "dates": ({NAMES[0]: pa.array([1] * N, pa.date32())}, f"'{NAMES[0]}' has type DATE, expected numbers"),
    "a column misspelt": ({NAMES[0] + "s": [1.0] * N, NAMES[0]: None}, f"column '{NAMES[0]}s' is no feature"),
    "a column in capitals": ({NAMES[2].upper(): [1.0] * N, NAMES[2]: None}, f"did you mean '{NAMES[2]}'"),
    "a task misspelt": ({"chrun": [1] * N, "churn": None}, "did you mean 'churn'"),
    "the cut-off misspelt": ({"cut_off": ["2024-05-01"] * N, "cutoff": None}, "did you mean 'cutoff'"),
    "no ids": ({"customer_id": None}, "has no column 'customer_id'"),
    "an empty id": ({"customer_id": [" ", *[f"c{k}" for k in range(1, N)]]}, "1 values that are empty"),
    "a row twice": ({"customer_id": ["c1", "c1", *[f"c{k}" for k in range(2, N)]]}, "1 rows repeat (customer_id, cutoff)"),
    "a control character": ({"customer_id": ["a\nb", *[f"c{k}" for k in range(1, N)]]}, "hold control characters"),
    "a date that is none": ({"cutoff": ["2024-05-01"] * (N - 1) + ["May"]}, "'cutoff' has 1 values that are no date"),
    "an infinite label": ({"ltv": [float("-inf")] * N}, "'ltv' has 400 values that are not finite"),
    "half a class": ({"churn": [0.5] * N}, "'churn' has 400 values that are no class of 0 to 1"),
    "a class too many": ({"nba": [12] * N}, "'nba' has 400 values that are no class of 0 to 11"),
    "no split": ({"split": [None] * N}, "'split' has 400 values that are no split"),
    "no rows": ({}, "has no rows"),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_bad_feature_table_is_one_sentence_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    changes, match = FEATURES[name]
    gone = [c for c, v in changes.items() if v is None]
    made = table(**{c: v for c, v in changes.items() if v is not None}).drop_columns(gone)
    pq.write_table(made.slice(0, 0) if name == "no rows" else made, tmp_path / "f.parquet")
    with pytest.raises(UserError) as caught:
        import_features(tmp_path / "f.parquet", tmp_path / "out")
    assert match in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


# files and maps of `ple import tables`


CSV: dict[str, tuple[str, str, str]] = {
    "an open quote": ("a,2024-01-02,5\n", 'a,"2024-01-02,5\n', "cannot be read"),
    "a field too many": ("a,2024-01-02,5\n", "a,2024-01-02,5,6,7\n", "cannot be read"),
    "a row cut short": ("a,2024-01-02,5\n", "a,2024-0\n", "without customer_id or ts or amount"),
    "money with its sign": ("a,2024-01-02,5\n", "a,2024-01-02,$5\n", "1 value that is no number, for example '$5'"),
    "thousands": ("a,2024-01-02,5\n", 'a,2024-01-02,"1,500"\n', "for example '1,500'"),
    "seconds since 1970": ("a,2024-01-02,5\n", "a,1704153600,5\n", "1 value that is no moment"),
    "two date formats": ("a,2024-01-02,5\n", "a,02/01/2024,5\n", "for example '02/01/2024'"),
    "some time zones": ("a,2024-01-02,5\n", "a,2024-01-02 10:00:00+09:00,5\n", "without a time zone beside 1 with one"),
    "bytes of another encoding": ("a,2024-01-02,5\n", "caf\udce9,2024-01-02,5\n", "is not written in utf-8"),
    "no header": ("customer_id,ts,amount\n", "", "has no column for transactions.ts"),
}
GOOD = "customer_id,ts,amount\na,2024-01-01,5\na,2024-01-02,5\nb,2024-01-03,7\n"


@pytest.mark.parametrize("name", CSV)
def test_a_bad_csv_is_one_sentence_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    old, new, match = CSV[name]
    source = tmp_path / "in"
    source.mkdir()
    (source / "transactions.csv").write_bytes(GOOD.replace(old, new).encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        import_tables(source, tmp_path / "out")
    assert match in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


MAPS: dict[str, tuple[str, str]] = {
    "an unknown key": ("horizon: 84", "did you mean 'horizon_days'"),
    "a horizon in weeks": ("horizon_days: 12 weeks", "horizon_days is '12 weeks'"),
    "a cut-off in words": ("cutoffs: [July]", "cut-off 'July' is no date"),
    "an unknown table": ("tables: {transaction: {}}", "did you mean 'transactions'"),
    "a source column that is not there": ("tables: {transactions: {columns: {amount: value}}}", "no column 'value'"),
    "a file that is not there": ("tables: {transactions: {file: payments.csv}}", "does not exist"),
    "a list for a mapping": ("tables: [transactions]", "must be a mapping"),
    "a constant that is nothing": ("tables: {transactions: {constants: {kind: ~}}}", "write the text in quotes"),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_bad_map_is_one_sentence_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    text, match = MAPS[name]
    source = tmp_path / "in"
    source.mkdir()
    (source / "transactions.csv").write_text(GOOD)
    (source / "map.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        import_tables(source, tmp_path / "out", load_map(source / "map.yaml"))
    assert match in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_moments_with_an_offset_are_imported_in_utc_and_float_ids_as_whole_numbers(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "transactions.csv").write_text("customer_id,ts,amount\na,2024-01-01T08:00:00+09:00,5\n")
    customers = pa.table({"customer_id": ["a"], "joined_on": [datetime.date(2020, 1, 1)]})
    pq.write_table(customers, tmp_path / "in" / "customers.parquet")
    pq.write_table(pa.table({"merchant_id": [12.0, 7.0]}), tmp_path / "in" / "merchants.parquet")
    import_tables(tmp_path / "in", tmp_path / "out")
    with connect(tmp_path / "out") as store:
        assert store.con.execute("SELECT ts FROM transactions").fetchall() == [(datetime.datetime(2023, 12, 31, 23),)]
        assert store.con.execute("SELECT merchant_id FROM merchants ORDER BY 1").fetchall() == [("12",), ("7",)]


# ple predict


PREDICT: dict[str, tuple[Callable[[Bank], Any], str, str]] = {
    "no customers": (malformed.empty("customers"), CUTOFF, "customers: it has no rows"),
    "no transactions table": (lambda tables: tables.pop("transactions"), CUTOFF, "transactions.parquet is missing"),
    "an infinite amount": (put("transactions", "amount", malformed.cell(float("inf"))), CUTOFF, "not a finite number"),
    "a date before everything": (malformed.nothing, "1990-01-01", "no customer has joined"),
}


@pytest.mark.parametrize("name", PREDICT)
def test_events_that_cannot_be_scored_are_one_sentence_and_leave_nothing(name: str, tmp_path: Path) -> None:
    change, cutoff, match = PREDICT[name]
    tables = bank()
    change(tables)
    events = write(tmp_path / "events", tables)
    with pytest.raises(UserError, match=match):
        predict(load_run(RUN), events, tmp_path / "scores.parquet", [cutoff], workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["events"]


def test_other_categories_missing_tables_and_newer_dates_are_scored_and_said(tmp_path: Path) -> None:
    tables = bank()
    put("transactions", "mcc_l1", lambda v: ["teleports"] * len(v))(tables)
    put("transactions", "channel", lambda v: ["drone"] * len(v))(tables)
    events = write(tmp_path / "events", tables)
    found = predict(load_run(RUN), events, tmp_path / "scores.parquet", ["2026-01-01"], workers=1)
    notes = " ".join(found.notes)
    for said in ("no table 'sessions'", "'teleports'", "'drone'", "days without any event lie before it"):
        assert said in notes
    scores = pq.read_table(tmp_path / "scores.parquet")
    assert scores.num_rows == PEOPLE
    few = "such rows, fewer than" in notes  # in training: dormant customers get no score from such a run
    dormant = scores.column("segment").to_pylist().count("dormant") if few else 0
    for name in ("ltv", "nba_p", "ltv_uncertainty"):
        found_here = scores.column(name)
        assert found_here.null_count == dormant, name
        assert np.isfinite(found_here.drop_null().to_numpy()).all(), name
    assert scores.column("ltv_reason").null_count == PEOPLE - dormant
    # nobody was active in the 28 days before a cut-off that lies long after the last event: churn is not defined for anyone
    assert scores.column("churn").null_count == PEOPLE
    assert scores.column("churn_reason").null_count == 0
