"""The shape of activity as a reason: the ups and downs that its topology was drawn from, true of the customer's own days."""

from __future__ import annotations

import re
from datetime import date, timedelta

import numpy as np
import pytest

from analysis.explain.origin.days import Days
from analysis.explain.origin.shapes import done, of_shape, weekly
from analysis.explain.origin.told import topic_of
from ple_model.data.build.artifacts import read_scale
from ple_model.data.dataset.batches import Batch
from ple_model.data.derived.tda import SHORT_DIMS, SHORT_POINTS, delay_embedding, diagrams, standardised
from ple_model.fields import FIELD_SHAPES
from ple_model.run import load_run
from tests.shared import SMALL_RUN

RUN = load_run(SMALL_RUN)


@pytest.fixture(scope="module")
def rows() -> Batch:
    return RUN.sample().load("test", limit=40, seed=3)


@pytest.fixture(scope="module")
def days(rows: Batch) -> list[Days]:
    scale = read_scale(RUN.preprocess)
    assert rows.inputs.txn_seq is not None
    assert rows.inputs.session_seq is not None
    txn, visits = rows.inputs.txn_seq.double().numpy() * scale.txn, rows.inputs.session_seq.double().numpy() * scale.session
    return [Days(date.fromisoformat(c), t, v) for c, t, v in zip(rows.cutoff, txn, visits, strict=True)]


def test_what_is_said_of_the_short_shape_is_what_its_stored_diagram_was_drawn_from(rows: Batch, days: list[Days]) -> None:
    assert rows.inputs.tda_short_diagrams is not None
    there, same, seen = rows.inputs.present("tda_short_diagrams").numpy(), 0, 0
    for i in np.flatnonzero(there):
        if (level := done(days[i])) is None or level.std() == 0:
            continue
        cloud = delay_embedding(standardised(np.log1p(level)[None]), 3, 7)
        found, _ = diagrams(cloud, SHORT_DIMS, SHORT_POINTS)
        seen += 1
        same += bool(np.allclose(found[0], rows.inputs.tda_short_diagrams[i].numpy(), atol=0.02))
    assert seen > 15
    assert same > 0.9 * seen


def test_the_highest_and_lowest_weeks_are_those_of_the_customers_own_days(days: list[Days]) -> None:
    said = 0
    for d in days:
        told = of_shape(d, False, True, "USD", -0.02)
        by_date = {d.date(i): d.spend(i) for i in range(180)}
        if told is None:
            assert sum(list(by_date.values())[5:]) == 0
            continue
        amounts = [float(x.replace(",", "")) for x in re.findall(r"\$([\d,.]+\d)", told.en)]
        starts = [date.fromisoformat(x) for x in re.findall(r"week from (\S+)\)", told.en)]
        for amount, first in zip(amounts, starts, strict=True):
            assert amount == pytest.approx(sum(by_date[first + timedelta(days=k)] for k in range(7)), abs=0.01)
        assert amounts[0] == pytest.approx(weekly(d).max(), abs=0.01)
        if quiet := re.findall(r"(\d+) of 25 weeks without", told.en):
            assert int(quiet[0]) == int((weekly(d) == 0).sum()) > 0
        assert all(first.isoformat() in told.ko for first in starts)
        said += 1
    assert said > 20


def test_the_topological_inputs_speak_once_and_carry_their_number(days: list[Days]) -> None:
    fields = {f for f in FIELD_SHAPES if f.startswith("tda_") and not f.endswith("_mask")}
    assert {topic_of(f) for f in (*fields, "tda_short", "tda_long")} == {"shape", "phase_transition"}
    whole = next(d for d in days if done(d) is not None and weekly(d).max() > 0)
    told = of_shape(whole, True, True, "USD", 0.3)
    assert told is not None
    assert told.en.startswith("Ups and downs of activity")
    assert "; ups and downs of weekly spend" in told.en
    assert told.through == (("rest", 0.3),)
    visits = np.zeros((90, 8))
    visits[:, 3], visits[:, 6] = np.log1p(np.linspace(20, 1, 90)), 1
    assert of_shape(Days(date(2024, 10, 1), whole.txn, visits), True, False, "USD", 0.3) is None
