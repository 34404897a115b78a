"""Cohort filters: they survive the URL, never enter SQL as text, and reject what does not parse."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.cohort import OPS, CohortFilter, from_url, to_url, where
from ple_model.errors import UserError

VALUES = st.one_of(
    st.text(min_size=1, max_size=12), st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), st.booleans()
)


@st.composite
def filters(draw: st.DrawFn) -> CohortFilter:
    op = draw(st.sampled_from(OPS))
    size = {"between": 2}.get(op, 1)
    count = draw(st.integers(1, 4)) if op in ("in", "not_in") else size
    values = tuple(draw(st.lists(VALUES, min_size=count, max_size=count)))
    return CohortFilter(draw(st.text(min_size=1, max_size=12)), op, values)  # type: ignore[arg-type]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(filters(), max_size=3))
def test_filters_survive_the_url(chosen: list[CohortFilter]) -> None:
    assert from_url(to_url(chosen)) == tuple(chosen)


def test_no_filter_is_an_empty_string() -> None:
    assert to_url(()) == ""
    assert from_url("") == ()
    assert where(()) == ("", [])


def test_values_travel_as_parameters_and_columns_are_quoted() -> None:
    clause, values = where([CohortFilter('a"b', "eq", ("x'; DROP TABLE rows",)), CohortFilter("n", "between", (1.0, 2.0))])
    assert clause == 'WHERE "a""b" = ? AND "n" BETWEEN ? AND ?'
    assert values == ["x'; DROP TABLE rows", 1.0, 2.0]


@pytest.mark.parametrize("text", ["segment", "segment:like:x", "a:eq:n!abc"])
def test_a_broken_url_names_the_piece(text: str) -> None:
    with pytest.raises(UserError, match=r"cohort filter"):
        from_url(text)


def test_between_needs_two_values() -> None:
    with pytest.raises(UserError, match="takes 2"):
        CohortFilter("x", "between", (1.0,))
