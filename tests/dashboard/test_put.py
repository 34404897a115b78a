"""Text of a page: dollars stay dollars."""

from __future__ import annotations

from dashboard.components.put import literal


def test_two_amounts_in_a_sentence_are_no_formula() -> None:
    assert literal("from $10.00 to **US$20.00**") == r"from \$10.00 to **US\$20.00**"
    assert literal("`a$b` and $1") == r"`a$b` and \$1"
