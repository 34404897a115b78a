"""One explanation of the tiny run for the tests of the report, with skill and passed checks: whether so small a model has them
is no matter here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.explain.customer import explain
from analysis.explain.faithful import judge
from analysis.explain.lookup import customers
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Standing
from analysis.review import reports
from ple_model.run import Run


@pytest.fixture(scope="session")
def explained(tiny_run: Run) -> Explanation:
    found = explain(tiny_run, customers(tiny_run, limit=1)[0].customer_id, "nba")
    checks = judge(0.0, None, None, enough=True)
    assert found.fallback is not None
    own = replace(found.fallback, marked=False)  # whichever of the tiny run's customers it is uncertain about
    return replace(found, faithfulness=checks, fallback=own, skill=Standing(0.21, 0.15, 0.27, 400, has_skill=True))


@pytest.fixture
def asked(tiny_run: Run, explained: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three customers and one who is none in `ids.txt`; explaining one is the row of another told of this customer."""
    ids = list(dict.fromkeys(c.customer_id for c in customers(tiny_run, limit=40)))[:3]
    (tmp_path / "ids.txt").write_text("\n".join([*ids, "nobody"]), encoding="utf-8")

    def explain_row(run: Run, data: object, row: int, task: str, **options: object) -> Explanation:
        name = str(run.sample().table(["customer_id"]).column(0)[row].as_py())
        return replace(explained, customer_id=name, task=task)

    monkeypatch.setattr(reports, "explain_row", explain_row)
    return ids
