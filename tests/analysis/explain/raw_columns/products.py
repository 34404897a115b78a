"""The facts of columns, from the words of their sentences: credit and products held (see `raw_facts`)."""

from __future__ import annotations

import numpy as np

from tests.analysis.explain.raw_facts import Raw, even, fact, net, ratio


@fact("(?:raw_)?credit_limit_total")
def _limit(r: Raw) -> float | None:
    return sum(h["limit"] for h in r.lines) if r.lines else None


@fact("credit_balance_total")
def _used(r: Raw) -> float:
    return float(sum(h["balance"] for h in r.lines))


@fact("credit_utilisation")
def _utilisation(r: Raw) -> float | None:
    return ratio(_used(r), _limit(r) or 0.0)


@fact("credit_utilisation_max")
def _utilisation_max(r: Raw) -> float | None:
    return max((h["balance"] / h["limit"] for h in r.lines), default=None)


@fact("credit_line_count")
def _lines(r: Raw) -> float:
    return float(len(r.lines))


@fact("credit_limit_mean")
def _limit_mean(r: Raw) -> float | None:
    return ratio(_limit(r) or 0.0, len(r.lines))


@fact("credit_headroom")
def _headroom(r: Raw) -> float:
    return float(sum(h["limit"] - h["balance"] for h in r.lines))


@fact("credit_lines_stretched")
def _stretched(r: Raw) -> float:
    return float(sum(h["balance"] > 0.8 * h["limit"] for h in r.lines))


@fact("credit_(oldest|newest)_line_days")
def _line_age(r: Raw, which: str) -> float | None:
    ages = [h["age"] for h in r.lines]
    return (max if which == "oldest" else min)(ages, default=None)


@fact("credit_utilisation_change_84d")
def _utilisation_change(r: Raw) -> float | None:
    then = [h for h in r.lines if np.isfinite(h["before"])]
    limit = sum(h["limit"] for h in then)
    if not limit:
        return None
    return float(sum(h["balance"] for h in then) / limit - sum(h["before"] for h in then) / limit)


@fact("credit_spend_to_limit_28d")
def _spend_to_limit(r: Raw) -> float | None:
    return ratio(net(r.card.last(28)), _limit(r) or 0.0)


@fact("product_open_count")
def _open(r: Raw) -> float | None:
    return None if not r.held else float(len(r.open))


@fact("product_ever_count")
def _ever(r: Raw) -> float | None:
    return None if not r.held else float(len(r.held))


@fact("product_(opened)_90d", "product_(closed)_365d")
def _product_moves(r: Raw, which: str) -> float | None:
    if not r.held:
        return None
    if which == "opened":
        return float(sum(h["age"] <= 90 for h in r.held))
    return float(sum(h["closed"] is not None and h["closed"] <= 365 for h in r.held))


@fact("product_(oldest|newest)_days")
def _product_age(r: Raw, which: str) -> float | None:
    return (max if which == "oldest" else min)((h["age"] for h in r.open), default=None)


@fact("product_balance_total", "raw_balance_total")
def _balance(r: Raw) -> float | None:
    return float(sum(h["balance"] for h in r.open)) if r.open else None


@fact("raw_balance_largest")
def _balance_largest(r: Raw) -> float | None:
    return max((h["balance"] for h in r.open), default=None)


@fact("product_top_balance_share")
def _top_balance(r: Raw) -> float | None:
    return ratio(max((h["balance"] for h in r.open), default=0.0), sum(h["balance"] for h in r.open))


@fact("product_balance_entropy")
def _balance_entropy(r: Raw) -> float | None:
    return even(np.array([h["balance"] for h in r.open]))


@fact("product_statement_age_days")
def _statement(r: Raw) -> float | None:
    return min((h["stated"] for h in r.held), default=None)
