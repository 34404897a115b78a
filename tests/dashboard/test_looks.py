"""What a number or a label looks like to the reader."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from analysis.checks.finding import Evidence
from analysis.figures import transfer
from analysis.results.whatif import TaskEffect
from dashboard.components import cards
from dashboard.i18n import catalogue, sentences

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (Evidence("absent share", 1.0, 0.99), "100%"),
        (Evidence("dead latents", 0.384, 0.5), "38.4%"),
        (Evidence("normalised entropy", 2.0e-7), "< 0.001"),
        (Evidence("gradient norm", 3e-10, 1e-9), "3.0e-10"),
        (Evidence("epochs", 12.0), "12"),
    ],
)
def test_evidence_reads_as_a_person_would_say_it(item: Evidence, text: str) -> None:
    assert cards.written(item, item.value) == text


def test_a_threshold_is_written_like_its_value() -> None:
    assert cards.written(Evidence("absent share", 1.0, 0.99), 0.99) == "99.0%"


def _evidence_names() -> set[str]:
    """Names that checks give to their evidence, where they are written out."""
    return {
        node.args[0].value
        for path in (ROOT / "analysis" / "checks").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Evidence"
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }


def test_every_named_share_is_an_evidence_of_some_check() -> None:
    assert cards.SHARES - _evidence_names() == set()


def test_every_evidence_has_a_korean_name() -> None:
    assert _evidence_names() - {k.removeprefix("evidence.") for k in catalogue("ko") if k.startswith("evidence.")} == set()


def test_labels_with_numbers_in_them_are_translated() -> None:
    assert sentences.translate("first axis (87% of variance)", "ko", figures=True) == "첫째 축 (분산의 87%)"
    assert sentences.translate("ctr, forced to", "ko", figures=True).startswith("ctr")
    assert sentences.translate("nothing known", "ko", figures=True) == "nothing known"


def test_an_amount_has_no_decision_that_could_flip() -> None:
    amount = TaskEffect("ltv", "regression", 100, 0.1, "standard deviations", 0)
    choice = TaskEffect("ctr", "binary", 100, 0.1, "probability", 0)
    assert amount.flip_share != amount.flip_share
    assert choice.flip_share == 0


def test_arrows_of_the_transfer_graph_are_seen_in_dark_mode() -> None:
    effect = transfer.EdgeEffect("ctr:cvr", "ctr", "cvr", 0.1, 2e-5, float("nan"), 0.1)
    figure = transfer.dag([effect])
    assert figure.layout.annotations[0].arrowcolor == transfer.GREY
    assert figure.data[0].text[0] == "< 0.0001"
