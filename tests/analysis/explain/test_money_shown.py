"""A run whose amounts have a currency says them in it: sentences, report, customer edits."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest

from analysis.explain.customer import explain
from analysis.explain.lookup import customers
from analysis.explain.report import to_html
from analysis.results.explanation import Explanation
from analysis.wording import quantity
from ple_model.run import Run

POWER = re.compile(r"\d[eE][+-]\d")


@pytest.fixture(scope="module")
def found(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    folder = tmp_path_factory.mktemp("dollars") / "run"
    shutil.copytree(tiny_run.path, folder)
    path = folder / "preprocess" / "context.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"currency": "USD"}))
    return explain(folder, customers(tiny_run)[0].customer_id, "ltv")


def test_the_prediction_and_its_columns_are_in_the_currency_of_the_run(found: Explanation) -> None:
    assert found.unit == "USD"
    assert "currency" not in {f.unit for f in found.features} | {p.unit for p in found.predictions}
    assert found.shown(found.prediction) == f"${found.prediction:,.2f}"
    assert found.shown(1234.5, "ko") == "US$1,234.50"
    assert found.shown(1e-9, signed=True) == "$0.00"
    assert f"${found.prediction:,.2f}" in str(found)
    assert found.headline("ko").endswith(f"생애 가치: US${found.prediction:,.2f}")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("unit", ["USD", "KRW", "currency"])
def test_the_report_says_every_amount_as_the_language_does(found: Explanation, unit: str, language: str) -> None:
    lang = "ko" if language == "ko" else "en"
    money = tuple(replace(f, unit=unit, value=1.81e6) if f.unit == "USD" else f for f in found.features)
    own = tuple(replace(p, unit=unit) if p.unit == "USD" else p for p in found.predictions)
    checks = tuple(replace(c, passed=True) for c in found.faithfulness.checks)
    told = replace(
        found, unit=unit, prediction=1.81e6, features=money, predictions=own,
        faithfulness=replace(found.faithfulness, checks=checks),
        audit={}, reasons=(), against=(), counterfactual=None,
    )  # fmt: skip
    page = to_html(told, lang).split("</style>")[1]
    assert f"<b>{quantity(1.81e6, unit, lang)}</b>" in page
    assert {"USD": "1,810,000.00", "KRW": "₩1,810,000", "currency": ">1,810,000<"}[unit] in page
    assert not POWER.search(page)
    assert "currency" not in page
    assert "통화" not in page
