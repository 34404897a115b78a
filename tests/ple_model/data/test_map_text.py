"""Whatever text a header or a cell holds, the map that is written says exactly that text when it is read again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ple_model.data.importers.map_text import LONGEST_KEY, comment, key_lines, one_line, scalar
from ple_model.data.importers.source_map import OPEN, TableMap, load_map
from ple_model.data.importers.starter_lines import writing_lines

AWKWARD = (
    "", " ", "a\nb", "a\r\nb", "\x85\u2028\u2029", "\ufeff", "\x00\x1b\x7f", "it's: \"x\" # y", "- a", "? a", "<<", "=", "~",
    "?", "yes", "2001-99-99", "0b_", "&a *a !!float x", "%d", "---", "...", "\\", "한글 \U0001f600", "\ufffe\uffff", "k" * 2000,
)  # fmt: skip
TEXT = st.one_of(st.text(), st.sampled_from(AWKWARD), st.text(min_size=LONGEST_KEY - 3, max_size=LONGEST_KEY + 3))
"""All of Unicode but lone surrogates, which no file that was decoded can hold."""


@settings(deadline=None)
@given(TEXT)
def test_a_text_is_one_line_of_yaml_and_comes_back(text: str) -> None:
    written = scalar(text)
    assert len(written.splitlines()) == 1
    assert yaml.safe_load(written) == text


@settings(deadline=None)
@given(TEXT, TEXT, st.sampled_from(["", "  ", "        "]))
def test_a_key_of_any_length_comes_back_with_its_value(key: str, value: str, indent: str) -> None:
    assert yaml.safe_load("\n".join(key_lines(indent, key, scalar(value)))) == {key: value}
    opened = [*key_lines(indent, key, None), *key_lines(indent + "  ", value, "keep")]
    assert yaml.safe_load("\n".join(opened)) == {key: {value: "keep"}}


@settings(deadline=None)
@given(TEXT)
def test_a_remark_for_a_person_can_end_no_line_and_no_comment(text: str) -> None:
    assert one_line(text).isprintable()
    assert yaml.safe_load(f"a: 1  {comment(text)}\nb: 2") == {"a": 1, "b": 2}


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(TEXT, st.dictionaries(TEXT, st.sampled_from(["keep", "drop", OPEN]), min_size=1, max_size=4), max_size=3),
    st.dictionaries(TEXT, st.sampled_from(["groceries", None, OPEN]), min_size=1, max_size=4),
    TEXT,
)
@example({k: dict.fromkeys(AWKWARD, "drop") for k in AWKWARD}, dict.fromkeys(AWKWARD), "a\nb: #")
def test_a_whole_map_is_read_as_it_was_meant(
    rows: dict[str, dict[str, str]], values: dict[str, str | None], column: str
) -> None:
    meant = TableMap(columns={"amount": (column,)}, rows=rows, values={"mcc_l1": values}, formats={"ts": column})
    head = ["tables:", "  transactions:", f"    file: {scalar(column)}  {comment(column)}", "    columns:"]
    lines = [*head, f"      amount: {scalar(column)}  {comment(column)}", *writing_lines(meant), f"    {comment(column)}"]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "map.yaml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        read = load_map(path).tables["transactions"]
    assert read.file == column
    assert (read.columns, read.rows, read.values, read.formats) == (meant.columns, meant.rows, meant.values, meant.formats)
