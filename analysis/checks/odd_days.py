"""A check of customers' last days, for runs that carry a pre-trained encoder: can it explain them as well as those of customers
that it was watched on?

Beyond the k-th smallest of n validation customers' scores a new customer, drawn as they are, lies with a probability that is
itself Beta(n - k + 1, k) distributed, so the number of them among m is beta-binomial, whatever the scores look like, and with
the uncertainty of a limit that n customers set counted in. Where the two are not drawn alike it says by how much more than
chance they differ, not why: a run's test customers may lie at later cut-offs, and its encoder was stopped where it was best on
validation customers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, Proof, check, need_rows
from analysis.checks.thresholds import Limit, Thresholds
from analysis.stats.odd_days import OddDays, OddGroup
from analysis.stats.run import Statistics

CHANCE = Limit(
    "odd_days_chance",
    0.001,
    "Chance of so many customers with last days beyond those of 99 % of the validation customers, where both are drawn alike.",
    "one in a thousand, as of other chances here, where both are drawn alike; the share follows from the numbers of customers",
)


def most_by_chance(customers: int, reference: int, rank: int, chance: float) -> int:
    """The largest number that is not rarer than `chance`."""
    return int(np.flatnonzero(chances_of(customers, reference, rank) >= chance)[-1])


def chances_of(customers: int, reference: int, rank: int) -> NDArray[np.float64]:
    """[customers + 1] of 0 or more, 1 or more, and so on, of new `customers` beyond the `rank`-th smallest of `reference`
    scores, all drawn alike."""
    a, b = reference - rank + 1, rank
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, customers + reference + 1)))])

    def log_beta(p: NDArray[np.int64], q: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(log_factorial[p - 1] + log_factorial[q - 1] - log_factorial[p + q - 1])

    x = np.arange(customers + 1)
    ways = log_factorial[customers] - log_factorial[x] - log_factorial[customers - x]
    each = np.exp(ways + log_beta(x + a, customers - x + b) - log_beta(np.array(a), np.array(b)))
    chances = np.minimum(1.0, np.cumsum(each[::-1])[::-1])
    chances[0] = 1.0
    return np.asarray(chances)


def _unexplained(s: Statistics) -> Statistics:
    """One customer in ten where chance has one in a hundred."""
    groups = (OddGroup("2025-05-01", "active", 500, 52), OddGroup("2025-05-01", "dormant", 100, 8))
    found = OddDays(sequence="txn_seq", last=14, split="validation", reference=900, rank=892, groups=groups, day="2025-04-28")
    return replace(s, odd_days=replace(found, day_customers=40))


@check(
    "DATA-ODD-DAYS", "The last days of customers are as easy to explain as those of validation customers.",
    proof=Proof(_unexplained, "warning", "txn_seq"), limits=(CHANCE,),
    unplantable="no run of the benchmark carries a pre-trained encoder; tests/analysis/test_odd_days.py plants days in one",
)  # fmt: skip
def odd(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """More customers beyond the validation customers' 99th percentile of the anomaly score than chance allows."""
    x = s.odd_days
    if x is not None and x.reason:
        raise NotMeasured(x.reason)
    if x is None or not x.split:
        raise NotMeasured("This analysis is older: run `ple diagnose` again to ask the run's encoder about the last days.")
    need_rows(x.customers, t, "customers with seen last days")
    most = most_by_chance(x.customers, x.reference, x.rank, t[CHANCE])
    if x.odd <= most:
        return
    cutoffs, segments = _most(x, "cutoff"), _most(x, "segment")
    experts = [e for e in s.facts.experts if x.sequence in s.facts.reads.get(e, ())]
    yield Finding(
        "DATA-ODD-DAYS",
        "warning",
        x.sequence,
        f"{x.odd} of {x.customers} customers have last days that the run's encoder cannot explain: beyond those of 99 % of "
        f"the validation customers, where chance has at most {most}.",
        (
            Evidence("share of customers with odd last days", x.odd / x.customers, most / x.customers, x.customers),
            Evidence("validation customers that say what is usual", float(x.reference), None, x.reference),
            Evidence("most of them at this cut-off", cutoffs[1], None, x.odd, cutoffs[0]),
            Evidence("most of them in this segment", segments[1], None, x.odd, segments[0]),
            *([Evidence("oddest on the same day", float(x.day_customers), None, x.odd, x.day)] if x.day else []),
            Evidence("experts that read it", float(len(experts)), text=", ".join(experts)),
        ),
        None,
        "These days are unlike those of the validation customers: a season or an event at later cut-offs, a feed that delivers "
        "otherwise, or another kind of customer.",
        Fix(
            "", None, None,
            "Filter the customers by `anomaly` above 99 and look at their days on the page of sequences; where the days are "
            "sound, pre-train the encoder on newer ones.",
        ),
    )  # fmt: skip


def _most(x: OddDays, what: str) -> tuple[str, float]:
    """The cut-off or segment that most of the odd customers are of, and how many."""
    count: Counter[str] = Counter()
    for g in x.groups:
        count[getattr(g, what)] += g.odd
    name, n = count.most_common(1)[0]
    return name, float(n)
