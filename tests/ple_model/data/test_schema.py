"""The schema file: complete, in order, readable in two languages, and equal to the declarations that build the columns."""

from __future__ import annotations

import re

import pytest
import yaml

from ple_model.data.features.compute import STAGES
from ple_model.data.features.declared import DECLARED, entries
from ple_model.data.features.relations import RELATIONS, SHARED
from ple_model.errors import UserError
from ple_model.fields import N_FEATURES, N_NORMALIZED
from ple_model.schema import MERCHANT_SLICE_PARTS, PARTS, SCHEMA_PATH, load_schema, parse_schema


def test_there_are_734_columns_of_which_90_stay_raw() -> None:
    schema = load_schema()
    assert len(schema.columns) == N_FEATURES == sum(w for *_, w in PARTS)
    assert schema.normalized == slice(0, N_NORMALIZED)
    assert schema.raw == slice(N_NORMALIZED, N_FEATURES)
    assert all((c.scale == "raw") == (c.index >= N_NORMALIZED) for c in schema.columns)


def test_names_are_unique_and_speak() -> None:
    names = load_schema().names
    assert len(set(names)) == N_FEATURES
    for name in names:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", name), name
        assert not re.fullmatch(r"(feature|column|col|f|x)_?\d+", name), name


@pytest.mark.parametrize(("group", "part", "width"), PARTS)
def test_each_part_has_its_width_and_group(group: str, part: str, width: int) -> None:
    columns = load_schema().columns[load_schema().parts[part]]
    assert len(columns) == width
    assert {(c.group, c.part) for c in columns} == {(group, part)}


def test_the_merchant_slice_of_the_reference_is_27_columns() -> None:
    parts = load_schema().parts
    numbers = [i for p in MERCHANT_SLICE_PARTS for i in range(parts[p].start, parts[p].stop)]
    assert numbers == [*range(594, 600), *range(623, 644)]


def test_every_column_has_a_sentence_in_both_languages() -> None:
    for c in load_schema().columns:
        assert c.sentence_en[0].isupper(), c.name
        assert c.sentence_en.endswith("."), c.name
        assert len(c.sentence_en.split()) >= 4, c.name
        assert c.sentence_ko.endswith("니다."), c.name
        assert re.search("[가-힣]{2}", c.sentence_ko), c.name
        assert c.sentence("ko") == c.sentence_ko


def test_no_two_columns_share_a_sentence() -> None:
    for language in ("en", "ko"):
        sentences = [c.sentence(language) for c in load_schema().columns]
        twice = {s for s in sentences if sentences.count(s) > 1}
        assert not twice


def test_the_file_equals_the_declarations_that_build_the_columns() -> None:
    document = yaml.safe_load(SCHEMA_PATH.read_text(encoding="utf-8"))
    assert document["columns"] == entries(), "run python -m ple_model.data.features"


def test_every_column_is_built_by_sql_or_by_a_named_model() -> None:
    for part in DECLARED:
        for c in part.columns:
            assert bool(c.sql) != (c.source == "model"), c.name
            assert c.built().strip(), c.name
            assert c.source in {*RELATIONS, "model", "final"}, c.name


def test_every_relation_is_used() -> None:
    read = set(STAGES)
    for name, sql in RELATIONS.items():
        read |= {other for other in RELATIONS if other != name and re.search(rf"\b(FROM|JOIN) {other}\b", sql)}
    assert set(RELATIONS) == read
    assert set(RELATIONS) >= SHARED


def test_age_is_read_by_no_declaration() -> None:
    for sql in (*RELATIONS.values(), *(a for s in STAGES.values() for a in s.values())):
        assert "birth_year" not in sql
        assert "age_band" not in sql


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="recency_days"):
        load_schema().column("recency_day")


def test_all_faults_of_a_schema_are_reported_at_once() -> None:
    columns = entries()
    columns[1] = {**columns[1], "name": columns[0]["name"]}
    columns[2] = {**columns[2], "part": "category"}
    columns[3] = {**columns[3], "sentence_ko": ""}
    columns[4] = {**columns[4], "colour": "red"}
    with pytest.raises(UserError) as caught:
        parse_schema(yaml.safe_dump({"version": 1, "columns": columns[:-1]}))
    message = str(caught.value)
    for expected in ("repeats the name 'recency_days'", "base/category", "sentence_ko", "colour", "733 columns"):
        assert expected in message


def test_a_file_without_columns_is_refused() -> None:
    with pytest.raises(UserError, match="columns"):
        parse_schema("version: 1")
