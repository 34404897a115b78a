"""Which weeks counted in the learned summary of daily activity, by integrated gradients through its encoder.

The encoder reads 26 weeks of sums, which the stored days and visits give back but for the two oldest days. The first stage (the
model) leaves a mean gradient for each coordinate of the summary; the second divides the same contribution among the weeks, from
sampled customers whose summary weighs with the model what the reference profile's does. What the two stages do not share (the
two days, rounding, the distance of those customers from the reference) stays as a rest; where it is no small one, nothing is
said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.attribution import quadrature
from analysis.explain.origin.days import MONEY_IN, PURCHASES, SPEND, Days
from analysis.explain.origin.told import REST, OriginSentence, carried, listed
from analysis.i18n import phrase
from analysis.wording import quantity
from ple_model.data.dataset.normalize import CLIP, CONSTANT, RAW, SIGNED_LOG, Normalizer
from ple_model.data.derived.encoder import WEEKS, WeekEncoder, weekly_series
from ple_model.data.derived.sequences import DAILY, TXN_STEPS
from ple_model.numerals import Language, number
from ple_model.schema import PART_SLICES

Array = NDArray[np.float64]
DAYS = 7 * WEEKS
SHOWN = 3
STARTS = 16
"""Sampled customers that the weeks are compared with."""
NODES = 16
REST_SHARE = 0.5
"""Of a contribution of which more than half stays a rest no week is said to carry it."""
USUAL = (0.25, 0.75)
"""A week that lies within the middle half of customers' weeks in all that is told of it is as good as any other."""
VISITS = DAILY.index("sessions")
PART = PART_SLICES["mamba_temporal"]


def daily_of(days: Days) -> NDArray[np.float32]:
    """[182, 4] as the encoder's series is made of: spend, purchases, visits, money in; the two oldest days are not known."""
    out = np.zeros((DAYS, len(DAILY)), np.float32)
    for step in range(TXN_STEPS):
        row = out[DAYS - TXN_STEPS + step]
        row[0], row[1], row[3] = days.spend(step), days.purchases(step), days.moved(step, MONEY_IN)
    back = days.visit_back()[days.there]
    out[:, 2] = np.bincount(np.clip(back, 1, DAYS + 1), minlength=DAYS + 2)[1 : DAYS + 1][::-1]
    return out


@dataclass(frozen=True, eq=False)
class Weeks:
    """The encoder of a run with the weeks of its sampled customers: series [n, 26, 4] and their summaries [n, 50], as the
    encoder and the model read them."""

    encoder: WeekEncoder
    normalizer: Normalizer
    series: Tensor
    read: Tensor

    @staticmethod
    def of(encoder: WeekEncoder, normalizer: Normalizer, sampled: Sequence[Days]) -> Weeks:
        encoder.model.requires_grad_(False)
        found = Weeks(encoder, normalizer, torch.zeros(0), torch.zeros(0))
        series = found.standardised(np.stack([daily_of(d) for d in sampled]))
        with torch.no_grad():
            return Weeks(encoder, normalizer, series, found.summary(series))

    def standardised(self, daily: NDArray[np.float32]) -> Tensor:
        """[n, 182, 4] daily sums -> [n, 26, 4] as the encoder reads them."""
        return torch.from_numpy((weekly_series(daily) - self.encoder.centre) / self.encoder.scale)

    def summary(self, series: Tensor) -> Tensor:
        """[n, 26, 4] -> [n, 50] as the model reads them: `Normalizer.transform`, which gradients pass."""
        z = self.encoder.model(series)[0][:, -1]
        kind = torch.from_numpy(self.normalizer.kind[PART])
        centre, scale = (torch.from_numpy(v[PART]).float() for v in (self.normalizer.centre, self.normalizer.scale))
        logged = torch.where(kind == SIGNED_LOG, torch.sign(z) * torch.log1p(z.abs()), z)
        scaled = torch.where(kind == RAW, z, ((logged - centre) / scale).clamp(-CLIP, CLIP))
        return torch.where(kind == CONSTANT, torch.zeros_like(z), scaled)

    def values(self, days: Days, gradient: Array, start: Array) -> Array:
        """[26, 4]: what each week adds by each of its sums to the contribution of the summary, whose coordinates have
        `gradient` [50] and start at `start` [50]. Weeks of which not all visits are stored count no visits."""
        g = torch.from_numpy(gradient).float()
        away = ((self.read - torch.from_numpy(start).float()) @ g).abs()
        chosen = self.series[away.argsort(stable=True)[:STARTS]]
        if not len(chosen):
            return np.zeros((WEEKS, len(DAILY)))
        own = self.standardised(daily_of(days)[None]).expand_as(chosen).clone()
        own[:, ~torch.from_numpy(visits_known(days)), VISITS] = chosen[:, ~torch.from_numpy(visits_known(days)), VISITS]
        t, w = quadrature(NODES)
        step = (own - chosen)[:, None]
        points = (chosen[:, None] + t.float().view(1, -1, 1, 1) * step).flatten(0, 1).requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad((self.summary(points) @ g).sum(), points)
        mean = torch.einsum("knwc,n->kwc", slope.view(len(chosen), NODES, WEEKS, len(DAILY)).double(), w)
        return np.asarray((mean * step[:, 0]).mean(0).numpy())

    @cached_property
    def usual(self) -> tuple[Array, Array]:
        """([4], [4]): spend, purchases, visits and money in that a quarter of the sampled customers' weeks stay below, and a
        quarter above."""
        both = np.quantile(self.series.flatten(0, 1).numpy().astype(np.float64), USUAL, axis=0)
        low, high = np.expm1(np.maximum(both * self.encoder.scale + self.encoder.centre, 0))
        return low, high

    def stands_out(self, week: Array, *, visits: bool) -> bool:
        """Whether a week's sums [4] lie beyond what half of all weeks hold; `visits`: those are known."""
        low, high = self.usual
        told = np.array([True, True, visits, True])
        return bool((told & ((week < low - 0.5) | (week > high + 0.5))).any())

    def median(self) -> tuple[int, float]:
        """Purchases and spend of the median week of the sampled customers."""
        middle = self.series.flatten(0, 1).median(0).values.numpy() * self.encoder.scale + self.encoder.centre
        spend, purchases = np.expm1(np.maximum(middle[:2], 0))
        return round(float(purchases)), float(spend)


def visits_known(days: Days) -> NDArray[np.bool_]:
    """[26] weeks all of whose visits are among those stored."""
    oldest = DAYS - 7 * np.arange(WEEKS)
    return np.array([days.visits_known(int(n)) for n in oldest])


def of_weeks(weeks: Weeks, days: Days, gradient: Array, start: Array, currency: str, value: float) -> OriginSentence | None:
    """All weeks together, whose effect it is, and those that pull most in the direction of `value` of the weeks that stand out;
    None where these do not carry most of it."""
    by_sum = weeks.values(days, gradient, start)
    by_week = by_sum.sum(1)
    sign, rest = (1.0 if value >= 0 else -1.0), value - float(by_week.sum())
    known, (n, spent) = visits_known(days), weeks.median()
    held = daily_of(days).reshape(WEEKS, 7, -1).sum(1).astype(np.float64)
    out = [weeks.stands_out(held[i], visits=bool(known[i])) for i in range(WEEKS)]
    chosen = sorted([int(i) for i in np.argsort(-sign * by_week) if sign * by_week[i] > 0 and i > 0 and out[i]][:SHOWN])
    if not chosen or abs(rest) > REST_SHARE * abs(value):
        return None
    if not (carry := carried(float(by_week[chosen].sum()), (*by_week.tolist(), rest), sign)):
        return None

    def said(language: Language) -> str:
        told = [_span(days, first, last, bool(known[first:last].all()), currency, language) for first, last in _spans(chosen)]
        usual = phrase("origin.weeks.usual", language, bought=_bought(n, spent, currency, language))
        return phrase("origin.weeks.weeks", language, weeks=listed(tuple(told), language), usual=usual, share=carry)

    through = tuple(("/".join(_ends(days, i, i + 1)), float(v)) for i, v in enumerate(by_week) if v != 0)
    most = DAILY[int((sign * by_sum[chosen].sum(0)).argmax())]
    return OriginSentence(said("en"), said("ko"), (*through, (REST, rest)), weeks=tuple(chosen), counted=most)


def weekly(txn: Array) -> dict[str, Array]:
    """[n, 26] sums a week by name, of days [n, 180, 16] in their own units before the logarithm is taken off."""
    steps = np.zeros((len(txn), DAYS, txn.shape[2]))
    steps[:, DAYS - TXN_STEPS :] = np.expm1(txn)
    by_week = steps.reshape(len(txn), WEEKS, 7, -1).sum(2)
    return {"spend": by_week[..., SPEND], "purchases": by_week[..., PURCHASES], "deposit_in": by_week[..., MONEY_IN]}


def _spans(chosen: Sequence[int]) -> list[tuple[int, int]]:
    """[first, last) of weeks in a row."""
    found: list[tuple[int, int]] = []
    for i in chosen:
        if found and found[-1][1] == i:
            found[-1] = found[-1][0], i + 1
        else:
            found.append((i, i + 1))
    return found


def _ends(days: Days, first: int, last: int) -> tuple[str, str]:
    start = TXN_STEPS - DAYS + 7 * first
    return days.date(start).isoformat(), days.date(TXN_STEPS - DAYS + 7 * last - 1).isoformat()


def _span(days: Days, first: int, last: int, visits: bool, currency: str, language: Language) -> str:
    """The sums of one week; of several in a row what they held a week on average, beside which one usual week can stand."""
    n = last - first
    sums = daily_of(days)[7 * first : 7 * last].astype(np.float64).sum(0) / n
    said = []
    if sums[1]:
        said.append(_bought(float(sums[1]), float(sums[0]), currency, language))
    if sums[3] > 0:
        said.append(phrase("origin.days.paid_in", language, amount=quantity(float(sums[3]), currency, language)))
    if visits and sums[2]:
        said.append(phrase("origin.weeks.visit" if sums[2] == 1 else "origin.weeks.visits", language, n=number(float(sums[2]))))
    quiet = "quiet" if visits else "quiet_spend"
    what = ", ".join(said) or phrase(f"origin.weeks.{quiet}", language)
    ends = _ends(days, first, last)
    key = "span" if n == 1 else "spans" if said else "spans_quiet"
    return phrase(f"origin.weeks.{key}", language, first=ends[0], last=ends[1], what=what, n=n)


def _bought(n: float, spent: float, currency: str, language: Language) -> str:
    if abs(spent) < 0.005:
        return phrase("origin.weeks.free_one" if n == 1 else "origin.weeks.free", language, n=number(n))
    key = "origin.days.bought_one" if n == 1 else "origin.days.bought"
    return phrase(key, language, n=number(n), amount=quantity(spent, currency, language))
