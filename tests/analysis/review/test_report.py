"""The report for review: what it must hold, that its numbers add up, that HTML and PDF say the same in both languages."""

from __future__ import annotations

import html
import inspect
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pypdf import PdfReader

from analysis.explain.faithful import judge
from analysis.i18n import phrase, section
from analysis.naming import said_name
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Barred, Counterfactual, FeatureChange, Reason, Standing
from analysis.results.review import ReviewReport
from analysis.review.about import GENERATED, ahead, run_facts
from analysis.review.checklist import DEMANDS, LAWS
from analysis.review.content import review
from analysis.review.html import to_html
from analysis.review.pdf import to_pdf
from ple_model.data.synth import generate
from ple_model.numerals import LANGUAGES, Language
from ple_model.run import Run


def texts(report: ReviewReport) -> list[str]:
    blocks = [t for b in (*report.first, *report.second) for t in (b.heading, b.note, *b.head, *(c for r in b.rows for c in r))]
    return [t for t in (report.answer, report.against, report.verdict, *blocks) if t]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_html_and_pdf_hold_every_text_of_the_report(tiny_run: Run, explained: Explanation, language: Language) -> None:
    report = review(explained, run_facts(tiny_run), language, customer="7QK2-M0XA-94TD")
    page, reader = to_html(report), PdfReader(io.BytesIO(to_pdf(report)))
    printed = squeezed("".join(p.extract_text() for p in reader.pages))
    shown = squeezed(html.unescape(re.sub(r"<[^>]+>", "", page)))
    assert len(reader.pages) == 2
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
        assert len(PdfReader(io.BytesIO(to_pdf(review(many, run_facts(tiny_run), language)))).pages) == 2


def effects(report: ReviewReport) -> tuple[list[float], list[float]]:
    """(effects, weights in percent) of the table of reasons, row by row."""
    block = report.first[1]
    return [float(r[1]) for r in block.rows], [float(r[2].rstrip("%")) if r[2] else 0.0 for r in block.rows]


def test_the_table_of_reasons_adds_up_with_what_is_barred(tiny_run: Run, explained: Explanation) -> None:
    for barred in (None, Barred((("age", "나이"),), 0.04, 0.06, 0.06 / (0.06 + explained.size))):
        told = explained.told - (0.0 if barred is None else barred.value)
        x = replace(explained, barred=barred, told=told)
        values, weights = effects(review(x, run_facts(tiny_run), "en"))
        assert sum(values[:-1]) == pytest.approx(values[-1], abs=0.05 * len(values))
        assert values[-1] == pytest.approx(100 * explained.difference, abs=0.051)
        assert sum(weights[:-1]) == pytest.approx(100, abs=0.5 * len(weights))
        said = " ".join(texts(review(x, run_facts(tiny_run), "en")))
        assert ("may not be used as reasons" in said) == (barred is not None)


def test_withheld_reasons_leave_their_demands_open(tiny_run: Run, explained: Explanation) -> None:
    secret = Reason("SECRET", "SECRET", ("x",), 1.0)
    failed = replace(explained, reasons=(secret,), faithfulness=judge(0.9, None, None, enough=True))
    unskilled = replace(explained, reasons=(secret,), skill=Standing(0.0, -0.1, 0.1, 300, has_skill=False))
    w = section("checklist", "en")
    for x, level in ((failed, "withheld"), (unskilled, "withheld")):
        report = review(x, run_facts(tiny_run), "en")
        assert report.level == level
        assert "SECRET" not in " ".join(texts(report))
        open_rows = [r for b in report.second for r in b.rows if r[-1] == w["where_withheld"]]
        assert len(open_rows) == sum(d.needs_reasons for d in DEMANDS)
        assert all(r[1] == w["by_bank"] for r in open_rows)


def test_the_checklist_covers_every_law_and_calls_itself_no_advice(tiny_run: Run, explained: Explanation) -> None:
    assert {d.law for d in DEMANDS} == set(LAWS)
    report = review(explained, run_facts(tiny_run), "en")
    said = " ".join(t for b in report.second for t in (b.heading, *(c for r in b.rows for c in r)))
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
    assert w["barred_said"].format(names="나이, postcode") in said
    assert w["anyway_said"] in said
    assert w["anyway_said"] not in " ".join(texts(review(explained, run_facts(tiny_run), "ko")))


def test_the_checklist_names_the_record_only_where_there_is_one(tiny_run: Run, explained: Explanation) -> None:
    w = section("checklist", "en")
    for record in (None, "somewhere/audit"):
        report = review(explained, run_facts(tiny_run), "en", record=record)
        assert (w["where_record"] in texts(report)) == (record is not None)
        assert ("somewhere/audit" in report.footer) == (record is not None)


def test_the_horizon_is_said_only_of_labels_that_look_so_far(tiny_run: Run, explained: Explanation) -> None:
    about = replace(run_facts(tiny_run), horizon_days=dict.fromkeys(ahead(), 84))
    assert {"nba", "ltv", "spending_category", "brand_prediction"} <= set(ahead())
    assert not {"churn", "retention", "timing", "uplift", "category_uplift", "life_stage"} & set(ahead())
    said = section("review", "en")["horizon"].format(days=84)
    assert any(said in t for t in texts(review(explained, about, "en")))
    assert not any(said in t for t in texts(review(replace(explained, task="churn"), about, "en")))


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
    rows = dict(report.first[0].rows)
    assert rows[w["first_choice"]].startswith(said_name(first.name, language))
    assert rows[w["about_class"]] == said_name(other.name, language)
    assert w["next"] not in rows
    assert (asked.decided, explained.decided) == (first.name, first.name)
    assert said_name(first.name, language) in report.answer
    assert w["first_choice"] not in dict(review(explained, run_facts(tiny_run), language).first[0].rows)


def test_what_would_change_is_no_table_where_nothing_moves_and_withheld_is_not_none(
    tiny_run: Run, explained: Explanation
) -> None:
    w, none = section("review", "en"), phrase("counterfactual.none", "en")
    change = FeatureChange("x", 1.0, 2.0, "count", "X.", "X.")
    still = Counterfactual((change,), 0.20001, 0.20002, "", True, ())
    failed = replace(explained, counterfactual=still, faithfulness=judge(0.9, None, None, enough=True))
    for x, said in (
        (replace(explained, counterfactual=still), w["unmoved"].format(value="20.0%")),
        (replace(explained, counterfactual=None), phrase("counterfactual.nobody", "en")),
        (failed, w["no_change"]),
    ):
        block = review(x, run_facts(tiny_run), "en").first[2]
        assert (block.kind, block.rows) == ("lines", ((said,),))
        assert said != none


def test_what_a_person_must_fill_has_a_field(tiny_run: Run, explained: Explanation) -> None:
    w = section("review", "en")
    fields = {r[0] for r in review(explained, run_facts(tiny_run), "en").first[-1].rows}
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
