"""Text of a page: dollars stay dollars, and ranges are not struck out."""

from __future__ import annotations

from dashboard.components.put import literal


def test_two_amounts_in_a_sentence_are_no_formula() -> None:
    assert literal("from $10.00 to **US$20.00**") == r"from \$10.00 to **US\$20.00**"
    assert literal("`a$b` and $1") == r"`a$b` and \$1"


def test_what_lies_between_two_ranges_is_not_struck_out() -> None:
    assert literal("9~10주 전, `a~b`, 12~16주 전") == r"9\~10주 전, `a~b`, 12\~16주 전"
