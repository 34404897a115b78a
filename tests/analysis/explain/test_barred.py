"""What may not be a reason is none: it is taken out of everything that says why, and everything still adds up."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from analysis.commands_explain import _lists
from analysis.engine.explainer import Explainer
from analysis.explain.assemble import Assembly
from analysis.explain.barred import GROUP, barred_inputs
from analysis.explain.customer import explain
from analysis.explain.lookup import customers, find
from analysis.explain.origin.teller import Teller
from analysis.results.explanation import Explanation
from ple_model.barred_words import BARRED_KINDS
from ple_model.config import read_explanations
from ple_model.context import BALL_DIMS
from ple_model.data.derived.segments import COLD_WIDTH, REGION_BUCKETS, STATIC_BUCKETS
from ple_model.errors import UserError
from ple_model.own_schema import load_own, own_schema, save_own
from ple_model.run import Run
from ple_model.schema import FeatureColumn, load_schema


def own_column(i: int, name: str, group: str = "own") -> FeatureColumn:
    about = {"sentence_en": f"{name}.", "sentence_ko": f"{name}.", "unit": "count", "empty": "absent"}
    return FeatureColumn(i, name=name, group=group, part=name, scale="linear", how=f"column: {name}", **about)


@pytest.fixture(scope="module")
def customer(tiny_run: Run) -> str:
    return customers(tiny_run, limit=1)[0].customer_id


@pytest.fixture(scope="module")
def free(tiny_run: Run, customer: str) -> Explanation:
    return explain(tiny_run, customer, "ltv", anyway=True, barred=())


def test_the_strongest_reasons_disappear_once_they_are_barred_and_all_adds_up(
    tiny_run: Run, customer: str, free: Explanation
) -> None:
    names = sorted({s for r in (*free.reasons, *free.against) for s in r.sources if s in load_schema().index})
    assert names, "the tiny run gives at least one reason by a column"
    held = explain(tiny_run, customer, "ltv", anyway=True, barred=(*names, "rfm"))
    told = {s for r in (*held.reasons, *held.against) for s in r.sources}
    rfm = {c.name for c in load_schema().columns if c.part == "rfm"}
    assert not (set(names) | rfm) & told
    assert not (set(names) | rfm) & {f.name for f in held.features}
    assert not (set(names) | rfm) & {c.name for c in (held.counterfactual.changes if held.counterfactual else ())}
    assert held.barred is not None
    assert held.told + held.barred.value == pytest.approx(free.told, abs=1e-6 * free.size)
    assert sum(g.value for g in held.groups) == pytest.approx(sum(g.value for g in free.groups), abs=1e-6 * free.size)
    assert next(g.value for g in held.groups if g.key == GROUP) == held.barred.value
    assert 0 < held.barred.share < 1
    assert held.prediction == free.prediction
    assert held.faithfulness.checks[0] == free.faithfulness.checks[0]  # the test of itself is of the whole explanation


def test_by_default_region_and_hashed_attributes_are_barred(tiny_run: Run, customer: str) -> None:
    found = explain(tiny_run, customer, "ltv", anyway=True)
    assert found.audit["barred"] == ["age", "sex", "region"]
    assert found.barred is not None
    assert "region" in found.barred.named("en")
    assert "지역" in found.barred.named("ko")
    assert any(word in found.text() for word in ("had next to no direct effect", "changed this result by", "about alike"))


def test_only_the_regions_part_of_an_input_is_taken_out() -> None:
    held = barred_inputs(load_schema(), ("region",))
    value = torch.arange(40.0)[None] + 1
    kept, barred = held.split(("coldstart_features",), (value,), ("coldstart_features",), size=100.0)
    assert barred is not None
    assert kept[0][0, :REGION_BUCKETS].abs().sum() == 0
    assert torch.equal(kept[0][0, REGION_BUCKETS:], value[0, REGION_BUCKETS:])
    assert barred.value == sum(range(1, REGION_BUCKETS + 1))
    assert barred.share == pytest.approx(barred.value / (barred.value + 100))


def test_what_pulls_up_and_what_pulls_down_do_not_cancel() -> None:
    held = barred_inputs(load_schema(), ("region", "sex"))
    value = torch.zeros(1, 40)
    value[0, 0], value[0, 39] = 3.0, -3.0
    _, barred = held.split(("coldstart_features",), (value,), ("coldstart_features",), size=6.0)
    assert barred is not None
    assert (barred.value, barred.size, barred.share) == (0.0, 6.0, 0.5)


def test_a_barred_category_of_ones_own_is_one_fact() -> None:
    columns = tuple(replace(own_column(i, f"city_{i}"), how="column: city") for i in range(3))
    held = barred_inputs(own_schema(columns), ("city",))
    _, barred = held.split(("features",), (torch.tensor([[2.0, -1.5, 0.0]]),), ("features",), size=0.5)
    assert barred is not None
    assert (barred.value, barred.size, barred.share) == (0.5, 0.5, 0.5)


def test_a_barred_sequence_says_nothing_through_another_input(tiny_run: Run, customer: str) -> None:
    data, row = find(tiny_run, customer, None, None)
    made = Assembly(Explainer.cached(tiny_run), data, data.take([row]), "ltv", None, 0, ("txn_seq",))
    seen: list[Teller] = []

    def noted(*args: object) -> Teller:
        seen.append(Teller(*args))  # type: ignore[arg-type]
        return seen[-1]

    with patch("analysis.explain.assemble.Teller", noted):
        made.explanation()
    assert [t.days for t in seen] == [None]


def test_columns_of_ones_own_are_found_by_name_by_mark_and_by_group(tmp_path: Path) -> None:
    names = ("Age at interview", "sex", "ZIP code", "나이", "average_wage", "sexton", "town_house", "income")
    columns = tuple(own_column(i, n, "private" if n == "income" else "own") for i, n in enumerate(names))
    schema = own_schema(columns, barred=frozenset({"sexton"}))
    save_own(schema, tmp_path)
    read = load_own(tmp_path)
    assert read is not None
    assert read.barred == {"sexton"}
    found = barred_inputs(read, ("age", "sex", "region"))
    assert [names[i] for i in np.flatnonzero(found.columns)] == [
        "Age at interview",
        "sex",
        "ZIP code",
        "나이",
        "sexton",
        "town_house",
    ]
    assert [names[i] for i in np.flatnonzero(barred_inputs(read, ("private",)).columns)] == ["sexton", "income"]
    with pytest.raises(ValueError, match="no column is named 'none', which 'barred' names"):
        own_schema(columns, barred=frozenset({"none"}))


CALLED = {
    "age": "age customerAge birthyear DateOfBirth account_holder_age age_30_39 age_of_account_holder 만나이 고객연령 생년월일",
    "sex": "is_female male isMale gender_M 성 고객_성별 여성여부",
    "region": "customerCity home_state state address ZIPCode sido 시도 시도명 시군구 거주_시도 city_seoul region_avg_income",
}
CALLED_ALIKE = {
    "age": "account_age_days card_age_months loan_age loanAge vehicle_age age_of_account average_wage 나이키_지출 차량연령",
    "sex": "female_clothing_spend sexton manager human 성장률 성공 성과",
    "region": "city_card_spend account_state loan_state email_address ip_address statement 로그인_시도 시도횟수",
}


@pytest.mark.parametrize("kind", BARRED_KINDS)
def test_a_kind_is_known_by_what_its_columns_are_called_and_not_by_what_is_called_alike(kind: str) -> None:
    assert [n for n in CALLED[kind].split() if not BARRED_KINDS[kind].called(n)] == []
    assert [n for n in CALLED_ALIKE[kind].split() if BARRED_KINDS[kind].called(n)] == []


def test_a_name_that_is_none_is_refused_with_the_nearest(tiny_run: Run, customer: str) -> None:
    with pytest.raises(UserError, match=r"explanations\.barred: 'regoin' is no column, .* did you mean 'region'"):
        explain(tiny_run, customer, "ltv", barred=("regoin",))


def test_the_file_of_what_is_barred(tmp_path: Path) -> None:
    path = tmp_path / "why.yaml"
    path.write_text("explanations: {barred: [age, rfm]}\n", encoding="utf-8")
    assert read_explanations(path).barred == ["age", "rfm"]
    path.write_text("explanation: {barred: [age]}\n", encoding="utf-8")
    with pytest.raises(UserError, match="did you mean 'explanations'"):
        read_explanations(path)
    path.write_text("explanations: {barred: age}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"explanations\.barred: age is not a list|explanations\.barred: 'age' is not a list"):
        read_explanations(path)
    assert set(BARRED_KINDS) == {"age", "sex", "region"}


@pytest.mark.parametrize(
    ("said", "lists"),
    [
        ("{sensitive: [health]}", (None, ["health"])),
        ("{barred: [income]}", (["income"], None)),
        ("{barred: [], sensitive: []}", ([], [])),
        ("{}", (None, None)),
    ],
)
def test_a_list_that_a_file_does_not_name_stays_the_runs(
    tmp_path: Path, said: str, lists: tuple[list[str] | None, list[str] | None]
) -> None:
    path = tmp_path / "why.yaml"
    path.write_text(f"explanations: {said}\n", encoding="utf-8")
    assert _lists(argparse.Namespace(config=path)) == lists
    path.write_text("explanations: {held: [bank_decided]}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"explanations\.held is read from the run"):
        _lists(argparse.Namespace(config=path))


def test_where_the_packages_inputs_hold_them_is_where_their_makers_put_them() -> None:
    ball = slice(BALL_DIMS["mcc"] + BALL_DIMS["product"], sum(BALL_DIMS.values()))
    assert tuple(BALL_DIMS)[-1] == "region"
    region, sex = BARRED_KINDS["region"].inputs, BARRED_KINDS["sex"].inputs
    assert region["hierarchy_features"] == region["hyperbolic_features"] == ball
    assert region["coldstart_features"] == slice(0, REGION_BUCKETS)
    assert sex["coldstart_features"] == slice(COLD_WIDTH - STATIC_BUCKETS, COLD_WIDTH)
