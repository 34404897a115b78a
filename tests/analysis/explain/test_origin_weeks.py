"""The learned summary of daily activity as a reason: the weeks that counted, through the encoder that the run holds."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from analysis.engine.explainer import Explainer, single
from analysis.engine.reference import Path as InputPath
from analysis.engine.score import Score
from analysis.explain.origin.days import Days
from analysis.explain.origin.fitted import days_of, scale_of, weeks_of
from analysis.explain.origin.teller import Teller
from analysis.explain.origin.told import OriginSentence
from analysis.explain.origin.weeks import DAYS, PART, daily_of, of_weeks, visits_known
from ple_model.data.dataset.batches import Batch
from ple_model.run import load_run
from tests.shared import SMALL_RUN

RUN = load_run(SMALL_RUN)
SPAN = re.compile(r"(\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d) \(([^)]*)\)")


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.cached(RUN)


@pytest.fixture(scope="module")
def rows() -> Batch:
    return RUN.sample().load("test", limit=40, seed=3)


def days(explainer: Explainer, rows: Batch, i: int) -> Days:
    scale = scale_of(explainer)
    assert scale is not None
    assert rows.inputs.txn_seq is not None
    assert rows.inputs.session_seq is not None
    found = days_of(scale, rows.inputs.txn_seq[i], rows.inputs.session_seq[i], rows.cutoff[i])
    assert found is not None
    return found


def told(explainer: Explainer, rows: Batch, i: int, task: str) -> tuple[float, OriginSentence | None]:
    """What the model makes of one customer's summary, and what is said of it."""
    inputs = single(rows.inputs.rows(slice(i, i + 1)))
    path = InputPath.of(inputs, explainer.reference)
    found = explainer.of_inputs(path, Score(explainer.model, task, None, explainer.calibration.get(task)), nodes=16)
    at = path.fields.index("features")
    gradient, start = (x[at][0, PART].double().numpy() for x in (found.gradients, path.starts))
    value = float(found.values[at][0, PART].double().sum())
    weeks = weeks_of(explainer)
    assert weeks is not None
    return value, of_weeks(weeks, days(explainer, rows, i), gradient, start, "USD", value)


def test_the_stored_summary_is_that_of_the_weeks_which_the_stored_days_give(explainer: Explainer, rows: Batch) -> None:
    weeks = weeks_of(explainer)
    assert weeks is not None
    there = rows.inputs.present("features:mamba_temporal").numpy()
    each = [days(explainer, rows, i) for i in range(len(rows))]
    read = weeks.summary(weeks.standardised(np.stack([daily_of(d) for d in each]))).numpy()
    apart = np.abs(read - rows.inputs.features[:, PART].numpy()).max(1)
    whole = there & [d.visits_known(DAYS) for d in each]
    assert whole.sum() > 20
    assert np.median(apart[whole]) < 1e-4
    assert apart[whole].max() < 0.5  # the two oldest days are not stored


def test_the_weeks_carry_the_number_and_what_is_said_of_them_is_so(explainer: Explainer, rows: Batch) -> None:
    said = 0
    for i in range(20):
        if not bool(rows.inputs.present("features:mamba_temporal")[i]) or not days(explainer, rows, i).visits_known(DAYS):
            continue
        value, sentence = told(explainer, rows, i, "ltv")
        if sentence is None:  # no few weeks that stand out carry most of it
            continue
        through = dict(sentence.through)
        assert sum(through.values()) == pytest.approx(value)
        assert abs(through["rest"]) < 0.15 * abs(value)
        own, spans, named = days(explainer, rows, i), SPAN.findall(sentence.en), 0.0
        assert 1 <= len(spans) <= 3
        for first, last, what in spans:
            steps = [s for s in range(180) if date.fromisoformat(first) <= own.date(s) <= date.fromisoformat(last)]
            assert len(steps) % 7 == 0
            assert ("on average a week" in what) == (len(steps) > 7 and "no purchase" not in what)
            weeks = len(steps) // 7
            bought = sum(own.purchases(s) for s in steps) / weeks
            assert bought == pytest.approx(float((re.findall(r"([\d.]+) purchase", what) or [0])[0]), abs=0.051)
            back = own.visit_back()[own.there]
            visits = sum(int((back == 180 - s).sum()) for s in steps) / weeks
            assert visits == pytest.approx(float((re.findall(r"([\d.]+) app or web", what) or [0])[0]), abs=0.051)
            spent = [float(x.replace(",", "")) for x in re.findall(r"\$([\d,.]+) spent", what)]
            assert not spent or spent[0] == pytest.approx(sum(own.spend(s) for s in steps) / weeks, abs=0.01)
            assert f"{first}~{last}" in sentence.ko
            ends = sum(v for k, v in through.items() if k != "rest" and first <= k[:10] and k[-10:] <= last)
            assert ends * value > 0, "a week that pulls the other way"
            named += ends
            said += 1
        share = named / sum(v for v in through.values() if v * value > 0)
        told_share = re.search(r"account for ([\d.]+)% of what", sentence.en)
        assert told_share is not None
        assert share == pytest.approx(float(told_share[1]) / 100, abs=0.0051)
        assert share > 0.495
    assert said > 5


def test_weeks_whose_visits_are_not_all_stored_count_none(explainer: Explainer, rows: Batch) -> None:
    i = next(i for i in range(len(rows)) if not days(explainer, rows, i).visits_known(DAYS))
    known = visits_known(days(explainer, rows, i))
    assert not known[0]
    assert known[-1]
    _, sentence = told(explainer, rows, i, "ltv")
    for first, _, what in SPAN.findall("" if sentence is None else sentence.en):
        age = (date.fromisoformat(rows.cutoff[i]) - date.fromisoformat(first)).days
        assert known[(DAYS - age) // 7] or "visit" not in what


def test_a_run_without_its_encoder_tells_no_weeks(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(SMALL_RUN, folder)
    (folder / "preprocess" / "encoder.safetensors").unlink()
    run = load_run(folder)
    explainer, batch = Explainer.cached(run), run.sample().load("test", limit=1, seed=3)
    path = InputPath.of(single(batch.inputs), explainer.reference)
    found = explainer.of_inputs(path, Score(explainer.model, "ltv", None, None), nodes=4)
    nothing = np.zeros(batch.inputs.width, dtype=bool)
    told = Teller(explainer, run.sample(), batch, path, found, "ltv", None, nothing)("mamba_temporal", 12.0)
    assert told is None
