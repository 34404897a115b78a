"""What a reason's leading fact goes with: counted anew from the stored rows in a few lines, and by hand where the answer is
known."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.beside_rows import beside_rows
from analysis.engine.explainer import ROWS
from analysis.explain.customer import explain
from analysis.explain.links import CASES, ENOUGH, WEEKLY, Links, Stand
from analysis.explain.lookup import Undefined, customers
from analysis.explain.reasons import Fact, Means, Subject, speaking
from analysis.i18n import catalogue, phrase, section
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import FeatureContribution, Link, Reason
from analysis.review.html import block_html
from analysis.review.weights import reasons_block, subjects_block
from ple_model.data.build.artifacts import read_scale
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.columns import EMPTY
from ple_model.outcomes import Moments, write_outcomes
from ple_model.presence import part_key
from ple_model.run import Run, load_run
from ple_model.tasks import TASKS
from tests.shared import SMALL_RUN

RUN = load_run(SMALL_RUN)
FULL_RUN = Path(__file__).parents[3] / "sample_runs" / "full"
ASKED = ("churn", "channel", "engagement", "consumption_cycle", "ltv")


@pytest.fixture(scope="module")
def explained() -> list[Explanation]:
    who, found = iter(customers(RUN, limit=60, seed=1)), []
    for task in ASKED:
        for _ in range(3):
            try:
                found.append(explain(RUN, next(who).customer_id, task, anyway=True))
            except Undefined:
                continue
    return found


@pytest.fixture(scope="module")
def rows() -> Batch:
    return RUN.sample().load(None, limit=ROWS, seed=0)


def told(explained: list[Explanation]) -> list[tuple[Explanation, Reason, Link]]:
    return [(x, r, r.link) for x in explained for r in (*x.reasons, *x.against) if r.link is not None]


def latest(rows: Batch, but: str) -> np.ndarray:
    """[rows] of others than `but`, not learned from, one a customer."""
    kept: dict[str, int] = {}
    for i in np.argsort(rows.cutoff, kind="stable"):
        if rows.split[i] != "train":
            kept[rows.customer_id[i]] = int(i)
    kept.pop(but, None)
    return np.isin(np.arange(len(rows)), list(kept.values()))


def outcomes(x: Explanation, rows: Batch) -> np.ndarray:
    """[rows] what is asked for, NaN where it is not known."""
    y = np.asarray((rows.inputs.targets or {})[x.task], dtype=np.float64)
    if x.score_unit == "value":
        return np.expm1(y) if TASKS[x.task].log_scale else y
    return np.where(y < 0, np.nan, y == (1 if x.target is None else x.target))


def by_weeks(x: Explanation, r: Reason, link: Link, rows: Batch) -> tuple[np.ndarray, np.ndarray]:
    """([rows] who counts, who lies on the customer's side) of the sum that a reason's weeks are parted by, from the dates that
    it tells."""
    scale, txn = read_scale(RUN.preprocess), rows.inputs.txn_seq
    assert txn is not None
    channel = {"spend": 0, "purchases": 1, "deposit_in": 8}[link.column]
    days, sums = np.expm1(txn.double().numpy() * scale.txn)[:, :, channel], np.zeros(len(rows))
    for first, last in re.findall(r"(\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d)", r.en):
        ends = [180 - (date.fromisoformat(x.cutoff) - date.fromisoformat(d)).days for d in (first, last)]
        sums += days[:, max(ends[0], 0) : ends[1] + 1].sum(1)
    there = rows.inputs.present("txn_seq").numpy()
    middle = np.median(sums[there])
    usable = latest(rows, x.customer_id) & np.isfinite(outcomes(x, rows)) & there
    return usable, sums > middle if link.side == "above" else sums < middle


def test_shares_and_means_are_those_of_the_stored_rows(explained: list[Explanation], rows: Batch) -> None:
    sample, seen = RUN.sample(), 0
    values = sample.normalizer().inverse(rows.inputs.features.numpy())
    schema = RUN.context().schema
    kept = beside_rows(sample, EMPTY, rows.customer_id, rows.cutoff)
    empty = np.zeros(values.shape, bool) if kept is None else kept
    for x, r, link in told(explained):
        if link.column in WEEKLY:
            usable, side = by_weeks(x, r, link, rows)
            y = outcomes(x, rows)
            assert (link.n, link.others) == (int((usable & side).sum()), int((usable & ~side).sum())), r.en
            assert link.value == pytest.approx(y[usable & side].mean())
        if link.side not in ("above", "below") or link.column in WEEKLY:
            continue
        i, y = schema.index[link.column], outcomes(x, rows)
        there = rows.inputs.present(part_key(schema.columns[i].part)).numpy()
        usable = latest(rows, x.customer_id) & np.isfinite(y) & there & ~empty[:, i]
        assert link.middle is not None
        step = 1e-5 * max(abs(link.middle), 1e-3)
        side = values[:, i] > link.middle + step if link.side == "above" else values[:, i] < link.middle - step
        assert (link.n, link.others) == (int((usable & side).sum()), int((usable & ~side).sum())), r.en
        assert link.value == pytest.approx(y[usable & side].mean())
        assert link.others_value == pytest.approx(y[usable & ~side].mean())
        if r.above is not None and link.column == r.told[0]:
            assert (link.side == "above") is r.above
        seen += 1
    assert seen >= 20


def test_the_sentence_says_these_numbers_in_both_languages(explained: list[Explanation]) -> None:
    for x, _, link in told(explained):
        for text in (link.en, link.ko):
            numbers = re.findall(r"[\d,]+(?:\.\d+)?%?", text.replace(x.target_name, ""))
            assert f"{link.n:,}" in numbers
            assert f"{link.others:,}" in numbers
            if x.score_unit == "probability":
                shares = sorted(float(n.rstrip("%")) / 100 for n in numbers if n.endswith("%"))
                assert shares == pytest.approx(sorted((link.value, link.others_value)), abs=0.0051)


def test_a_verdict_follows_from_the_interval_and_the_effect(explained: list[Explanation]) -> None:
    seen = set()
    for _, r, link in told(explained):
        seen.add(link.verdict)
        if link.verdict == "few" or link.low is None or link.high is None:
            continue
        clear = link.low > 0 or link.high < 0
        assert clear == (link.verdict != "none")
        if clear:
            assert ((link.value - link.others_value) * r.contribution > 0) == (link.verdict == "same")
        assert link.low <= link.value - link.others_value <= link.high
    assert {"same", "none"} <= seen


def test_most_reasons_of_single_facts_have_a_link_and_the_report_prints_it(explained: list[Explanation]) -> None:
    every = [r for x in explained for r in (*x.reasons, *x.against)]
    assert sum(r.link is not None for r in every if r.matter) >= 0.9 * sum(bool(r.matter) for r in every)
    for x in explained:
        for language in ("en", "ko"):
            block = reasons_block(x, language, section("review", language))
            assert len(block.under) == len(block.rows)
            page, links = block_html(block), [r.linked(language) for r in (*x.reasons, *x.against)]
            assert sorted(filter(None, block.under)) == sorted(filter(None, links))
            assert page.count("<div class=under>") == sum(map(bool, links))
            for row, small in zip(block.rows, block.under, strict=True):
                assert not small or any(
                    r.fact(language) == row[0] and r.linked(language) == small for r in x.reasons + x.against
                )
            if any(links):
                assert catalogue(language)["link.note"] in block.note
                assert all(link in x.text(language) for link in links)


# --- by hand


def judge(here: list[float], there: list[float], contribution: float, *, probability: bool = True) -> tuple[str, float, float]:
    links: Any = Links.__new__(Links)
    links.subject = Subject("churn", "Churn", "", probability, "probability")
    a, b = Moments.of(np.array(here)), Moments.of(np.array(there))
    low, high = links._apart(a, b)
    return links._verdict(contribution, a, b, low, high), low, high


def test_verdicts_by_hand() -> None:
    often, seldom = [1] * 30 + [0] * 30, [1] * 5 + [0] * 55
    assert judge(often, seldom, 0.1)[0] == "same"
    assert judge(often, seldom, -0.1)[0] == "other"
    assert judge(seldom, often, -0.1)[0] == "same"
    assert judge(often, often, 0.1)[0] == "none"
    assert judge([1] * (ENOUGH - 1), [0] * 100, 0.1)[0] == "few"
    assert judge([1] * (CASES - 1) + [0] * 50, [0] * 100, 0.1)[0] == "few"
    assert judge([1] * 50, [1] * 50 + [0] * (CASES - 1), 0.1)[0] == "few"
    assert judge([5.0, 6.0] * 20, [1.0, 2.0] * 20, 3.0, probability=False)[0] == "same"


def test_the_interval_is_newcombes() -> None:
    # Newcombe 1998, table II, column (a): 56/70 against 48/80, method 10
    _, low, high = judge([1] * 56 + [0] * 14, [1] * 48 + [0] * 32, 0.1)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(st.integers(20, 60), st.integers(20, 60), st.data())
def test_sides_that_change_places_change_the_sign_alone(n: int, m: int, data: st.DataObject) -> None:
    a, b = (data.draw(st.integers(0, k)) for k in (n, m))
    one, two = [1.0] * a + [0.0] * (n - a), [1.0] * b + [0.0] * (m - b)
    first, low, high = judge(one, two, 1.0)
    second, other_low, other_high = judge(two, one, -1.0)
    assert first == second
    assert (low, high) == pytest.approx((-other_high, -other_low))


def test_hours_are_near_around_midnight() -> None:
    links: Any = Links.__new__(Links)
    hours = np.array([23.0, 1.5, 12.0, 20.0])
    links._hours = np.stack([np.sin(hours * np.pi / 12), np.cos(hours * np.pi / 12)], 1)
    schema = RUN.context().schema
    own = np.zeros(len(schema.columns))
    name = next(n for n in schema.index if n.startswith("hour_mean_sin_"))
    own[schema.index[name.replace("sin", "cos")]] = 1.0  # midnight
    links.schema, links.peers = schema, SimpleNamespace(said=lambda _: np.ones(4, bool))
    links.teller = SimpleNamespace(columns=SimpleNamespace(own=own))
    stand: Stand = links._hour(name)
    assert (stand.side, stand.alike.tolist()) == ("hour", [True, True, False, False])


def test_who_has_nothing_on_record_is_beside_those_who_have_something_and_told_only_where_these_differ() -> None:
    links: Any = Links.__new__(Links)
    links.schema = RUN.context().schema
    name = "raw_investment_365d"
    part = links.schema.column(name).part
    there, told = np.array([True, True, True, False]), np.array([True, False, True, False])
    links.peers = SimpleNamespace(said=lambda _: told, parts={part: there})
    links.teller = SimpleNamespace(cell=lambda _: "nothing", columns=None)
    stand: Stand = links._number(links.schema.index[name])
    assert (stand.side, stand.known.tolist()) == ("nothing", there.tolist())
    assert stand.alike[there].tolist() == [False, True, False]
    verdicts = ("same", "none", "few", "other")
    one = [Link(name, "nothing", None, 30, 30, 0.1, 0.1, 0.0, 0.0, v, False, "", "") for v in verdicts]
    assert [x.unseen or x.contradicts for x in one] == [False, True, True, True]


def test_no_link_where_no_outcome_is_known(explained: list[Explanation]) -> None:
    x = replace(explained[0], reasons=tuple(replace(r, link=None) for r in explained[0].reasons), against=())
    assert x.links_said("en") == ""
    assert "<div class=under>" not in block_html(reasons_block(x, "en", section("review", "en")))


# --- of all held-out customers


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Explanation]]:
    """The bundled run of the whole model, whose sums are those of its own stored rows here: both ways must then agree."""
    folder = tmp_path_factory.mktemp("counted") / "full"
    shutil.copytree(FULL_RUN, folder, ignore=shutil.ignore_patterns("analysis", "audit"))
    run = load_run(folder)
    write_outcomes(folder, run.sample(), run.config)
    who, found = iter(customers(run, limit=40, seed=3)), []
    for task in ("churn", "channel", "nba"):
        for _ in range(3):
            try:
                found.append(explain(run, next(who).customer_id, task, anyway=True))
            except Undefined:
                continue
    return run, found


def test_sums_of_all_say_what_the_rows_say_but_for_the_customers_own(counted: tuple[Run, list[Explanation]]) -> None:
    run, found = counted
    rows, seen = run.sample().load(None, limit=10**9, seed=0), 0
    schema, features = run.context().schema, rows.inputs.features.numpy()
    kept = beside_rows(run.sample(), EMPTY, rows.customer_id, rows.cutoff)
    assert kept is not None
    for x in found:
        for r in (*x.reasons, *x.against, *x.contradicted):
            if r.link is not None and r.link.column in WEEKLY:
                continue  # of the sample's rows alone, held above
            if r.link is None or r.link.side not in ("above", "below"):
                continue
            assert r.link.everyone
            i, y = schema.index[r.link.column], outcomes(x, rows)
            there = rows.inputs.present(part_key(schema.columns[i].part)).numpy() & ~kept[:, i]
            mine = latest(rows, but="")
            usable, values = mine & np.isfinite(y) & there, features[:, i]
            middle = np.sort(values[mine & there])[(int((mine & there).sum()) - 1) // 2]
            side = values > middle if r.link.side == "above" else values < middle
            assert (r.link.n, r.link.others) == (int((usable & side).sum()), int((usable & ~side).sum()))
            assert r.link.value == pytest.approx(y[usable & side].mean())
            seen += 1
    assert seen >= 15


def test_what_customers_contradict_is_no_reason_to_tell(counted: tuple[Run, list[Explanation]]) -> None:
    _, found = counted
    assert not any(
        r.link is not None and (r.link.contradicts or r.link.unseen) for x in found for r in (*x.reasons, *x.against)
    )
    left = [(x, r) for x in found for r in x.contradicted]
    assert left
    for x, r in left:
        assert r.link is not None
        assert r.link.contradicts
        told = [t for t in (*x.reasons, *x.against) if t.contribution * r.contribution > 0]
        assert all(abs(r.contribution) >= abs(told[-1].contribution) for _ in told)
    for x in {id(x): x for x, _ in left}.values():
        for language in ("en", "ko"):
            block = reasons_block(x, language, section("review", language))
            row = next(
                c for c in block.rows if c[0].startswith(section("review", language)["contradicted_row"].partition("{")[0])
            )
            assert all(r.about(language) in row[0] for r in x.contradicted)
            marked = phrase("review.of_it_left", language, subject="", value="|").strip("()").split("|")[0]
            assert any(marked in c[0] for c in subjects_block(x, language, section("review", language)).rows)
            assert x.left_said("contradicted", language) in x.text(language)


def test_a_fact_that_customers_went_by_speaks_before_one_as_strong_that_they_went_against() -> None:
    def fact(name: str, value: float) -> Fact:
        return Fact(FeatureContribution(name, "rfm", "", "", 1.0, 0.0, value, name, name), (name,), value)

    facts = [fact("a", 1.0), fact("b", 0.9), fact("c", 0.6), fact("d", 0.4)]
    known = {"a": False, "c": True, "d": True}
    order = speaking(facts, Means(agrees=lambda name, effect: known.get(name)))
    assert [f.leader.name for f in order] == ["c", "b", "a", "d"]
    assert [f.leader.name for f in speaking(facts, Means())] == ["a", "b", "c", "d"]
