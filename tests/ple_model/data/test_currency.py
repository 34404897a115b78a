"""The currency of a source goes with its dataset, and from there with every model that learns from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ple_model.context import ModelContext
from ple_model.data.build.build import BuildSettings, build, transform
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.manifest import EventsManifest
from ple_model.errors import UserError
from ple_model.tasks import TASKS
from tests.ple_model.data.tiny_events import tables, write_events

pytestmark = pytest.mark.slow

ONE = BuildSettings(workers=1)


def bank(folder: Path, currency: str) -> Path:
    write_events(folder, tables(40, seed=3))
    replace(EventsManifest.load(folder), currency=currency).save(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bank(tmp_path_factory.mktemp("plain") / "events", "")


@pytest.fixture(scope="module")
def without(plain: Path) -> DatasetManifest:
    """What the folder of `won` held before."""
    return build(plain, plain.parent / "dataset", settings=ONE).manifest


@pytest.fixture(scope="module")
def won(plain: Path, without: DatasetManifest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    events = bank(tmp_path_factory.mktemp("won") / "events", "KRW")
    return build(events, plain.parent / "dataset", settings=ONE)  # in the place of one from the same tables without a currency


def test_it_is_in_the_dataset_its_context_and_what_is_cut_from_it(
    won: Dataset, without: DatasetManifest, tmp_path: Path
) -> None:
    assert won.manifest.settings["currency"] == "KRW"
    assert won.context().currency == "KRW"
    assert won.extract(tmp_path / "few", limit=5).context().currency == "KRW"
    assert without.settings["currency"] == ""
    assert without.fingerprint == won.manifest.fingerprint


def test_columns_and_tasks_of_money_are_in_it(won: Dataset) -> None:
    context = won.context()
    assert context.named(TASKS)["ltv"].unit == "KRW"
    assert {c.unit for c in context.schema.columns if c.part == "deposit"} >= {"KRW"}
    assert "currency" not in {c.unit for c in context.schema.columns}
    assert TASKS["ltv"].unit == ModelContext().named(TASKS)["ltv"].unit == "currency"


def test_a_context_without_one_is_stored_as_before(tmp_path: Path) -> None:
    ModelContext().save(tmp_path)
    assert "currency" not in json.loads((tmp_path / "context.json").read_text())
    assert ModelContext.load(tmp_path).currency == ""
    ModelContext(currency="EUR").save(tmp_path)
    assert ModelContext.load(tmp_path).currency == "EUR"


def test_new_customers_in_another_currency_are_refused(won: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has amounts in USD, but the model learned from amounts in KRW"):
        transform(bank(tmp_path / "dollars", "USD"), won.path / "artifacts", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_code_that_is_none_is_named(tmp_path: Path) -> None:
    events = bank(tmp_path / "events", "")
    record = json.loads((events / "events.json").read_text()) | {"currency": "wonn"}
    (events / "events.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"events\.json: currency is 'wonn'"):
        EventsManifest.load(events)
