"""What a reason's leading fact goes with among the bank's own customers: a reason says what the model did with a fact, a link
what customers did who stand where this one stands in it, beside all others.

Counted over customers whose outcome is known and that training did not learn from, one row each: all of those that the dataset
had, where the run keeps their sums (`ple_model.outcomes`; the customer may be one of them), else those of its sample, without
the customer. A number parts them at the middle of all, from which effects are counted; where the customer lies between that of
the sample and that of all, the sample speaks. The two differ where the 95 % interval of the difference leaves 0 out: Newcombe's
of two shares (Newcombe 1998, method 10), the normal one of two means (Welch 1938). No cause is looked for: a link is what was
seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.explain.hours import NONE, SPREAD, hour_of
from analysis.explain.origin.fitted import weekly_of
from analysis.explain.origin.told import CIRCLE
from analysis.explain.origin.weeks import weekly
from analysis.explain.reasons import LEAST
from analysis.explain.source_columns import CATEGORY
from analysis.i18n import catalogue, phrase
from analysis.naming import did_said
from analysis.results.explanation_parts import Link, LinkSide, LinkVerdict, Reason
from analysis.wording import quantity
from ple_model.data.derived.hmm import N_STATES
from ple_model.numerals import LANGUAGES, Language, share
from ple_model.outcomes import ABOVE, AT, BELOW, CLUSTER, Moments
from ple_model.tasks import HMM_MODES
from ple_model.wilson import Z95, wilson

if TYPE_CHECKING:
    from analysis.explain.origin.teller import Teller
    from analysis.explain.reasons import Subject

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
ENOUGH = 20
"""Fewer customers on a side tell nothing: by judgement, as the two limits below."""
CASES = 10
"""Nor do fewer with the outcome, or without it, on both sides together."""
SIDES: dict[LinkSide, int] = {"below": BELOW, "equal": AT, "above": ABOVE}
WEEKLY = ("spend", "purchases", "deposit_in")
"""Sums of weeks that customers are parted by."""
SLIGHT = 1.1
"""Times the one mean is the other up to which a difference, though no chance, is called slight: by judgement."""
SOUGHT = 4
"""Times as many reasons are sought as are told: some may be none to tell."""
NEAR = 3.0
"""Hours either way within which a usual hour is about the same."""


@dataclass(frozen=True)
class Stand:
    """Where the customer stands in a fact. `known` and `alike` [rows]: those of whom it says anything, those who stand there
    too."""

    column: str
    side: LinkSide
    known: Mask
    alike: Mask
    middle: float | None = None
    """In the column's unit."""
    member: int | None = None
    """Of a group or a state, which."""


class Links:
    """The links of one customer's reasons for one task (and class)."""

    def __init__(self, teller: Teller, subject: Subject) -> None:
        self.teller, self.subject = teller, subject
        self.peers, self.schema = teller.explainer.peers, teller.schema
        self.spec = teller.explainer.model.tasks[teller.task]

    def of(self, reason: Reason) -> Link | None:
        """None where no outcome is known, or the reason is no fact that customers can be parted by."""
        stand = None if self.outcome is None else self._stand(reason)
        if stand is None or self.outcome is None:
            return None
        counted = self._counted(stand)
        if counted is not None:
            stand, here, there = counted
        else:
            known = stand.known & np.isfinite(self.outcome)
            here, there = (Moments.of(self.outcome[known & side]) for side in (stand.alike, ~stand.alike))
        if not here.n or not there.n:
            return None
        low, high = self._apart(here, there)
        return self._told(reason, stand, here, there, low, high, everyone=counted is not None)

    def _counted(self, stand: Stand) -> tuple[Stand, Moments, Moments] | None:
        """(where the customer stands, who stands there too, the others) among all held-out customers; None where the run does
        not keep that."""
        kept, target = self.teller.explainer.outcomes, self.teller.target or 0
        if kept is None:
            return None
        if stand.member is not None:
            found = kept.members(self.teller.task, target, stand.column, stand.member)
            return None if found is None else (stand, *found)
        column = self.schema.index.get(stand.column)
        sides = None if column is None or stand.side not in SIDES else kept.sides(self.teller.task, target, column)
        if column is None or sides is None:
            return None
        own, middle = self.teller.own_and_middle(column)[0], float(kept.middles[column])
        at = (own >= middle) + (own > middle)
        if stand.side != "equal" and at != SIDES[stand.side]:
            return None
        others = [x for i, x in enumerate(sides) if i != at]
        told = None if stand.middle is None else float(self.teller.inverse(kept.middles[None])[0, column])
        return replace(stand, middle=told), sides[at], others[0] + others[1]

    def agrees(self, column: str, effect: float) -> bool | None:
        """Whether customers who stand where this one stands in a column went the way of `effect`, among all held-out ones; None
        where the run does not keep that, or the difference may be chance."""
        index = self.schema.index.get(self.teller.parted_by(column))
        stand = None if index is None or CIRCLE.search(column) else self._number(index)
        counted = None if stand is None else self._counted(stand)
        if counted is None or not counted[1].n or not counted[2].n:
            return None
        _, here, there = counted
        low, high = self._apart(here, there)
        verdict = self._verdict(effect, here, there, low, high)
        return None if verdict in ("few", "none") else verdict == "same"

    @cached_property
    def outcome(self) -> Array | None:
        """[rows]: 1 or 0 for what came true or did not, or the number; NaN where it is not known, the model learned from it, or
        it is the customer's own. None where the sample has no such labels."""
        e, target = self.teller.explainer, self.teller.target
        labels = e.targets.get(self.teller.task)
        if labels is None or labels.dim() != 1:
            return None
        y = labels.double().numpy()
        if self.subject.probability:
            value = np.where(y >= 0, y == (1 if target is None else target), np.nan)
        else:
            value = np.expm1(y) if self.spec.log_scale else y
        own = np.array([c == self.teller.batch.customer_id[0] for c in e.customers])
        return np.where(e.unseen & ~own, value, np.nan)

    # --- where the customer stands

    def _stand(self, reason: Reason) -> Stand | None:
        first = reason.told[0] if reason.told else ""
        if not reason.matter and not self.schema.own and not set(reason.sources) <= set(self.schema.index):
            return self._topic(reason)
        if CIRCLE.search(first):
            return self._hour(first)
        column = self.schema.index.get(self.teller.parted_by(first))
        return None if column is None else self._number(column)

    def _number(self, column: int) -> Stand | None:
        """Above or below the middle, or the same answer of a yes or no; or among those who have nothing to tell either."""
        c, columns = self.schema.columns[column], self.teller.columns
        if self.teller.cell(c.name) == "nothing":
            there, told = self.peers.parts[c.part], self.peers.said(column)
            return Stand(c.name, "nothing", there, ~told)
        if not columns.known[column]:
            return None
        known, values = self.peers.said(column), self.peers.features[:, column]
        own, middle = self.teller.own_and_middle(column)
        if c.unit in ("flag", CATEGORY):
            return Stand(c.name, "equal", known, np.abs(values - own) < 1e-4)
        if own == middle:
            return None
        side: LinkSide = "above" if own > middle else "below"
        return Stand(c.name, side, known, values > middle if own > middle else values < middle, float(columns.typical[column]))

    def _hour(self, name: str) -> Stand | None:
        """Those whose purchases keep to about the same hour, or like the customer's to none."""
        i, j = (self.schema.index[name.replace("_sin_", f"_{x}_").replace("_cos_", f"_{x}_")] for x in ("sin", "cos"))
        known = self.peers.said(i) & self.peers.said(j)
        values = self._hours
        close = np.hypot(values[:, 0], values[:, 1])
        own, kept = hour_of(float(self.teller.columns.own[i]), float(self.teller.columns.own[j]))
        known &= close >= NONE
        if kept < NONE:
            return None
        if kept < SPREAD:
            return Stand(name, "spread", known, close < SPREAD)
        hours = np.arctan2(values[:, 0], values[:, 1]) * 12 / np.pi
        apart = np.abs((hours - own + 12) % 24 - 12)
        return Stand(name, "hour", known, (close >= SPREAD) & (apart <= NEAR))

    @cached_property
    def _hours(self) -> Array:
        """[rows, 2] mean sine and cosine of purchases' hours."""
        at = [next(i for n, i in self.schema.index.items() if n.startswith(f"hour_mean_{x}_")) for x in ("sin", "cos")]
        found: Array = self.teller.inverse(self.peers.features)[:, at]
        return found

    def _topic(self, reason: Reason) -> Stand | None:
        """Members of the customer's group, or customers whose latest days or months are of the same kind."""
        customer, name = self.teller.path.customer, reason.sources[0]
        if name == "mamba_temporal":
            return self._weeks(reason)
        if name in ("cluster_probs", "gmm"):
            known = self.peers.cluster >= 0
            own = int(customer.cluster_ids[0])
            return Stand(CLUSTER, "group", known, self.peers.cluster == own, member=own)
        if name.removeprefix("hmm_") in HMM_MODES and name in self.peers.fields:
            states = self.peers.fields[name][:, :N_STATES].argmax(1)
            own = int(getattr(customer, name)[0, :N_STATES].argmax())
            kind: LinkSide = "days" if name == "hmm_journey" else "months"
            return Stand(name, kind, self.peers.present[name], states == own, member=own)
        column = self.schema.index.get(reason.told[0]) if name == "hierarchy_features" else None
        return None if column is None else self._number(column)

    def _weeks(self, reason: Reason) -> Stand | None:
        """Of the weeks that are named, the sum that moved most: whose lies on the same side of the middle as the customer's."""
        said, known = self.teller("mamba_temporal", reason.contribution), weekly_of(self.teller.explainer)
        if said is None or known is None or said.counted not in known[0] or self.teller.days is None:
            return None
        sums, there = known[0][said.counted][:, list(said.weeks)].sum(1), known[1]
        own = float(weekly(self.teller.days.txn[None])[said.counted][0, list(said.weeks)].sum())
        middle = float(np.median(sums[there]))
        if own == middle:
            return None
        side: LinkSide = "above" if own > middle else "below"
        return Stand(said.counted, side, there, sums > middle if own > middle else sums < middle)

    # --- how far apart they are

    def _apart(self, here: Moments, there: Moments) -> tuple[float, float]:
        """95 % interval of the difference of the two means."""
        a, b = here.mean, there.mean
        if self.subject.probability:
            low, high = wilson([here.total, there.total], (here.n, there.n))
            down, up = np.hypot(a - low[0], high[1] - b), np.hypot(high[0] - a, b - low[1])
            return a - b - float(down), a - b + float(up)
        spread = math.sqrt(here.variance / here.n + there.variance / there.n)
        return a - b - Z95 * spread, a - b + Z95 * spread

    def _verdict(self, effect: float, here: Moments, there: Moments, low: float, high: float) -> LinkVerdict:
        cases = int(here.total + there.total) if self.subject.probability else CASES
        without = here.n + there.n - cases if self.subject.probability else CASES
        if min(here.n, there.n) < ENOUGH or min(cases, without) < CASES:
            return "few"
        if low <= 0 <= high:
            return "none"
        return "same" if (low > 0) == (effect > 0) else "other"

    # --- in words

    def _told(
        self, reason: Reason, stand: Stand, here: Moments, there: Moments, low: float, high: float, *, everyone: bool
    ) -> Link:  # fmt: skip
        verdict = self._verdict(reason.contribution, here, there, low, high)
        en, ko = (self._said(reason, stand, here, there, verdict, x) for x in LANGUAGES)
        return Link(
            stand.column, stand.side, stand.middle, here.n, there.n, here.mean, there.mean,
            float(low) if np.isfinite(low) else None, float(high) if np.isfinite(high) else None, verdict, everyone, en, ko,
        )  # fmt: skip

    def _said(
        self, reason: Reason, stand: Stand, here: Moments, there: Moments, verdict: LinkVerdict, language: Language
    ) -> str:  # fmt: skip
        first = reason.told[0] if reason.told else ""
        facts = {"hour" if CIRCLE.search(n) else n for n in reason.told}
        named = self.teller.parted_by(first) != first
        several = len(facts) > 1 and stand.side not in ("group", "days", "months")
        key = "category" if named else "first" if several else "one"
        by = phrase(f"link.by.{stand.column if stand.column in WEEKLY else key}", language)
        kind = "rate" if self.subject.probability else "mean"
        text = phrase(
            f"link.{kind}", language, by=by, who=phrase(f"link.who.{stand.side}", language), n=f"{here.n:,}",
            others=f"{there.n:,}", here=self._value(here, language), there=self._value(there, language),
            did=did_said(
                self.subject.task, self.subject.task_title, self.subject.target_name, self.subject.cutoff, language
            ), hits=f"{here.total:,.0f}", other_hits=f"{there.total:,.0f}",
        )  # fmt: skip
        said = "slightly" if verdict == "same" and _alike(here.mean, there.mean) else verdict
        return f"{text} {phrase(f'link.verdict.{said}', language)}"

    def _value(self, y: Moments, language: Language) -> str:
        if self.subject.probability:
            return share(y.mean, 0.1)
        key = f"review.said_{self.spec.unit.replace(' ', '_')}"
        if key in catalogue(language):
            return phrase(key, language, value=f"{y.mean:.1f}")
        return quantity(y.mean, self.spec.unit, language)


def _alike(a: float, b: float) -> bool:
    """Whether the larger of two means is the other with less than a tenth on top."""
    return a * b > 0 and max(abs(a), abs(b)) < SLIGHT * min(abs(a), abs(b))


def _contradicted(r: Reason) -> bool:
    return r.link is not None and r.link.contradicts


def _unseen(r: Reason) -> bool:
    """Weeks that customers cannot be parted by are seen among none."""
    return r.sources[0] == "mamba_temporal" if r.link is None else r.link.unseen


@dataclass(frozen=True)
class Side:
    """The reasons of one side, strongest first, and those as strong that are none to tell."""

    told: tuple[Reason, ...]
    contradicted: tuple[Reason, ...]
    unseen: tuple[Reason, ...]
    """Of which nothing is seen among customers (`Link.unseen`)."""

    @staticmethod
    def of(told_by: Callable[[float, int], tuple[Reason, ...]], links: Links, sign: float, limit: int) -> Side:
        every = [replace(r, link=links.of(r)) for r in told_by(sign, SOUGHT * limit)]
        if links.teller.explainer.outcomes is None:  # what a sample shows is no ground to leave a reason out
            return Side(tuple(every[:limit]), (), ())
        told = [r for r in every if not (_contradicted(r) or _unseen(r))][:limit]
        least = abs(told[-1].contribution) if told else 0.0
        rest = [r for r in every if r not in told and abs(r.contribution) >= least]
        return Side(tuple(told), tuple(filter(_contradicted, rest)), tuple(filter(_unseen, rest)))

    def beside(self, other: Side, printed: float = 0.0) -> Side:
        """Without what is next to nothing beside the strongest of either side that is told, or less than what is `printed`."""
        strongest = max((abs(r.contribution) for r in (*self.told, *other.told)), default=0.0)
        least = max(LEAST * strongest, min(printed, strongest))

        def enough(rs: tuple[Reason, ...]) -> tuple[Reason, ...]:
            return tuple(r for r in rs if abs(r.contribution) >= least)

        return Side(enough(self.told), enough(self.contradicted), enough(self.unseen))
