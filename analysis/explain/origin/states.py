"""The states of the hidden Markov models in words: what such days or months hold, how many customers are in one, how long it
holds.

The daily states can be followed back: the customer's own days, filtered again, must end in the stored posterior; then the days
since the state last changed are known. Of the monthly ones a dataset keeps the most probable sequence of twelve months: where
it ends in the state that the posterior names, said is for how many months it has held and what the months before it were like.
Older datasets do not hold it; for how long such a state lasts on average is that of the fitted transitions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.explain.origin.days import Days
from analysis.explain.origin.told import REST, Columns, OriginSentence, listed
from analysis.i18n import phrase
from analysis.wording import quantity
from ple_model.data.build.artifacts import JOURNEY_DAYS
from ple_model.data.derived.hmm import N_STATES, HmmModel
from ple_model.data.derived.sequences import BEHAVIOR, DAILY, LIFECYCLE, MONTHLY
from ple_model.numerals import LANGUAGES, Language, number

Array = NDArray[np.float64]
AGREES = 0.02
CLEAR = 0.5
"""A state with less than half of the posterior is only the nearest."""
LEAST = 0.05
"""Emissions (counts, shares) below this are said to be none."""
OWN = {"lifecycle": ("purchase_count_28d", "spend_28d", "session_count_28d"),
       "behavior": ("avg_ticket_28d", "weekend_share_28d", "overnight_share_28d")}  # fmt: skip
"""The customer's own columns that stand beside a monthly state."""
COUNTED = ("spend", "purchases", "active_days", "sessions")
"""More of these is a busier month."""
LOGGED = ("spend", "purchases", "sessions", "deposit_in", "merchants", "mean_amount")


@dataclass(frozen=True, eq=False)
class States:
    """One fitted model of a run; `share` of the sample's customers by state."""

    mode: str
    model: HmmModel
    share: Array
    currency: str

    def emissions(self, state: int) -> dict[str, float]:
        """What a day or month in the state holds on average, in its own unit (logarithms: the middle of such)."""
        names = (
            DAILY
            if self.mode == "journey"
            else tuple(MONTHLY[i] for i in (LIFECYCLE if self.mode == "lifecycle" else BEHAVIOR))
        )
        means = self.model.mean[state] * self.model.scale + self.model.centre
        logged = LOGGED if self.mode != "journey" else DAILY
        return {n: float(np.expm1(max(m, 0.0)) if n in logged else max(m, 0.0)) for n, m in zip(names, means, strict=True)}

    def said(self, state: int, language: Language) -> str:
        """The emissions in words: `about 12 purchases, $480.00 spent, no app or web visits`."""
        means = self.emissions(state)
        if all(v < LEAST for v in means.values()):
            return phrase(f"origin.state.{'no_purchases' if self.mode == 'behavior' else 'nothing'}", language)
        words = []
        for name, value in means.items():
            unit = {"spend": self.currency, "deposit_in": self.currency, "mean_amount": self.currency}.get(name)
            share = name in ("online_share", "weekend_share", "night_share", "top_share")
            text = quantity(value, unit, language) if unit else f"{value:.0%}" if share else number(value)
            if name not in ("entropy", "merchants"):
                key = f"origin.state.{name}" if value >= LEAST else f"origin.state.no_{name}"
                words.append(phrase(key, language, value=text))
        return listed(tuple(words), language)

    def held(self, days: Days, stored: NDArray[np.float32]) -> int | None:
        """For how many days the present daily state has held, at most 90; None where the days do not lead to what is stored."""
        seen = days.journey(JOURNEY_DAYS)
        if seen is None:
            return None
        path = np.stack([p[0] for p in self.model.filtered(seen[None].astype(np.float32))])
        if np.abs(path[-1] - stored[:N_STATES]).max() > AGREES:
            return None
        other = np.flatnonzero(path.argmax(1) != path[-1].argmax())
        return len(path) if not len(other) else int(len(path) - 1 - other[-1])

    def lasts(self, state: int) -> float:
        """Steps that a customer stays in the state on average."""
        return float(1 / max(1 - self.model.transition[state, state], 1e-3))

    def turned(self, before: int, now: int) -> str:
        """`quieter` or `busier` where every count and amount of the months says so, else `other`."""
        names = [n for n in self.emissions(now) if n in COUNTED]
        steps = {float(np.sign(self.emissions(now)[n] - self.emissions(before)[n])) for n in names}
        return "quieter" if steps == {-1.0} else "busier" if steps == {1.0} else "other"

    def _kind(self, state: int, clear: str, months: NDArray[np.int64] | None) -> tuple[str, int, int]:
        """(phrase, months in a row in this state, the state before them): of the latest month alone where no more is known."""
        if months is None or months[-1] != state:
            return f"month_{clear}", 1, state
        other = np.flatnonzero(months != state)
        if not len(other):
            return f"months_all_{clear}", len(months), state
        held, before = len(months) - 1 - int(other[-1]), int(months[other[-1]])
        return f"months_{'one' if held == 1 else 'some'}_{clear}", held, before

    def told(
        self, stored: NDArray[np.float32], days: Days | None, columns: Columns, value: float,
        months: NDArray[np.int64] | None = None,
    ) -> OriginSentence | None:  # fmt: skip
        """`months` [12]: the customer's most probable states, the newest last; None where they are not known."""
        state = int(stored[:N_STATES].argmax())
        clear = "is" if float(stored[state]) >= CLEAR else "nearest"
        if self.mode == "journey":
            held = self.held(days, stored) if days is not None else None
            if held is None:
                return None
            en, ko = (
                phrase(f"origin.state.journey_{clear}", x, state=self.said(state, x), share=f"{self.share[state]:.0%}", n=held)
                for x in LANGUAGES
            )
            return OriginSentence(en, ko, ((f"state_{state}", value), (REST, 0.0)))
        kind, held, before = self._kind(state, clear, months)
        own = [i for n in OWN[self.mode] if (i := columns.schema.index.get(n)) is not None and columns.known[i]]

        def said(language: Language) -> str:
            text = phrase(
                f"origin.state.{kind}", language, state=self.said(state, language), share=f"{self.share[state]:.0%}",
                months=number(self.lasts(state)), n=held, before=self.said(before, language),
                turned=phrase(f"origin.state.turned.{self.turned(before, state)}", language),
            )  # fmt: skip
            facts = ("; " if language == "en" else ", ").join(columns.fact(i, language) for i in own)
            return (
                phrase("origin.state.own", language, state=text, facts=facts)
                if facts
                else phrase("origin.state.end", language, state=text)
            )

        spoken = tuple(columns.schema.columns[i].name for i in own)
        return OriginSentence(said("en"), said("ko"), ((f"state_{state}", value), (REST, 0.0)), spoken)
