"""Reasons counted over customers: by hand on made-up explanations, who has none, what is drawn."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.explain import carried as module
from analysis.explain.carried import (
    CarriedOrder,
    cases,
    counted,
    drawn,
    reason_key,
    reason_titles,
    whose_choice,
    without_reasons,
)
from analysis.explain.matters import MATTERS
from analysis.results.carried import CarriedReasons
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Reason
from ple_model.own_schema import own_schema
from ple_model.schema import FeatureColumn, load_schema

INFLOW, VISITS = "deposit_inflow_mean_90d", "session_count_90d"
HEALTH = ("health", "건강")


def reason(matter: str, effect: float, told: tuple[str, ...] = (), above: bool | None = None, **more: Any) -> Reason:
    fact = f"{matter} fact"
    sources = more.pop("sources", told or (matter,))
    return Reason(fact, fact, sources, effect, facts=(fact, fact), matter=matter, told=told, above=above, **more)


def explanation(customer: str, *reasons: Reason, prediction: float = 0.5, **more: Any) -> Explanation:
    """What is read of one, and nothing else."""
    about = {"customer_id": customer, "reasons": reasons, "prediction": prediction, "withheld": False, "person_because": ""}
    return SimpleNamespace(**about | more)  # type: ignore[return-value]


@pytest.fixture
def explained() -> list[Explanation]:
    return [
        explanation("a", reason("pay_in", 0.3, (INFLOW,), above=True), reason("hours", 0.1)),
        explanation("b", reason("claims", 0.4, sensitive=True, kind=HEALTH), reason("pay_in", -0.1, (INFLOW,), above=False)),
        explanation("c", reason("pay_in", 0.2, (INFLOW,), above=True), reason("", 0.05, sources=("gmm",))),
        explanation("d", reason("claims", 0.1), reason("", 0.02, sources=("cluster_probs",))),
    ]


def test_reasons_are_counted_as_by_hand(explained: list[Explanation]) -> None:
    rows = {r.key: r for r in counted(explained, load_schema())}
    assert list(rows) == ["pay_in", "claims", "cluster", "hours"]  # by customers, then by strength
    money = rows["pay_in"]
    assert (money.count, money.effect, money.examples) == (3, 0.2, ("a", "c", "b"))
    assert (money.low, money.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)  # Wilson, 3 of 4
    assert money.usual is not None
    assert (money.usual.above, money.usual.count) == (True, 2)
    assert "above the median (2 of 3)" in money.way("en")
    assert "deposit" in money.way("en")
    assert rows["claims"].effect == pytest.approx(0.25)
    assert rows["hours"].usual is None
    assert rows["cluster"].count == 2  # a family of inputs is one, whichever member spoke
    assert rows["cluster"].titles[0] == "Customer cluster"


def test_a_reason_that_may_be_sensitive_keeps_its_mark(explained: list[Explanation]) -> None:
    rows = {r.key: r for r in counted(explained, load_schema())}
    assert rows["claims"].said("en") == "Insurance claims [may be sensitive: health]"
    assert "건강" in rows["claims"].said("ko")
    assert not rows["pay_in"].sensitive


def test_who_is_shown_no_reasons_counts_by_ground_and_nowhere_else(explained: list[Explanation]) -> None:
    failed = explanation("e", reason("secret", 9.0), withheld=True)
    nameless = explanation("f")
    assert [without_reasons(x) for x in (*explained, failed, nameless)] == [""] * 4 + ["check", "reasons"]


def test_an_example_is_a_customer_whose_first_reason_it_is(explained: list[Explanation]) -> None:
    schema = load_schema()
    found = cases(explained, counted(explained, schema), schema)
    assert [(c.customer_id, c.effect) for c in found] == [("a", 0.3), ("b", 0.4)]  # nobody's first reason is another
    assert found[1].facts[0] == "claims fact [may be sensitive: health]"


def test_what_is_told_of_half_or_fewer_is_not_usual() -> None:
    ways = [reason("pay_in", 0.1, (INFLOW,), above=a) for a in (True, True, False, None)]
    one, half = (counted([explanation(str(i), r) for i, r in enumerate(of)], load_schema())[0] for of in (ways[:3], ways))
    assert one.usual is not None
    assert half.usual is None
    assert half.way("en") == "–"


def test_columns_of_ones_own_table_are_counted_by_the_column() -> None:
    def column(i: int, name: str, unit: str, sentence: str, how: str) -> FeatureColumn:
        return FeatureColumn(i, name, "own", name, unit, "linear", sentence, sentence, how, "absent")

    schema = own_schema(
        (
            column(0, "city_is_seoul", "flag", "City: Seoul.", "column: city"),
            column(1, "city_is_busan", "flag", "City: Busan.", "column: city"),
            column(2, "visits", "count", "Visits to the branch.", "column: visits"),
        ),
        frozenset(),
        frozenset(),
    )  # fmt: skip
    seoul, busan, visits = (reason("", 0.1, sources=(c.name,)) for c in schema.columns)
    assert reason_key(seoul, schema) == reason_key(busan, schema) != reason_key(visits, schema)
    assert reason_titles(reason_key(busan, schema), busan, schema) == ("City", "City")
    assert reason_titles(reason_key(visits, schema), visits, schema)[0] == "Visits to the branch"


def test_every_matter_has_a_title_in_both_languages() -> None:
    schema = load_schema()
    for key in (*MATTERS, "category:travel"):
        en, ko = reason_titles(key, reason(key, 0.1), schema)
        assert en != ko
        assert key not in (en, ko)


@given(st.integers(0, 300), st.integers(1, 120), st.integers(1, 120))
def test_a_smaller_draw_is_part_of_a_larger_and_nobody_is_drawn_twice(customers: int, n: int, m: int) -> None:
    names = [f"C{i}" for i in range(customers)]
    few, many = sorted((drawn(names, n), drawn(names, m)), key=len)
    assert many[: len(few)] == few
    assert len(set(many)) == len(many) == min(customers, max(n, m))


class Rows:
    """A stored analysis of three customers, one of them at two dates."""

    def rows(self, columns: Any, filters: Any, limit: int) -> dict[str, np.ndarray]:
        every = {
            "row": np.arange(4), "customer_id": np.array(["b", "a", "a", "c"], dtype=object),
            "p:nba": np.array([0.9, 0.2, 0.8, np.nan]), "c:nba": np.array([1.0, 1.0, 2.0, 1.0]),
        }  # fmt: skip
        return {c: every[c] for c in columns}

    def latest(self) -> np.ndarray:
        return np.array([0, 2, 3])


def test_a_customer_counts_by_the_latest_row_alone() -> None:
    store: Any = Rows()
    assert whose_choice(store, CarriedOrder("nba", 1)) == ["b"]  # a chose it before, of c nothing is known
    assert whose_choice(store, CarriedOrder("nba", 2)) == ["a"]
    assert whose_choice(store, CarriedOrder("nba", None)) == ["a", "b"]  # above the mean of the rows, 0.63


def made(explained: list[Explanation], **more: Any) -> CarriedReasons:
    schema = load_schema()
    reasons = counted(explained, schema)
    about: dict[str, Any] = {
        "run": "r", "task": "nba", "title": "next best action", "target": 3, "target_name": "deposit",
        "score_unit": "probability", "unit": "", "customers": 9, "drawn": 6, "seed": 0, "told": 4,
        "without": {"check": 2, "reasons": 0, "outside": 0, "broken": 0}, "person": {"uncertain": 1, "dormant": 0},
        "reasons": reasons, "cases": cases(explained, reasons, schema), "skill": None, "unsaid": 0.123,
    }  # fmt: skip
    return CarriedReasons(**about | more)


def test_it_travels_as_json_and_is_said_in_both_languages(explained: list[Explanation]) -> None:
    found = made(explained)
    assert CarriedReasons.from_dict(found.to_dict()) == found
    text = found.text("en")
    for part in (
        "6 of 9",
        "failed a check of itself (2)",
        "too uncertain (1)",
        "+20.0 points",
        "strongest for a, c, b",
        "12% cannot be put into words",
    ):
        assert part in text
    assert "9명 중 6명" in found.text("ko")
    masked = found.named(lambda c: f"<{c}>")
    assert masked.reasons[0].examples == ("<a>", "<c>", "<b>")
    assert masked.cases[0].customer_id == "<a>"


def test_a_task_without_skill_is_given_no_counts(explained: list[Explanation], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "explain_row", lambda *_: pytest.fail("nothing is worked out"))
    skill: Any = SimpleNamespace(has_skill=False)
    found = replace(made([], told=0), skill=skill)
    assert found.unskilled
    assert "would mean nothing" in found.text("en")
    assert "points" not in found.text("en")
