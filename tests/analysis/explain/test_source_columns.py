"""Features that come from one column of a table of one's own are one reason, and move together."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.explain.reasons import Subject, reasons
from analysis.explain.source_columns import by_source, columns_of
from analysis.results.explanation_parts import FeatureContribution
from ple_model.own_schema import load_own, own_schema, save_own
from ple_model.schema import FeatureColumn, FeatureSchema, load_schema


def column(i: int, name: str, source: str, part: str, unit: str, scale: str = "linear") -> FeatureColumn:
    return FeatureColumn(
        i, name=name, group="own", part=part, unit=unit, scale=scale, how=f"column: {source}", empty="",
        sentence_en=f"{source}.",
        sentence_ko=f"{source}.",
    )  # fmt: skip


SCHEMA = own_schema(
    (
        column(0, "job_is_a", "job", "job", "flag"), column(1, "job_is_b", "job", "job", "flag"),
        column(2, "age", "age", "age", "years"), column(3, "gain", "gain", "gain", "count", "log"),
        column(4, "gain_raw", "gain", "gain_raw", "count", "raw"),
    ),
    frozenset({"age"}),
)  # fmt: skip


def told(name: str, value: float, typical: float, contribution: float) -> FeatureContribution:
    c = SCHEMA.columns[SCHEMA.index[name]]
    said = f"Job: '{name[-1]}'." if name.startswith("job") else c.sentence_en
    return FeatureContribution(name, c.part, c.group, c.unit, value, typical, contribution, said, said)


FEATURES = (
    told("gain", 900, 100, 0.30), told("job_is_b", 1, 0, 0.25), told("job_is_a", 0, 1, 0.2), told("gain_raw", 900, 100, 0.1),
    told("age", 20, 40, 0.05),
)  # fmt: skip


def test_contributions_of_one_column_add_up() -> None:
    found = by_source(SCHEMA, FEATURES)
    assert [(f.name, pytest.approx(f.contribution)) for f in found] == [("job_is_b", 0.45), ("gain", 0.4), ("age", 0.05)]
    assert sum(f.contribution for f in found) == pytest.approx(sum(f.contribution for f in FEATURES))


def test_a_category_is_one_sentence_with_both_values() -> None:
    subject = Subject("churn", "Churn", "", True, "")
    first, second, third = reasons(by_source(SCHEMA, FEATURES), {}, subject, 1.0)
    assert first.en == "Job: 'b', where most have 'a'; this raises the probability of churn by 45.0 points."
    assert first.ko.startswith("Job: 'b'(과반은 'a'). ")
    assert second.en.startswith("gain: 900")
    assert third.en.startswith("age: 20 years")


def test_the_columns_of_one_source_are_known_together() -> None:
    assert columns_of(SCHEMA, "job_is_b") == [0, 1]
    assert columns_of(SCHEMA, "gain") == [3, 4]


def test_columns_of_the_package_stay_as_they_are() -> None:
    schema: FeatureSchema = load_schema()
    assert columns_of(schema, "recency_days") == [schema.index["recency_days"]]
    assert by_source(schema, FEATURES) == FEATURES


def test_what_is_fixed_is_kept_with_the_run(tmp_path: Path) -> None:
    save_own(SCHEMA, tmp_path)
    kept = load_own(tmp_path)
    assert kept is not None
    assert kept.fixed == {"age"}
    with pytest.raises(ValueError, match="'agee', which 'fixed' names"):
        own_schema(SCHEMA.columns, frozenset({"agee"}))
