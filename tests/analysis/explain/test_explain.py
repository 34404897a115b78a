"""`explain` on a trained run: sentences with units and names, both languages, the report, the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from analysis import diagnose
from analysis.explain.customer import explain
from analysis.explain.faithful import judge
from analysis.explain.lookup import customers, default_task
from analysis.explain.reasons import Subject, of_feature
from analysis.explain.report import to_html
from analysis.explain.standing import _measured, standing
from analysis.figures import explain as figures
from analysis.i18n import section
from analysis.particles import particle
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import FeatureContribution, Standing, Unsaid
from analysis.stats.skill import judged_skill
from analysis.wording import quantity, statement
from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.run import Run, load_run
from ple_model.schema import PART_SLICES, load_schema


@pytest.fixture(scope="module")
def customer(tiny_run: Run) -> str:
    return customers(tiny_run, limit=1)[0].customer_id


@pytest.fixture(scope="module")
def found(tiny_run: Run, customer: str) -> Explanation:
    return replace(explain(tiny_run, customer, "ltv"), skill=None)  # whether so small a model predicts it is no matter here


def test_the_default_task_is_the_next_best_action_with_its_most_probable_offer(tiny_run: Run, customer: str) -> None:
    x = explain(tiny_run, customer)
    assert x.task == "nba"
    assert x.offers[0].index == x.target
    assert x.offers[0].probability == pytest.approx(x.prediction, abs=1e-5)
    assert [o.probability for o in x.offers] == sorted((o.probability for o in x.offers), reverse=True)


def test_a_task_without_labels_in_training_is_not_explained_and_not_among_the_predictions(
    tiny_run: Run, customer: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    path = folder / "preprocess" / "context.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    del plain["constant_loss"]["nba"], plain["constant_loss"]["cvr"]
    path.write_text(json.dumps(plain), encoding="utf-8")
    run = load_run(folder)
    with pytest.raises(UserError, match="task 'nba' had no label in the training of run"):
        explain(run, customer, "nba")
    x = explain(run, customer, "ltv")
    assert not {"nba", "cvr"} & {p.task for p in x.predictions}
    assert next(s for s in x.transfer if s.source == "cvr").source_text == "no label in training"
    assert default_task(run) == "ctr"
    assert default_task(tiny_run) == "nba"


def test_parts_add_up_to_the_difference_at_every_level(found: Explanation) -> None:
    assert sum(g.value for g in found.groups) == pytest.approx(found.difference, rel=0.01)
    total = found.prediction - found.experts_typical
    assert sum(c.value for c in found.experts) == pytest.approx(total, rel=0.01)
    assert found.concepts[-1].key == "unexplained"
    assert sum(g.share for g in found.groups) == pytest.approx(1)


def test_every_task_is_predicted_and_the_explained_one_agrees(tiny_run: Run, found: Explanation) -> None:
    assert {p.task for p in found.predictions} == set(tiny_run.config.tasks)
    own = next(p for p in found.predictions if p.task == "ltv")
    assert own.value == pytest.approx(found.prediction, rel=1e-4)
    assert own.unit == "currency"
    assert own.uncertainty is not None


def test_a_binary_prediction_is_the_calibrated_one(tiny_run: Run, customer: str) -> None:
    import torch

    x = explain(tiny_run, customer, "churn")
    from analysis.explain.lookup import find

    data, row = find(tiny_run, customer, None, None)
    with torch.no_grad():
        raw = tiny_run.model()(data.take([row]).inputs).predictions["churn"]
    assert x.prediction == pytest.approx(float(tiny_run.calibration["churn"](raw.numpy())[0]), abs=1e-5)


def test_transfer_names_what_entered(found: Explanation) -> None:
    assert [s.edge for s in found.transfer] == ["cvr:ltv", "ctr:cvr"]


def test_similar_customers_are_others_nearest_first(found: Explanation, customer: str) -> None:
    distances = [s.distance for s in found.similar]
    assert distances == sorted(distances)
    assert customer not in {s.customer_id for s in found.similar}


def test_reasons_carry_units_names_and_the_size_of_the_effect() -> None:
    column = load_schema().column("recency_days")
    f = FeatureContribution(column.name, column.part, column.group, column.unit, 12.0, 34.0, 0.032, column.sentence_en,
                            column.sentence_ko)  # fmt: skip
    reason = of_feature(f, Subject("churn", "Churn", "", True, ""))
    value, effect = "12 days (all customers: 34 days)", "this raises the probability of churn by 3.2 points"
    assert reason.en == f"Days since the last purchase: {value}; {effect}."
    assert reason.fact("en") == f"Days since the last purchase: {value}"
    assert reason.fact("ko") == "마지막 구매 후 지난 일수: 12일(전체 고객 34일)"
    assert "12일" in reason.ko
    assert "34일" in reason.ko
    assert "이탈 확률을 3.2%p 높입니다" in reason.ko
    assert reason.sources == ("recency_days",)


def test_a_reason_stands_beside_similar_customers_and_says_once_who_they_are(found: Explanation) -> None:
    column = load_schema().column("recency_days")
    f = FeatureContribution(column.name, column.part, column.group, column.unit, 12.0, 34.0, 0.032, column.sentence_en,
                            column.sentence_ko)  # fmt: skip
    reason = of_feature(f, Subject("churn", "Churn", "", True, ""), lambda name: 20.0)
    said = "Days since the last purchase: 12 days (all customers: 34 days; similar customers: 20 days); this"
    assert reason.en.startswith(said)
    assert "12일(전체 고객 34일 / 유사 고객 20일). " in reason.ko
    churn, among = Subject("churn", "Churn", "", True, ""), dict.fromkeys
    for middle in (5.0, 12.0):  # for orientation, wherever it lies: what the effect is counted from stands first
        other = of_feature(f, churn, among([column.name], middle).get)
        assert f"(all customers: 34 days; similar customers: {middle:.0f} days)" in other.en
    assert "12 days; this" in of_feature(replace(f, typical=12.0), churn).en
    assert "12 days; this" in of_feature(replace(f, typical=12.0), churn, among([column.name], 12.0).get).en
    assert "(all customers: 12 days; s" in of_feature(replace(f, typical=12.0), churn, among([column.name], 9.0).get).en
    both = ("Similar customers: 20.", "유사 고객: 20명.")
    x = replace(
        found, reasons=(reason,), against=(replace(reason, en="Against."),), compared=both, anyway=True, barred=None,
        unsaid=Unsaid(), contradicted=(), unseen=(),
    )  # fmt: skip
    whose = [f"{section('origin', x)['median_similar']} {said}" for said, x in zip(both, ("en", "ko"), strict=True)]
    assert "no effect is counted from it" in whose[0]
    alone = replace(x, reasons=(of_feature(f, churn),), against=())
    assert alone.similar_said("en") == section("origin", "en")["median"]  # nobody similar is spoken of
    assert alone.similar_said("ko") == section("origin", "ko")["median"]
    assert x.similar_said("en") == whose[0]
    assert x.text().splitlines()[-2:] == ["- Against.", whose[0]]
    assert x.text("ko").endswith(whose[1])
    assert replace(x, reasons=(), compared=both).similar_said("en") == ""


def test_a_reason_for_a_number_says_what_it_does_in_its_unit() -> None:
    column = load_schema().column("recency_days")
    f = FeatureContribution(column.name, column.part, column.group, column.unit, 12.0, 34.0, -12.6, column.sentence_en,
                            column.sentence_ko)  # fmt: skip
    assert of_feature(f, Subject("ltv", "Lifetime value", "", False, "currency")).en.endswith("lowers the prediction by 12.6.")
    assert of_feature(f, Subject("ltv", "", "", False, "KRW")).ko.endswith("예측값을 ₩13 낮춥니다.")
    days = of_feature(f, Subject("engagement", "Engagement", "", False, "active days"))
    assert days.ko.endswith("예상 활동일수를 12.6일 줄입니다.")


def test_reasons_of_a_run_name_columns_or_fields_and_keep_the_sign(found: Explanation) -> None:
    known = set(load_schema().index) | set(section("part", "en")) | set(section("field", "en"))
    assert found.reasons
    sign = 1 if found.difference >= 0 else -1
    assert all(set(r.sources) <= known and r.contribution * sign > 0 for r in found.reasons)
    assert all(r.contribution * sign < 0 for r in found.against)
    assert len({r.en for r in found.reasons}) == len(found.reasons) <= 4
    assert len(found.against) <= 2
    named = [n for r in (*found.reasons, *found.against) for n in r.sources]
    assert len(set(named)) == len(named)


def test_feature_values_are_in_real_units(tiny_run: Run, found: Explanation, customer: str) -> None:
    from analysis.explain.lookup import find

    data, row = find(tiny_run, customer, None, None)
    real = data.normalizer().inverse(data.take([row]).inputs.features.numpy())[0]
    first = found.features[0]
    assert first.value == pytest.approx(real[load_schema().index[first.name]])


def test_every_part_has_a_title_in_both_languages() -> None:
    assert set(section("part", "en")) == set(PART_SLICES)


def test_quantities_are_written_with_their_unit() -> None:
    assert quantity(0.345, "share") == "34%"
    assert quantity(1234.4, "currency") == quantity(1234.4, "currency", "ko") == "1,234.4"
    assert (quantity(1234.4, "USD"), quantity(1234.4, "KRW", "ko")) == ("$1,234.40", "₩1,234")
    assert quantity(2.0, "log currency") == "2 (log of the amount)"
    assert [quantity(v, "days", signed=True) for v in (2, -2, 1e-17)] == ["+2 days", "-2 days", "0 days"]
    assert quantity(3.0, "count", "ko") == "3건"
    assert quantity(1, "flag") == "yes"
    assert quantity(float("nan"), "days") == "unknown days"


def test_korean_particles_follow_the_final_consonant() -> None:
    assert particle("고객", "이", "가") == "이"
    assert particle("세부", "이", "가") == "가"
    assert statement("마지막 구매 후 지난 일수입니다.", "ko") == "마지막 구매 후 지난 일수"


def test_an_unknown_customer_is_one_sentence_with_the_nearest_id(tiny_run: Run, customer: str) -> None:
    with pytest.raises(UserError, match=rf"no customer '{customer}x'.*did you mean"):
        explain(tiny_run, customer + "x")


def test_an_unknown_task_class_or_cutoff_is_named(tiny_run: Run, customer: str) -> None:
    with pytest.raises(UserError, match="did you mean 'churn'"):
        explain(tiny_run, customer, "chrun")
    with pytest.raises(UserError, match="no class 99"):
        explain(tiny_run, customer, "nba", target=99)
    with pytest.raises(UserError, match="no row at cutoff '1999-01-01'"):
        explain(tiny_run, customer, cutoff="1999-01-01")


def test_the_report_is_one_page_without_scripts_in_both_languages(found: Explanation) -> None:
    english, korean = to_html(found), to_html(found, "ko")
    for page in (english, korean):
        assert "<script" not in page
        assert "http:" not in page
        assert "https:" not in page
        assert found.customer_id in page
        assert found.audit["weights_sha256"] in page
        assert len(page.encode()) < 200_000
    assert "이 고객에게 왜 이 결과인가" in korean
    assert "Why this, for this customer" in english


def test_a_withheld_explanation_shows_no_reasons(found: Explanation) -> None:
    from analysis.explain.faithful import judge
    from analysis.results.explanation_parts import Reason

    secret = Reason("SECRET-REASON", "SECRET-REASON", ("x",), 1.0)
    bad = replace(found, reasons=(secret,), against=(), faithfulness=judge(0.5, None, None, enough=True))
    assert bad.withheld
    assert "SECRET-REASON" not in to_html(bad)
    assert "SECRET-REASON" not in str(bad)
    assert "SECRET-REASON" in to_html(replace(bad, faithfulness=judge(0.0, None, None, enough=True)))


def test_the_sides_of_a_number_say_what_they_do_to_it(found: Explanation) -> None:
    trusted = replace(found, faithfulness=judge(0.0, None, None, enough=True))
    lower = replace(trusted, target=None, prediction=0.1, typical=0.5)
    higher = replace(lower, prediction=0.9)
    assert lower.sides == ("lowers", "raises")
    assert higher.sides == ("raises", "lowers")
    assert replace(lower, target=2).sides == ("for", "against")
    text = to_html(replace(lower, reasons=found.reasons or found.against))
    assert "What lowers it" in text
    assert "What speaks for it" not in text


def test_a_customer_who_did_nothing_for_a_year_is_said_to_be_one(found: Explanation) -> None:
    said = "no activity in the year before the cut-off"
    assert said in str(replace(found, segment="dormant"))
    assert said not in str(replace(found, segment="warm_start"))


def test_the_command_prints_json_and_writes_the_report(
    tiny_run: Run, customer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "why.html"
    code = main(["explain", str(tiny_run.path), "--customer", customer, "--task", "churn", "--json", "--html", str(page)])
    printed = json.loads(capsys.readouterr().out)
    assert printed["task"] == "churn"
    assert printed["customer_id"] == customer
    assert code == (1 if printed["faithfulness"]["withheld"] else 0)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["explain", str(tiny_run.path), "--customer", "nobody"]) == 2
    assert "no customer 'nobody'" in capsys.readouterr().err


def without_skill(x: Explanation, *, anyway: bool = False) -> Explanation:
    """The same explanation of a task that is predicted no better than by its average, and that passes all its checks."""
    passed = replace(x.faithfulness, checks=(), verdict_en="passed", verdict_ko="passed")
    return replace(x, faithfulness=passed, skill=Standing(0.01, -0.02, 0.03, 400, has_skill=False), anyway=anyway)


def test_a_task_without_skill_has_no_reasons_whatever_its_checks_say(found: Explanation) -> None:
    x = without_skill(found)
    said = 'This model does not predict "Lifetime value" better than its average; a reason for it would mean nothing.'
    assert x.withheld
    assert said in x.text()
    assert "passed" not in x.text()
    assert found.reasons[0].en not in x.text()
    plain = x.to_dict()
    assert (plain["withheld"], plain["withheld_because"], plain["warning"]) == (True, "skill", said)
    assert plain["skill"] == {"value": 0.01, "low": -0.02, "high": 0.03, "rows": 400, "has_skill": False}
    assert plain["reasons"] == plain["features"] == plain["experts"] == []
    for language, why in (("en", said), ("ko", x.meaningless("ko"))):
        page = to_html(x, "ko" if language == "ko" else "en").replace("&quot;", '"')
        assert why in page
        assert "badge ok" not in page
        assert found.reasons[0].en not in page


def test_the_reasons_can_be_asked_for_anyway_and_carry_the_warning_on_top(found: Explanation) -> None:
    x = without_skill(found, anyway=True)
    assert x.text().splitlines()[0] == x.person_said("en")
    assert x.meaningless() in x.person_said("en")
    assert found.reasons[0].en in x.text()
    assert x.to_dict()["withheld_because"] is None
    page = to_html(x)
    assert page.index("better than its average") < page.index(section("page", "en")["prediction"])
    assert "badge ok" not in page


def test_what_is_withheld_for_want_of_skill_ends_with_exit_code_0(
    found: Explanation, tiny_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def explained(*_: object, anyway: bool = False, **options: object) -> Explanation:
        asked.append(anyway)
        return without_skill(found, anyway=anyway)

    monkeypatch.setattr(import_module("analysis.commands_explain"), "explain", explained)
    words = ["explain", str(tiny_run.path), "--customer", found.customer_id]
    assert main(words) == main([*words, "--anyway"]) == 0
    assert asked == [False, True]
    held, shown = capsys.readouterr().out.split(found.headline())[1:]
    assert found.reasons[0].en not in held
    assert found.reasons[0].en in shown


def test_skill_is_the_same_whether_it_was_stored_or_is_measured_for_the_question(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis", "state"))
    run = load_run(tmp_path / "run")
    stored = judged_skill(diagnose(run).statistics)["churn"]
    read, measured = standing(run, "churn"), _measured(run, run.sample(), "churn")
    assert read is not None
    assert measured is not None
    assert (read.value, read.low, read.rows) == (stored.skill.value, stored.skill.low, stored.rows)
    assert (measured.value, measured.low, measured.high) == pytest.approx((read.value, read.low, read.high), abs=1e-4)
    assert measured.rows == read.rows


def test_customers_are_searched_by_a_piece_of_their_id(tiny_run: Run, customer: str) -> None:
    assert all(customer[-3:] in c.customer_id for c in customers(tiny_run, customer[-3:]))
    a, b = (customers(tiny_run, seed=s, limit=20) for s in (1, 2))
    assert a != b


def test_figures_show_bars_that_still_add_up(found: Explanation) -> None:
    drawn = figures.groups(found)
    shown = sum(v for trace in drawn.data for v in trace.x if v is not None)
    assert shown == pytest.approx(sum(g.value for g in found.groups), rel=1e-6)
    assert figures.experts(found).data
    assert figures.concepts(found).data


def test_a_typical_customer_is_undecided_rather_than_withheld(tiny_run: Run) -> None:
    for row in customers(tiny_run, limit=4, seed=5):
        x = explain(tiny_run, row.customer_id, "cvr", row.cutoff)
        check = x.faithfulness.check("completeness")
        assert check is not None
        assert check.passed
        if abs(x.difference) < 1e-6:
            assert x.faithfulness.level == "unknown"
