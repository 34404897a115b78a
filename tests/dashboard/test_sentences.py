"""Every sentence that a check can say and every label that a figure draws has its Korean, with the same values in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.i18n.sentences import templates
from analysis.stats.inputs import CAUSE_TEXT
from dashboard.i18n import LANGUAGES, catalogue, sentences
from dashboard.i18n.sentences import labels, localised, translate

ANALYSIS = Path(__file__).resolve().parents[2] / "analysis"
CHECKS, FIGURES = ANALYSIS / "checks", ANALYSIS / "figures"
SOURCES = sorted(p for p in CHECKS.glob("*.py") if p.stem not in ("__init__", "thresholds", "finding", "order", "reach"))
OTHERS = sorted(set(LANGUAGES) - {"en"})
NOT_SAID = ("Evidence", "Limit", "RuntimeError")
"""What is made of words that no finding says: numbers' names, the help of a threshold, programmers' errors."""
DRAWN = ("title", "title_text", "x_title", "y_title", "annotation_text", "bar", "name")
"""Arguments that a figure takes words of its own by."""
HANGUL = re.compile(r"[가-힣]")


def _forms(node: ast.expr) -> list[str]:
    """Every sentence an expression can become, with {} for what is filled in."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)]
    if isinstance(node, ast.IfExp):
        return _forms(node.body) + _forms(node.orelse)
    if isinstance(node, ast.BinOp):
        return [a + b for a in _forms(node.left) for b in _forms(node.right)]
    return []


def said(source: str) -> set[str]:
    """The sentences in a check's source: text with a blank in it outside docstrings and `NOT_SAID`."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NOT_SAID:
            return
        if isinstance(node, ast.keyword) and node.arg == "unplantable":  # said by `ple faults`, which speaks English
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.IfExp)):
            forms = [f for f in _forms(node) if " " in f.strip(", ")]
            found.update(forms)
            if forms:
                return
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(source))
    return found


@pytest.mark.parametrize("lang", OTHERS)
@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_every_sentence_of_a_check_is_in_the_catalogue(path: Path, lang: str) -> None:
    assert said(path.read_text(encoding="utf-8")) - {"rows", *templates(lang)} == set()


def drawn(source: str) -> set[str]:
    """The words in a figure's source that a reader sees: titles of figures, axes and colour bars, notes, names in legends."""
    found: set[str] = set()
    for call in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)):
        for word in call.keywords:
            if word.arg in DRAWN:
                found.update(_forms(word.value))
        if isinstance(call.func, ast.Name) and call.func.id in ("bars", "lines"):
            keys = [k for d in call.args[1:2] if isinstance(d, ast.Dict) for k in d.keys if k is not None]
            found.update(form for k in keys for form in _forms(k))
    return {f for f in found if re.search("[A-Za-z]{2}", f)}


@pytest.mark.parametrize("lang", OTHERS)
@pytest.mark.parametrize("path", sorted(FIGURES.glob("*.py")), ids=lambda p: p.stem)
def test_every_label_of_a_figure_is_in_the_catalogue(path: Path, lang: str) -> None:
    assert drawn(path.read_text(encoding="utf-8")) - set(labels(lang)) == set()


def test_a_label_that_nobody_translated_would_be_noticed() -> None:
    source = 'out = bars(names, {"one": a, key: b}, x_title=f"{n} rows" if n else "no rows")\nout.add_vline(0, name="zero")'
    assert drawn(source) == {"one", "{} rows", "no rows", "zero"}


def test_a_sentence_that_nobody_translated_would_be_noticed() -> None:
    assert said('yield Finding("X", f"{task} is new" + (" and odd." if odd else "."))') == {"{} is new and odd.", "{} is new."}


@pytest.mark.parametrize("lang", OTHERS)
def test_the_catalogue_uses_no_value_that_its_sentence_lacks(lang: str) -> None:
    wrong = {k for k, v in templates(lang).items() if any(int(i) >= k.count("{}") for i in re.findall(r"\{(\d+)\}", v))}
    assert wrong == set()


def test_values_move_to_their_place_in_the_translated_sentence() -> None:
    assert translate("nba puts 97% of its attention on deepfm alone.", "ko") == "nba 이(가) 주의의 97% 를 deepfm 하나에 둡니다."


def test_the_more_specific_of_two_sentences_is_taken() -> None:
    short = translate("cvr leans on ctr: the transfer is 3 times its own representation.", "ko")
    long = translate(
        "cvr leans on ctr: the transfer is 3 times its own representation, and cutting it flips 4% of decisions.", "ko"
    )
    assert "4%" not in short
    assert long.count("4%") == 1
    assert "representation" not in long


def test_phrases_inside_a_sentence_are_translated_too() -> None:
    said_ko = translate("`tda_diagrams`: only 1.00% of the slots are valid; 3.0% of the points die before they are born.", "ko")
    assert not re.search(r"[a-z]{2,} [a-z]{2,}", said_ko)
    cause = f"The input is missing ({CAUSE_TEXT['row']}), so it falls back; its weights are not the cause."
    assert CAUSE_TEXT["row"] not in translate(cause, "ko")


def test_a_finding_keeps_its_identity_and_numbers_in_every_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "language", lambda: "ko")
    english = Finding(
        "SAE-DENSE", "info", "sae", "12% of the latents fire in more than 10 % of rows: they name no concept.",
        (Evidence("dense latents", 0.12, 0.1, 500), Evidence("cause", None, text=CAUSE_TEXT["mask"])), "sae.density",
        "k is large beside the number of latents.", Fix("sae.k", 32, 16, "Lower k."),
    )  # fmt: skip
    found = localised(english)
    assert (found.id, found.subject, found.evidence[0], found.figure) == (
        "SAE-DENSE",
        "sae",
        english.evidence[0],
        "sae.density",
    )
    assert found.fix is not None
    assert found.fix.override() == "sae.k=16"
    assert all(HANGUL.search(text) for text in (found.verdict, found.cause, found.fix.text, found.evidence[1].text))


def test_text_that_no_check_says_stays_as_it_is() -> None:
    assert translate("Something else.", "ko") == "Something else."


def _names(source: str) -> set[str]:
    """The first words of every `Evidence` in a check's source; those made of a name at hand have a pattern of their own."""
    calls = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
    of = (c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "Evidence" and c.args)
    return {form for c in of for form in _forms(c.args[0]) if "{}" not in form}


@pytest.mark.parametrize("lang", OTHERS)
def test_every_number_of_a_finding_has_a_name(lang: str) -> None:
    known = {k.removeprefix("evidence.") for k in catalogue(lang) if k.startswith("evidence.")}
    found = set().union(*(_names(p.read_text(encoding="utf-8")) for p in SOURCES))
    assert len(found) > 100
    assert found - known == set()
