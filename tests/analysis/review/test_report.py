"""The report for review: what it must hold, that its numbers add up, that HTML and PDF say the same in both languages."""

from __future__ import annotations

import html
import inspect
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pypdf import PdfReader

from analysis.explain.customer import explain
from analysis.explain.faithful import judge
from analysis.explain.lookup import customers
from analysis.explain.reasons import Subject
from analysis.explain.report import to_html as to_details
from analysis.explain.subjects import SUBJECTS, subject_of
from analysis.i18n import catalogue, phrase, section
from analysis.naming import said_name
from analysis.particles import with_particles
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import (
    Barred,
    Counterfactual,
    Fallback,
    FeatureChange,
    Reason,
    Standing,
    SubjectWeight,
    Unsaid,
)
from analysis.results.review import ReviewReport
from analysis.review.about import GENERATED, ahead, periods_of, run_facts
from analysis.review.answer import against, answer, meaning, people
from analysis.review.checklist import DEMANDS, LAWS
from analysis.review.content import review
from analysis.review.html import to_html
from analysis.review.pdf import to_pdf
from analysis.review.weights import apportioned
from analysis.wording import is_field
from ple_model.data.synth import generate
from ple_model.fields import FIELD_SHAPES
from ple_model.numerals import LANGUAGES, Language, share
from ple_model.reliability import CameTrue
from ple_model.run import Run
from ple_model.schema import PARTS
from ple_model.tasks import TASKS


def texts(report: ReviewReport) -> list[str]:
    every = report.blocks()
    blocks = [t for b in every for t in (b.heading, b.internal, b.lead, b.note, *b.head, *(c for r in b.rows for c in r))]
    heads = (report.made_up, report.title, report.act, report.answer, report.meaning, report.against, report.verdict)
    return [t for t in (*heads, *(title for title, _ in report.pages), *blocks) if t]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text).replace("\N{MINUS SIGN}", "\N{EN DASH}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_html_and_pdf_hold_every_text_of_the_report(tiny_run: Run, explained: Explanation, language: Language) -> None:
    report = review(explained, run_facts(tiny_run), language, customer="7QK2-M0XA-94TD")
    page, reader = to_html(report), PdfReader(io.BytesIO(to_pdf(report)))
    printed = squeezed("".join(p.extract_text() for p in reader.pages))
    shown = squeezed(html.unescape(re.sub(r"<[^>]+>", "", page)))
    assert len(reader.pages) == 4
    for text in texts(report):
        assert squeezed(text) in printed, text
        assert squeezed(text) in shown, text
    assert "<script" not in page
    assert "http" not in page.split("</style>")[1]
    assert explained.customer_id not in page + printed


def test_the_font_is_embedded_with_the_signs_of_both_languages(tiny_run: Run, explained: Explanation) -> None:
    reader = PdfReader(io.BytesIO(to_pdf(review(explained, run_facts(tiny_run), "ko"))))
    fonts = {name: f.get_object() for p in reader.pages for name, f in p["/Resources"]["/Font"].items()}
    used = [f for f in fonts.values() if "Nanum" in f["/BaseFont"]]
    assert used
    assert all("/FontFile2" in f["/FontDescriptor"] for f in used)


def test_the_same_report_gives_the_same_bytes(tiny_run: Run, explained: Explanation) -> None:
    report = review(explained, run_facts(tiny_run), "en")
    assert to_pdf(report) == to_pdf(report)
    assert report.digest() == review(explained, run_facts(tiny_run), "en").digest()
    assert report.digest() != review(replace(explained, prediction=0.5), run_facts(tiny_run), "en").digest()


def test_a_long_report_is_set_smaller_until_a_page_holds_it(tiny_run: Run, explained: Explanation) -> None:
    long = tuple(Reason("A fact that is told at length. " * 12, "사실" * 90, ("x",), 0.01) for _ in range(6))
    many = replace(explained, reasons=long[:4], against=long[4:])
    for language in LANGUAGES:
        assert len(PdfReader(io.BytesIO(to_pdf(review(many, run_facts(tiny_run), language)))).pages) == 4


def figures(cells: Sequence[str]) -> list[Decimal]:
    """As they are printed; what is said to be less than the last decimal, and what is left out, is nothing."""
    said = [c.rstrip("%").replace("\N{MINUS SIGN}", "-").replace(",", "") for c in cells]
    return [Decimal(0) if not c or c.startswith("below") else Decimal(c) for c in said]


def effects(report: ReviewReport, key: str = "reasons") -> tuple[list[Decimal], list[Decimal]]:
    """(effects, weights in percent) of a table, row by row, the sum last."""
    block = report.block(key)
    rows = [r for i, r in enumerate(block.rows) if i not in block.heads]
    return figures([r[-2] for r in rows]), figures([r[-1] for r in rows])


@pytest.mark.parametrize("key", ["reasons", "subjects"])
@pytest.mark.parametrize("value", [None, 0.0, 0.04, -1e-7])
def test_both_tables_add_up_as_they_are_printed(tiny_run: Run, explained: Explanation, key: str, value: float | None) -> None:
    size = 0.0 if value is None else 1.5 * abs(value)
    barred = None if value is None else Barred((("age", "나이"),), value, size, size / (size + explained.size))
    x = replace(explained, barred=barred)
    report = review(x, run_facts(tiny_run), "en")
    values, weights = effects(report, key)
    assert sum(values[:-1]) == values[-1]
    assert values[-1] == figures([explained.shown(explained.prediction)])[0] - figures([explained.shown(explained.typical)])[0]
    assert sum(weights[:-1]) == weights[-1] == 100
    said = " ".join(texts(report))
    assert ("must not be reasons: " in said) == (barred is not None)
    if value == -1e-7:  # something beside nothing would be a contradiction
        assert ("below 0.1", "below 0.1%") in {r[-2:] for r in report.block(key).rows}


def test_subjects_hold_every_fact_once(explained: Explanation) -> None:
    assert sum(s.raised + s.lowered for s in explained.subjects) == pytest.approx(explained.told)
    barred = 0.0 if explained.barred is None else explained.barred.value
    assert explained.told == pytest.approx(explained.prediction - explained.typical - barred, abs=0.02 * explained.size)
    assert sum(s.size for s in explained.subjects) == pytest.approx(explained.size)
    assert [s.size for s in explained.subjects] == sorted((s.size for s in explained.subjects), reverse=True)
    for group in (*(name for _, name, _ in PARTS), *(g for g in FIELD_SHAPES if is_field(g))):
        assert subject_of(group) in SUBJECTS, f"{group} is in no subject"
    for language in LANGUAGES:
        assert {f"subject.{s}" for s in SUBJECTS} <= catalogue(language).keys()


@pytest.mark.parametrize(("values", "total"), [([0.4, 0.4, 0.4], 1), ([2.5, -1.5, 0.2], 1), ([0.0, 0.0], 3), ([], 0)])
def test_rounded_parts_are_near_their_values_and_add_up(values: list[float], total: int) -> None:
    found = apportioned(values, total)
    assert sum(found) == total
    assert all(abs(n - v) < 3.1 for n, v in zip(found, values, strict=True))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("ground", ["skill", "dormant", "uncertain", "check"])
def test_nothing_green_stands_beside_an_answer_to_fall_back_on(
    tiny_run: Run, explained: Explanation, ground: str, language: Language
) -> None:
    marked = Fallback(ground == "uncertain", 0.4, 0.05, 4321)
    x = replace(
        explained, fallback=marked, segment="dormant" if ground == "dormant" else "loyal",
        skill=Standing(0.0, -0.1, 0.1, 300, has_skill=False) if ground == "skill" else explained.skill,
        faithfulness=judge(0.9, None, None, enough=True) if ground == "check" else explained.faithfulness,
    )  # fmt: skip
    report, w = review(x, run_facts(tiny_run), language), section("review", language)
    assert x.person_because == ground
    assert report.level != "ok"
    assert x.ground_said(language) in report.act
    assert dict(report.block("limits").rows)[w["person"]] == w["person_yes"]
    assert " ".join(texts(report)).count(x.ground_said(language)) == 1  # once, and at the top
    assert (w["form_own_reasons"],) in report.block("review").rows
    page = to_html(report)
    assert "badge ok" not in page
    assert page.index('class="act"') < page.index("class=answer")
    own = next(p for p in x.predictions if p.task == x.task)
    for rank in (0.03, 0.3, 0.6, 0.97):  # however certain it is of itself, no word of praise
        sure = replace(x, predictions=tuple(replace(p, rank=rank) if p is own else p for p in x.predictions))
        rows = dict(review(sure, run_facts(tiny_run), language).block("limits").rows)
        said = f"{rows[w['certainty']]} {rows[w['skill']]}"
        assert (f"{100 * rank:.0f}" in rows[w["certainty"]]) == (ground not in ("skill", "dormant"))
        for praise in (w["certainty_1"].split(":")[0], w["certainty_2"].split(":")[0], *(w[f"skill_{k}"] for k in (2, 3, 4))):
            assert f"{praise}:" not in said
    others = [phrase(f"person.{g}", language, share="5.0%") for g in ("dormant", "uncertain", "check")]
    assert sum(o in " ".join(texts(report)) for o in others) == (ground != "skill")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_that_nothing_speaks_against_asks_for_no_person_and_lets_the_customer_ask(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    x = replace(explained, fallback=Fallback(False, 0.4, 0.05, 4321), segment="loyal", contradicted=(), unseen=())
    report, w = review(x, run_facts(tiny_run), language), section("review", language)
    assert (report.act, report.level, report.verdict) == ("", "ok", "")  # nothing that reads as approval of the answer
    assert "badge" not in to_html(report).split("</style>")[1]
    assert dict(report.block("limits").rows)[w["trust"]] == x.checks_said(language)
    row = dict(report.block("limits").rows)[w["person"]]
    assert w["person_always"] in row
    assert w["person_yes"] not in row
    sole = replace(x, size=2 * sum(abs(r.contribution) for r in (*x.reasons, *x.against)) - 1e-9, barred=None)
    for one, open_ in ((sole, False), (replace(sole, size=3 * sole.size), True)):  # half of it all, or a third of that
        made, law = review(one, run_facts(tiny_run), language), section("checklist", language)
        assert ((w["form_own_reasons"],) in made.block("review").rows) == open_
        filled = dict(r[:2] for r in made.block("laws").rows)[law["pipa_explained"]]
        assert filled == law["by_both" if open_ else "by_model"]


def test_what_the_number_means_is_counted_in_people_with_the_days_and_their_end(tiny_run: Run, explained: Explanation) -> None:
    about = replace(run_facts(tiny_run), periods={"churn": (0, 27)})
    x = replace(
        explained, task="churn", title=TASKS["churn"].title, target=None, target_name="", offers=(), prediction=0.06,
        cutoff="2024-10-01", audit={**explained.audit, "made": "2026-11-29T23:55:00+00:00"},
    )  # fmt: skip
    report = review(x, about, "en")
    assert "Of 100 customers given this percentage, about 6 show no activity in the" in report.meaning
    assert "28 days from 2024-10-01 to 2024-10-28" in report.meaning
    assert "94 are active." in report.meaning
    assert "can be compared with what happened" in " ".join(texts(report))
    happened = ("What happened since", "The customer showed no activity.")
    assert happened in review(replace(x, came=(1.0, "yes")), about, "en").block("decision").rows
    early = {**x.audit, "made": "2024-10-02T08:00:00+00:00"}  # nobody knows yet
    assert happened not in review(replace(x, came=(1.0, "yes"), audit=early), about, "en").block("decision").rows
    assert review(replace(x, came=(None, "")), about, "en").block("decision").rows[-2][1].startswith("not known")
    assert "recommendation" not in report.title
    assert "recommendation" in review(explained, about, "en").title
    korean = " ".join(texts(review(x, about, "ko")))
    assert "2026-11-30 08:55(한국시간)" in korean
    assert with_particles(korean) == korean
    assert not re.search(r"\d (%|에|보다|로)( |$)", korean)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_second_answer_that_is_nearly_as_likely_is_told_beside_the_first(explained: Explanation, language: Language) -> None:
    first, second = explained.offers[:2]
    start = phrase("review.close", language, label=explained.label_said(second.name, language), share="|").partition("|")[0]
    for p, close in ((0.18, True), (0.17, False)):
        two = (replace(first, probability=0.19), replace(second, probability=p))
        x = replace(explained, offers=two, target=first.index, prediction=0.19)
        assert (start in meaning(x, None, language)) is close


@pytest.mark.parametrize(
    ("p", "of", "n"), [(0.8549, 100, 86), (0.8544, 100, 85), (0.0123, 1000, 12), (0.06, 100, 6), (1, 100, 100)]
)
def test_people_are_counted_by_the_percentage_as_it_is_printed(p: float, of: int, n: int) -> None:
    assert people(p, of) == n


@pytest.mark.parametrize(
    ("p", "en", "ko"),
    [
        (0.9996, "Of 1,000 customers given this percentage, more than 999 show", "고객 1,000명 중 999명 초과가"),
        (0.0002, "Of 1,000 customers given this percentage, fewer than 1 show", "고객 1,000명 중 1명 미만이"),
        (0.97, "Of 1,000 customers given this percentage, about 970 show", "1,000명 중 약 970명"),
        (1.0, "Of 100 customers given this percentage, about 100 show", "고객 100명 중 약 100명이"),
    ],
)
def test_nobody_and_everybody_are_said_only_where_it_is_so(explained: Explanation, p: float, en: str, ko: str) -> None:
    x = replace(explained, task="churn", title=TASKS["churn"].title, target_name="", prediction=p)
    assert meaning(x, None, "en").startswith(en)
    assert ko in meaning(x, None, "ko")
    assert ("fewer than 1 are active." in meaning(x, None, "en")) == (p == 0.9996)
    assert ("more than 999 are active." in meaning(x, None, "en")) == (p == 0.0002)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_number_that_is_not_to_be_relied_on_is_not_told_as_a_fact(explained: Explanation, language: Language) -> None:
    x = replace(explained, fallback=Fallback(True, 0.4, 0.05, 4321), segment="loyal")
    said, plain = meaning(x, None, language), meaning(replace(x, fallback=None), None, language)
    start, end = catalogue(language)["review.taken"].split("{said}")
    assert said.startswith(start.strip())
    assert said.endswith(end.strip())
    assert not plain.startswith(start.strip())


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_somebody_is_is_called_an_estimate_that_the_banks_own_record_goes_before(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    own = next(p for p in explained.predictions if p.task == "life_stage")
    held = Barred((("region", "지역"),), 0.001, 0.001, 0.01)
    for rank in (0.3, 0.77):
        x = replace(
            explained, task="life_stage", title=TASKS["life_stage"].title, target_name="under 25", offers=(), barred=held,
            predictions=(replace(own, rank=rank),), fallback=None, segment="loyal",
        )  # fmt: skip
        said = meaning(x, None, language)
        assert ("record counts" if language == "en" else "은행에 등록된 나이") in said
        assert (phrase("review.hint", language) in said) == (rank == 0.77)
        asked = phrase("review.unread_asked", language, name="age" if language == "en" else "나이")
        assert (
            asked
            in dict(review(x, run_facts(tiny_run), language).block("data").rows)[section("review", language)["barred_name"]]
        )
    assert asked not in explained.barred_names(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_that_no_reason_carries_asks_for_a_person(tiny_run: Run, explained: Explanation, language: Language) -> None:
    x = replace(explained, reasons=(), against=(), fallback=None, segment="loyal")
    report, w = review(x, run_facts(tiny_run), language), section("review", language)
    assert x.person_because == "reasons"
    assert (report.level, x.withheld) == ("unknown", False)
    assert phrase("person.reasons", language) in report.act
    lead = report.block("reasons").lead
    assert lead.startswith(w["carry_none"].split("{")[0])
    assert re.search(r"(?<!\d)0\.0%", lead) is None
    values, weights = effects(review(x, run_facts(tiny_run), "en"))
    assert sum(values[:-1]) == values[-1]
    assert sum(weights[:-1]) == 100
    where = section("checklist", language)["where_withheld"]
    assert sum(r[-1] == where for r in report.block("laws").rows) == sum(d.needs_reasons for d in DEMANDS)
    assert w["no_causes"] in dict(report.block("limits").rows)[w["remember"]]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("value", "share", "way"), [(1e-7, 0.06, "cancel"), (1e-7, 0.001, "little"), (0.0006, 0.003, "much")])
def test_page_and_report_judge_what_may_be_no_reason_by_one_measure(
    tiny_run: Run, explained: Explanation, value: float, share: float, way: str, language: Language
) -> None:
    held = Barred((("region", "지역"),), value, share * explained.size, share)
    x = replace(explained, barred=held, audit={**explained.audit, "barred": ["age", "region"]})
    assert x.barred_way(language) == way
    names = x.barred_names(language)
    report = " ".join(r[0] for r in review(x, run_facts(tiny_run), language).block("reasons").rows)
    page, w = x.barred_said(language), section("review", language)
    assert (phrase("barred.points", language, points="+0.1") in page) == (way == "much")
    assert ("0.0" in page) is False
    assert f": {names}. " in page
    assert f": {names}. " in report
    assert w[f"barred_{way}"].split("{names}")[1].split("{")[0] in report
    assert catalogue(language)[f"barred.{way}"].split("{names}")[1].split("{")[0] in page


def test_a_difference_that_cannot_be_seen_is_less_than_a_step(explained: Explanation) -> None:
    near = replace(explained, prediction=0.20004, population=0.20044)
    assert "(a difference of less than 0.1 points)" in against(near, "en")
    assert "(이 고객과 같은 수준, 차이 0.1%p 미만)" in against(near, "ko")
    assert "0.0 points" not in against(near, "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("typical", "population", "key"), [(0.1, 0.3, "above"), (0.3, 0.1, "below"), (0.1, 0.1, ""), (0.3, 0.3, ""), (0.1, 0.2, "")]
)
def test_that_reasons_tell_of_the_invented_customer_and_not_of_the_average_is_said_where_those_differ(
    explained: Explanation, typical: float, population: float, key: str, language: Language
) -> None:
    said = against(replace(explained, prediction=0.2, typical=typical, population=population), language)
    assert [phrase(f"review.start_{k}", language) in said for k in ("above", "below")] == [key == "above", key == "below"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_number_that_nobody_checked_is_told_so_before_what_it_would_mean(explained: Explanation, language: Language) -> None:
    own = next(p for p in explained.predictions if p.task == "churn")
    x = replace(
        explained, task="churn", title=TASKS["churn"].title, target_name="", fallback=None, segment="loyal", reliability=None
    )
    checked, not_checked = (
        meaning(replace(x, predictions=(replace(own, calibrated=c),)), None, language) for c in (True, False)
    )
    first = catalogue(language)["review.uncalibrated"].split("{said}")[0]
    assert not_checked.startswith(first)
    assert not_checked.removeprefix(first).lower() in checked.lower()
    assert checked.endswith(phrase("review.calibrated", language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("told", "key"), [(0.3, "holds"), (0.5, "less"), (0.1, "more")])
def test_a_number_without_a_map_is_held_against_what_came_true(
    explained: Explanation, told: float, key: str, language: Language
) -> None:
    own = next(p for p in explained.predictions if p.task == "churn")
    came = CameTrue(1234, 0.28, 0.33, told, 0.3, 0.25, 0.35)
    x = replace(
        explained, task="churn", title=TASKS["churn"].title, target_name="", fallback=None, segment="loyal", reliability=came,
        predictions=(replace(own, calibrated=False),),
    )  # fmt: skip
    said = meaning(x, None, language)
    assert said.endswith(
        phrase(f"review.checked_{key}", language, n="1,234", low="28%", high="33%", came="30%", told=share(told, 0.1))
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_effect_beyond_the_number_and_a_failed_check_are_explained(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    w = section("review", language)
    great = replace(explained, reasons=(Reason("X.", "X.", ("x",), 1.08),), size=2.0)
    for x in (explained, great):
        assert (w["beyond"] in review(x, run_facts(tiny_run), language).block("reasons").lead) == (x is great)
    failed = replace(explained, faithfulness=judge(0.9, None, None, enough=True))
    (check,) = [c for c in failed.faithfulness.checks if c.passed is False]
    for x in (explained, failed):
        row = dict(review(x, run_facts(tiny_run), language).block("technical").rows).get(w["failed_check"])
        assert row == ((check.text_en if language == "en" else check.text_ko) if x is failed else None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_answer_has_one_name_in_title_reasons_and_change(explained: Explanation, language: Language) -> None:
    then = Counterfactual((), 0.3, 0.2, "in 1 day", True, (), value_after=0.4)
    x = replace(
        explained, task="timing", title=TASKS["timing"].title, target_name="in 0 days", cutoff="2024-09-01",
        counterfactual=then,
    )  # fmt: skip
    reason = Subject("timing", x.title, "in 0 days", True, "", x.cutoff).effect(0.1, language)
    for said in (answer(x, None, language), x.headline(language), x.change_said(language), reason):
        assert "2024-09-01" in said
        assert said_name("in 0 days", language) not in said
    assert "2024-09-02" in x.change_said(language)
    assert said_name("in 0 days", language) not in to_details(x, language).split("<table")[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_says_what_its_number_means(explained: Explanation, task: str, language: Language) -> None:
    spec = TASKS[task]
    value = spec.kind == "regression"
    x = replace(
        explained, task=task, title=spec.title, score_unit="value" if value else "probability", unit=spec.unit,
        prediction=30.1 if value else 0.3, statistic="mean" if spec.log_scale else "",
        target_name=spec.classes[0] if spec.classes and not value else "",
    )  # fmt: skip
    said = meaning(x, None, language)
    assert said
    assert "{" not in said
    if not value:
        assert "30" in said
        assert "70" in said
    if task not in ("uplift", "category_uplift"):
        assert f"meaning.{task}" in catalogue(language)
        assert f"asked.{task}" in catalogue(language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("task", "title", "unit", "value", "not_said"),
    [
        ("balance_util", "Yearly premium", "KRW", 1_200_000, ("in use", "사용할")),
        ("spending_bucket", "Income", "count", 54_000, ("100",)),
        ("ltv", "Claims next year", "count", 3.2, ("spend", "쓸 것으로")),
        ("engagement", "Visits to the doctor", "count", 3, ("activity", "활동", "28")),
    ],
)
def test_a_label_of_ones_own_is_not_told_as_the_task_whose_place_it_has(
    tiny_run: Run, explained: Explanation, task: str, title: str, unit: str, value: float, not_said: tuple[str, ...],
    language: Language,
) -> None:  # fmt: skip
    about = replace(run_facts(tiny_run), periods={})
    x = replace(
        explained, task=task, title=title, question=title, score_unit="value", unit=unit, prediction=value, target=None,
        target_name="", offers=(), cutoff="none", subjects=(), predictions=(),
    )  # fmt: skip
    report = review(x, about, language)
    assert title in report.meaning
    assert title in report.answer
    told = f"{report.answer} {report.meaning}"
    for word in not_said:
        assert word not in told
    asked = dict(report.block("decision").rows)[section("review", language)["asked"]]
    assert asked == title
    classes = replace(explained, task="life_stage", title=title, target_name="A")
    assert classes.unchanged_said(language) == ""
    assert replace(explained, title=title).title == title
    assert review(replace(explained, title=title), about, language).title == section("review", language)["title_estimate"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_cannot_be_put_into_words_is_one_row_with_its_subjects_that_add_up_to_it(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    w, plain = section("review", language), replace(explained, unsaid=Unsaid(), size=explained.size - explained.unsaid.size)
    start, end = w["unsaid_row"].split("{subjects}")
    named = [SubjectWeight("times", 0.02, -0.051), SubjectWeight("spending", 0.0111, 0.0), SubjectWeight("credit", 1e-6, 0.0)]
    more = Unsaid(tuple(named))
    x = replace(
        plain, unsaid=more, size=plain.size + more.size, told=plain.told - explained.unsaid.value + more.value,
        prediction=plain.prediction - explained.unsaid.value + more.value,
    )  # fmt: skip
    block = review(x, run_facts(tiny_run), language).block("reasons")
    (row,) = [r for r in block.rows if r[0].startswith(start)]
    assert row[0].endswith(end)
    parts = row[0].removeprefix(start).removesuffix(end).split(", ")
    names = [phrase(f"subject.{k}", language) for k in ("times", "spending")]
    assert [p.rpartition(" ")[0] for p in parts] == names  # none for what is less than a step
    assert sum(figures([p.rpartition(" ")[2] for p in parts])) == figures([row[1]])[0] == Decimal("-2.0")
    assert figures([row[2]])[0] == round(Decimal(100 * x.share_of(more.size)), 1)
    assert row[2] in block.lead
    n = len([r for r in block.rows if r[1] and r[0] in [z.fact(language) for z in (*x.reasons, *x.against)]])
    keys = [f"carry_{k}{'_one' if n == 1 else ''}" for k in ("little", "much")]
    assert any(block.lead.startswith(w[k].split("{share}")[0].format(n=n)) for k in keys)
    for key in ("reasons", "subjects"):
        values, weights = effects(review(x, run_facts(tiny_run), "en"), key)
        assert sum(values[:-1]) == values[-1]
        assert sum(weights[:-1]) == weights[-1] == 100
    assert not [r for r in review(plain, run_facts(tiny_run), language).block("reasons").rows if r[0].startswith(start)]
    said = x.unsaid_said(language)
    assert all(name in said for name in names)
    assert said in x.text(language)
    assert said in html.unescape(to_details(x, language))
    assert x.to_dict()["unsaid"]["value"] == pytest.approx(more.value)
    assert plain.unsaid_said(language) == ""


def test_where_nothing_can_be_put_into_words_what_cannot_takes_what_rounding_leaves(
    tiny_run: Run, explained: Explanation
) -> None:
    whole = Unsaid((SubjectWeight("times", 0.12345, -0.0004),))
    x = replace(
        explained, reasons=(), against=(), contradicted=(), unseen=(), unsaid=whole, size=whole.size, told=whole.value,
        counts=(0, 0), barred=None,
        subjects=whole.subjects, prediction=explained.typical + whole.value,
    )  # fmt: skip
    report = review(x, run_facts(tiny_run), "en")
    for key in ("reasons", "subjects"):
        values, weights = effects(report, key)
        assert sum(values[:-1]) == values[-1]
        assert weights == [100, 100]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("unsaid", "warned"), [(0.06, True), (0.02, False), (-0.06, False)])
def test_where_the_difference_lies_in_what_cannot_be_put_into_words_the_report_says_so_first(
    tiny_run: Run, explained: Explanation, language: Language, unsaid: float, warned: bool
) -> None:
    part = Unsaid((SubjectWeight("times", max(unsaid, 0.0), min(unsaid, 0.0)),))
    told = 0.1  # all together, what can be said the rest of it
    x = replace(
        explained, unsaid=part, told=told, size=abs(unsaid) + abs(told - unsaid), barred=None,
        prediction=explained.typical + told, contradicted=(), unseen=(),
    )  # fmt: skip
    start = section("review", language)["unsaid_most"].split("{total}")[0]
    assert (start in review(x, run_facts(tiny_run), language).block("reasons").lead) is warned
    left = Reason("Left.", "남김.", ("x",), unsaid, facts=("Left", "남김"))  # what customers do not confirm counts alike
    y = replace(x, unsaid=Unsaid(), unseen=(left,))
    assert (start in review(y, run_facts(tiny_run), language).block("reasons").lead) is warned


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("share", "warned"), [(0.49, False), (0.51, True)])
def test_an_answer_that_mostly_cannot_be_put_into_words_says_on_top_that_the_rest_is_not_why(
    tiny_run: Run, explained: Explanation, language: Language, share: float, warned: bool
) -> None:
    part = Unsaid((SubjectWeight("times", share * 0.1, 0.0),))
    x = replace(
        explained, unsaid=part, told=0.1, size=0.1, barred=None, prediction=explained.typical + 0.1,
        faithfulness=judge(0.0, None, 0.0, enough=True), contradicted=(), unseen=(),
    )  # fmt: skip
    start = section("review", language)["mostly_unsaid"].split("{share}")[0].strip()
    report = review(x, run_facts(tiny_run), language)
    assert (start in report.verdict) is warned
    if warned:
        assert f"{share:.1%}" in report.verdict
        assert report.level != "ok"
    withheld = replace(x, skill=Standing(0.0, -0.1, 0.1, 300, has_skill=False))
    assert start not in review(withheld, run_facts(tiny_run), language).verdict


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_a_column_and_a_change_that_may_be_sensitive_carry_their_mark(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    kind = ("health", "건강")
    mark = phrase("reason.sensitive_kind", language, kind=kind[language == "ko"])
    asked = replace(explained, task="spending_category", title=TASKS["spending_category"].title, target_name="health")
    assert "health" in asked.audit["sensitive"]
    assert mark in review(asked, run_facts(tiny_run), language).meaning
    assert mark in asked.text(language)
    assert mark not in review(explained, run_facts(tiny_run), language).meaning
    free = replace(asked, audit={**asked.audit, "sensitive": []})
    assert free.answer_mark(language) == ""
    short = phrase("reason.sensitive_short_kind", language, kind=kind[language == "ko"])
    change = FeatureChange("x", 1.0, 2.0, "count", "X.", "X.", sensitive=kind)
    would = replace(explained, counterfactual=Counterfactual((change,), 0.2, 0.4, "fund", True, (), value_after=0.5))
    assert short in review(would, run_facts(tiny_run), language).block("change").rows[0][0]
    assert short in change.said(language)
    column = replace(explained.features[0], sensitive=kind)
    assert short in column.told(language)
    assert short in to_details(replace(explained, features=(column,)), language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reason_that_may_be_sensitive_is_marked_beside_it_and_the_bank_is_told_once(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    kind, w = ("health", "건강"), section("review", language)
    short = phrase("reason.sensitive_short_kind", language, kind=kind[language == "ko"])
    told = [Reason("Health.", "건강.", ("x",), c, facts=("Health", "건강"), sensitive=True, kind=kind) for c in (0.5, 1e-4)]
    other = Reason("Other.", "기타.", ("y",), 0.1, facts=("Other", "기타"))
    for health, key in zip(told, ("internal_strongest", "internal"), strict=True):
        report = review(replace(explained, reasons=(other, health), against=()), run_facts(tiny_run), language)
        block = report.block("reasons")
        assert sum(short in r[0] for r in block.rows) == 1
        assert block.internal == w[key].format(kinds=" (health)" if language == "en" else "(건강)")
        assert to_html(report).count("class=internal") == 1
        assert (health.en, health.ko) == ("Health.", "건강.")  # what a customer may be sent
    assert review(replace(explained, reasons=(other,)), run_facts(tiny_run), language).block("reasons").internal == ""
    one = replace(explained, reasons=(told[0],), against=())
    assert short in one.text(language)
    assert one.to_dict()["reasons"][0]["sensitive"] is True


def test_a_customers_row_has_a_mark_of_its_own(tiny_run: Run, explained: Explanation) -> None:
    other = explain(tiny_run, customers(tiny_run, limit=2)[1].customer_id, "nba", anyway=True)
    assert other.customer_id != explained.customer_id
    assert other.audit["customer_row"] != explained.audit["customer_row"]
    assert other.audit["customer_data"] == explained.audit["customer_data"]
    report = review(explained, run_facts(tiny_run), "en", record="/home/ann/somewhere/audit")
    assert explained.audit["customer_row"][:16] in " ".join(texts(report))
    assert "/home" not in " ".join((*texts(report), report.footer))


def test_withheld_reasons_leave_their_demands_open(tiny_run: Run, explained: Explanation) -> None:
    secret = Reason("SECRET", "SECRET", ("x",), 1.0)
    failed = replace(explained, reasons=(secret,), faithfulness=judge(0.9, None, None, enough=True))
    unskilled = replace(explained, reasons=(secret,), skill=Standing(0.0, -0.1, 0.1, 300, has_skill=False))
    w = section("checklist", "en")
    for x, level in ((failed, "withheld"), (unskilled, "withheld")):
        report = review(x, run_facts(tiny_run), "en")
        assert report.level == level
        assert "SECRET" not in " ".join(texts(report))
        open_rows = [r for r in report.block("laws").rows if r[-1] in (w["where_withheld"], w["where_unknown"])]
        failed_alone = sum(r[-1] == w["where_unknown"] for r in open_rows)
        assert (failed_alone > 0) == (x is failed)  # without skill the reasons mean nothing, here they are not known
        assert "invented customer" not in report.against
        assert section("review", "en")["remember"] not in dict(report.block("limits").rows)
        assert len(open_rows) == sum(d.needs_reasons for d in DEMANDS)
        assert all(r[1] == w["by_bank"] for r in open_rows)


def test_the_checklist_covers_every_law_and_calls_itself_no_advice(tiny_run: Run, explained: Explanation) -> None:
    assert {d.law for d in DEMANDS} == set(LAWS)
    report = review(explained, run_facts(tiny_run), "en")
    said = " ".join(t for b in report.pages[-1][1] for t in (b.heading, *(c for r in b.rows for c in r)))
    for name in (
        "art. 37-2",
        "art. 36-2",
        "AI Basic Act, art. 34",
        "GDPR art. 22",
        "AI Act art. 86",
        "no legal advice",
        "30 days",
    ):
        assert name in said


def test_identity_and_limits_are_those_of_the_explanation(tiny_run: Run, explained: Explanation) -> None:
    said = " ".join(texts(review(explained, run_facts(tiny_run), "en")))
    for part in (explained.audit["weights_sha256"][:16], tiny_run.manifest.data.fingerprint[:16], "0.210", "400 cases"):
        assert part in said
    assert explained.shown(explained.prediction) in said
    about = run_facts(tiny_run)
    assert (about.rows, about.data) == (tiny_run.manifest.data.rows["train"], tiny_run.manifest.data.name)


def test_what_may_be_no_reason_and_what_was_asked_for_anyway_are_said(tiny_run: Run, explained: Explanation) -> None:
    x = replace(explained, audit={**explained.audit, "barred": ["age", "postcode"]}, anyway=True)
    said = " ".join(texts(review(x, run_facts(tiny_run), "ko")))
    w = section("review", "ko")
    assert "나이(이 모델은 읽지 않음), postcode(이 모델은 읽지 않음)" in said
    assert w["anyway_said"] in said
    assert w["anyway_said"] not in " ".join(texts(review(explained, run_facts(tiny_run), "ko")))


def test_the_checklist_names_the_record_only_where_there_is_one(tiny_run: Run, explained: Explanation) -> None:
    w = section("checklist", "en")
    for record in (None, "somewhere/audit"):
        report = review(explained, run_facts(tiny_run), "en", record=record)
        assert (w["where_record"] in texts(report)) == (record is not None)
        assert ('"audit"' in report.footer) == (record is not None)


def test_each_label_looks_at_its_own_days(tiny_run: Run, explained: Explanation) -> None:
    windows = {"active_days": 28, "retention_from": 57, "retention_to": 84, "timing_days": 28}
    periods = periods_of({"horizon_days": 84, "labels": windows})
    assert (periods["nba"], periods["churn"], periods["retention"]) == ((0, 83), (0, 27), (56, 83))
    assert "life_stage" not in periods
    assert periods_of({"horizon_days": "84", "labels": {"active_days": None}}) == {}
    about = replace(run_facts(tiny_run), periods=periods)
    assert {"nba", "ltv", "spending_category", "brand_prediction"} <= set(ahead())
    assert not {"churn", "retention", "timing", "uplift", "category_uplift", "life_stage"} & set(ahead())
    assert any("84 days" in t for t in texts(review(explained, about, "en")))
    assert not any("84 days" in t for t in texts(review(replace(explained, task="churn"), about, "en")))


def test_the_cutoffs_are_those_that_the_model_learned_from(tiny_run: Run) -> None:
    rows = tiny_run.sample().table(["cutoff", "split"]).to_pylist()
    assert run_facts(tiny_run).cutoffs == tuple(sorted({r["cutoff"] for r in rows if r["split"] == "train"}))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_class_that_was_asked_about_is_not_called_the_decision(
    tiny_run: Run, explained: Explanation, language: Language
) -> None:
    first, other = explained.offers[:2]
    w = section("review", language)
    asked = replace(explained, target=other.index, target_name=other.name, prediction=other.probability)
    report = review(asked, run_facts(tiny_run), language)
    rows = dict(report.block("decision").rows)
    assert rows[w["first_choice"]].startswith(said_name(first.name, language))
    assert rows[w["about_class"]] == said_name(other.name, language)
    assert w["next"] not in rows
    assert (asked.decided, explained.decided) == (first.name, first.name)
    assert said_name(first.name, language) in report.answer
    assert w["first_choice"] not in dict(review(explained, run_facts(tiny_run), language).block("decision").rows)


def test_what_would_change_is_no_table_where_nothing_moves_and_withheld_is_not_none(
    tiny_run: Run, explained: Explanation
) -> None:
    w, none = section("review", "en"), phrase("counterfactual.none", "en", tried="0")
    change = FeatureChange("x", 1.0, 2.0, "count", "X.", "X.")
    still = Counterfactual((change,), 0.20001, 0.20002, "", True, ())
    failed = replace(explained, counterfactual=still, faithfulness=judge(0.9, None, None, enough=True))
    for x, said in (
        (replace(explained, counterfactual=still), w["unmoved"].format(value="20.0%")),
        (replace(explained, counterfactual=None), phrase("counterfactual.nobody", "en")),
        (replace(explained, counterfactual=replace(still, changes=(), flips=False)), phrase("counterfactual.held", "en")),
        (failed, w["no_change"]),
    ):
        block = review(x, run_facts(tiny_run), "en").block("change")
        assert (block.kind, block.rows) == ("lines", ((said,), (w["correctable"],)))
        assert said != none


def test_what_a_person_must_fill_has_a_field(tiny_run: Run, explained: Explanation) -> None:
    w = section("review", "en")
    fields = {r[0] for r in review(explained, run_facts(tiny_run), "en").block("review").rows}
    assert {
        w[f"form_{n}"] for n in ("role", "refusal", "correction", "recalculated", "human", "objection", "answered")
    } <= fields


def test_generated_data_is_known_by_the_note_that_its_maker_leaves() -> None:
    assert GENERATED in Path(inspect.getfile(generate)).read_text(encoding="utf-8")


def test_a_name_cannot_be_markup_in_either_form(tiny_run: Run, explained: Explanation) -> None:
    hostile = Reason("<script>alert(1)</script> & <b>x</b>", "<font size=90>", ("x",), 0.1)
    report = review(replace(explained, reasons=(hostile,)), run_facts(tiny_run), "en", customer='"><img src=x>')
    assert "<script>" not in to_html(report)
    assert "<img" not in to_html(report)
    printed = "".join(p.extract_text() for p in PdfReader(io.BytesIO(to_pdf(report))).pages)
    assert "alert(1)" in printed
