"""One explanation of the tiny run for the tests of the report, with skill and passed checks: whether so small a model has them
is no matter here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.explain.customer import explain
from analysis.explain.faithful import judge
from analysis.explain.lookup import customers
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Standing
from ple_model.run import Run


@pytest.fixture(scope="session")
def explained(tiny_run: Run) -> Explanation:
    found = explain(tiny_run, customers(tiny_run, limit=1)[0].customer_id, "nba")
    checks = judge(0.0, None, None, enough=True)
    return replace(found, faithfulness=checks, skill=Standing(0.21, 0.15, 0.27, 400, has_skill=True))
