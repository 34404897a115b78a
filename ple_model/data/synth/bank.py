"""The bank's side of a block: monthly holdings, campaign exposures and responses (`side_tables` has what only some banks keep).

Causal chain planted here: an income shock cuts the salary, raises the credit utilisation over about 60 days, brings a debt
consultation, and moves the offer the customer responds to (instalment loan). Clicks depend on sign(savings account) x
sign(evening shopper) with no main effect of either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from ple_model.data.synth import world
from ple_model.data.synth.activity import SECONDS, Events
from ple_model.data.synth.people import Floats, Ints, People, Story
from ple_model.data.synth.world import DAYS, HORIZON, Strengths
from ple_model.tasks import OFFERS

N_OFFERS = len(OFFERS)
N_CATEGORIES = world.N_CATEGORIES


def month_starts() -> Ints:
    """Days of the history that are the first of a month: the moments of statements."""
    first = date(1970, 1, 1).toordinal()
    days = [d for d in range(DAYS) if date.fromordinal(first + world.EPOCH_DAY + d).day == 1]
    return np.array(days, np.int64)


def utilisation(people: People, story: Story, days: Ints, rng: np.random.Generator) -> Floats:
    """[n, days] share of the credit limit in use: a level, slow noise, and the ramps of life events."""
    n = len(people)
    noise = 0.05 * np.cumsum(rng.standard_normal((n, len(days))), 1) / np.sqrt(6)
    level = people.utilisation[:, None] + noise
    for e, event in enumerate(world.LIFE_EVENTS):
        since = days - story.event_day[:, e, None]
        ramp = np.clip(since / 60.0, 0, 1) * (since < 7 * event.weeks + 60)
        level = level + event.utilisation * ramp
    clipped: Floats = np.clip(level, 0.0, 1.0)
    return clipped


def holdings(people: People, story: Story, responses: Events, rng: np.random.Generator) -> dict[str, Ints | Floats]:
    """Statement rows: customer, product, as_of, opened, closed (days since START, -10^6: none), balance, limit (NaN: none)."""
    n = len(people)
    months = month_starts()
    products = len(world.PRODUCTS)
    opened = np.full((n, products), DAYS, np.int64)
    back = people.joined[:, None] + rng.integers(0, 60, (n, products))
    has = np.stack(
        [
            ~people.anonymous,
            people.savings,
            people.credit,
            rng.random(n) < 0.12,
            rng.random(n) < 0.15,
            rng.random(n) < 0.10,
            (rng.random(n) < 0.22) & (people.age > 28),
            people.premium,
        ],
        1,
    )
    opened = np.where(has & ~people.anonymous[:, None], back, opened)
    converted = responses.columns["converted"] >= 0
    offer_product = np.array([world.PRODUCTS.index(world.OFFER_PRODUCT[o]) if o in world.OFFER_PRODUCT else -1 for o in OFFERS])
    product = offer_product[responses.columns["offer"].astype(np.int64)]
    hit = converted & (product >= 0)
    day = responses.columns["converted"][hit].astype(np.int64) // SECONDS
    np.minimum.at(opened, (responses.customer[hit], product[hit]), day)
    closed = np.where(rng.random((n, products)) < 0.04, rng.integers(0, 2 * DAYS, (n, products)), 10 * DAYS)
    closed = np.maximum(closed, opened + 30)
    level = utilisation(people, story, months, rng)
    growth = np.cumsum(0.03 * rng.standard_normal((n, products, len(months))) + 0.004, 2)
    scale = people.income[:, None] * np.array([1.2, 4.0, 0.0, 9.0, 6.0, 5.0, 60.0, 0.0])
    balance = scale[:, :, None] * np.exp(growth + 0.5 * rng.standard_normal((n, products))[:, :, None])
    balance[:, 2, :] = people.credit_limit[:, None] * level
    live = (opened[:, :, None] <= months) & (closed[:, :, None] + 31 > months)
    c, p, m = np.nonzero(live)
    is_closed = closed[c, p] <= months[m]
    value = np.where(is_closed, 0.0, balance[c, p, m])
    return {
        "customer": c,
        "product": p,
        "as_of": months[m],
        "opened": opened[c, p],
        "closed": np.where(is_closed, closed[c, p], -1_000_000),
        "balance": np.round(value, 2),
        "credit_limit": np.where(p == 2, people.credit_limit[c], np.nan),
    }


def offer_affinity(people: People, story: Story, customer: Ints, day: Ints) -> Floats:
    """[m, 12] log-odds of each offer for these customers on these days: persona and life events."""
    affinity = world.PERSONA_OFFER[people.persona[customer]].copy()
    for e, event in enumerate(world.LIFE_EVENTS):
        since = day - story.event_day[customer, e]
        active = (since >= 10) & (since < 7 * event.weeks)
        for offer, boost in event.offers.items():
            affinity[:, world.offer_index(offer)] += boost * active
    return affinity


def offer_taste(people: People, strengths: Strengths) -> Floats:
    """[n, 12] log-odds of each offer that follow from what a bank can see of a customer: the products held, how much of the
    credit limit is in use, the salary, the way of coming and what is bought. It moves which offer is answered, not how many:
    `_level` takes the mean over the offers out."""
    holds = {"credit": people.credit, "savings": people.savings, "premium": people.premium, "app": people.app}
    sign = {name: np.where(has, 1.0, -1.0) for name, has in holds.items()}
    income = (np.log(people.income) - 8.0) / 0.5
    share = np.log(N_CATEGORIES * people.mix)
    often = {name: share[:, world.category_index(name)] for name in ("travel", "home", "health", "dining")}
    taste = {
        "credit card upgrade": sign["credit"] + 0.6 * sign["premium"],
        "cash-back card": -1.4 * sign["credit"],
        "instalment loan": np.where(people.credit, 6.0 * (people.utilisation - 0.3), -1.5),
        "savings plan": -1.6 * sign["savings"],
        "time deposit": 1.2 * sign["savings"] + 0.5 * income,
        "fund": 1.5 * income,
        "insurance": 0.8 * often["health"] - 0.4 * income,
        "travel card": 1.2 * often["travel"],
        "mortgage review": 1.0 * often["home"],
        "mobile wallet": sign["app"] + 3.0 * (people.channel[:, 1] - 1 / 3),
        "merchant coupon": 1.0 * often["dining"] - 0.5 * income,
        "premium membership": -1.4 * sign["premium"] + 0.3 * income,
    }
    found: Floats = strengths.offer_taste * np.stack([taste[o] for o in OFFERS], 1)
    return found


def _level(affinity: Floats, taste: Floats) -> Floats:
    """[.., 12] `affinity + taste`, moved so that the mean odds over the offers stay those of `affinity`."""
    odds = np.exp(affinity).mean(-1, keepdims=True) / np.exp(affinity + taste).mean(-1, keepdims=True)
    found: Floats = affinity + taste + np.log(odds)
    return found


REGIME_CLICK = np.array([0.35, 0.0, -0.5, -2.5])
"""Log-odds of a click by regime."""


def _click_logit(people: People, c: Ints, regime: Ints, offers: Floats, s: Strengths) -> Floats:
    """Log-odds of a click of customers `c` [..] in these regimes on an offer of log-odds `offers` [..]."""
    own = s.click_intercept + people.propensity[c] + s.interaction * interaction_sign(people)[c]
    found: Floats = own + offers + REGIME_CLICK[regime]
    return found


def _conversion_logit(people: People, c: Ints, affinity: Floats, s: Strengths) -> Floats:
    found: Floats = s.conversion_intercept + s.conversion_interaction * conversion_sign(people)[c] + 0.3 * affinity
    return found


def interaction_sign(people: People) -> Floats:
    """[n] +1 where savings account and evening shopping agree, -1 where they differ."""
    return np.where(people.savings == people.evening, 1.0, -1.0)


def conversion_sign(people: People) -> Floats:
    """[n] +1 where credit card and premium membership agree, -1 where they differ."""
    return np.where(people.credit == people.premium, 1.0, -1.0)


def campaigns(people: People, story: Story, strengths: Strengths, rng: np.random.Generator) -> Events:
    """About one exposure a week; offers are drawn at random, so the response tells the affinity.

    `clicked`, `converted`: seconds since START, -1 for none.
    """
    n = len(people)
    exposed = rng.random((n, DAYS)) < 1 / 7.0
    exposed &= np.arange(DAYS) >= people.joined[:, None]
    c, d = np.nonzero(exposed)
    m = len(c)
    offer = rng.integers(0, N_OFFERS, m)
    rows = np.arange(m)
    affinity = offer_affinity(people, story, c, d)
    shown = _level(affinity, offer_taste(people, strengths)[c])[rows, offer]
    logit = _click_logit(people, c, story.regime[c, d // 7], shown, strengths)
    clicked = rng.random(m) < _sigmoid(logit)
    convert = _conversion_logit(people, c, affinity[rows, offer], strengths)
    converted = clicked & (rng.random(m) < _sigmoid(convert))
    second = d * SECONDS + rng.integers(8 * 3600, 21 * 3600, m)
    click = second + (1800 * rng.exponential(2.0, m)).astype(np.int64) + 20
    conversion = click + (3600 * rng.exponential(20.0, m)).astype(np.int64) + 60
    # A response after the end of the history is not seen.
    clicked &= click < DAYS * SECONDS
    converted &= clicked & (conversion < DAYS * SECONDS)
    return Events(
        c,
        second,
        {
            "offer": offer,
            "clicked": np.where(clicked, click, -1),
            "converted": np.where(converted, conversion, -1),
            "week": d // 7,
        },
    ).sorted()


def _sigmoid(x: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-x))
    return found


@dataclass(frozen=True)
class PlantedProbabilities:
    """Planted probabilities [m] of task, customer, cut-off (day since START) and class (-1: a binary task's yes)."""

    task: tuple[str, ...]
    code: Ints
    """[m] index into `task`."""
    customer: Ints
    day: Ints
    label: Ints
    p: Floats


def planted(people: People, story: Story, strengths: Strengths) -> PlantedProbabilities:
    """What the bank itself gives at each cut-off to those who have joined, where that is a closed form: `ctr` and `cvr` of the
    campaign shown next (offers are drawn at random, so their mean), and which offer is answered first (`nba`) over the horizon
    with the life events that have begun. The state is that of the cut-off; no forecast of it is in these."""
    tasks = ("ctr", "cvr", "nba")
    parts: list[tuple[Ints, Ints, Ints, Ints, Floats]] = []
    taste = offer_taste(people, strengths)
    for cutoff in world.CUTOFFS:
        day = (cutoff - world.START).days
        c = np.nonzero(people.joined < day)[0]
        begun = replace(story, event_day=np.where(story.event_day < day, story.event_day, DAYS))
        regime = story.regime[c, day // 7][:, None]
        here = np.full(len(c), day)
        affinity = offer_affinity(people, begun, c, here)
        click = _sigmoid(_click_logit(people, c[:, None], regime, _level(affinity, taste[c]), strengths))
        convert = _sigmoid(_conversion_logit(people, c[:, None], affinity, strengths))
        for task, p in enumerate((click.mean(1), (click * convert).mean(1))):
            parts.append((np.full(len(c), task), c, here, np.full(len(c), -1), p))
        rate = np.zeros_like(affinity)
        for ahead in range(0, HORIZON, 7):
            later = _level(offer_affinity(people, begun, c, here + ahead), taste[c])
            rate += _sigmoid(_click_logit(people, c[:, None], regime, later, strengths))
        share = rate / rate.sum(1, keepdims=True)
        parts.append(
            (
                np.full(share.size, 2),
                np.repeat(c, N_OFFERS),
                np.full(share.size, day),
                np.tile(np.arange(N_OFFERS), len(c)),
                share.ravel(),
            )
        )
    code, customer, days, label, p = (np.concatenate(v) for v in zip(*parts, strict=True))
    order = np.lexsort((label, code, days, customer))
    return PlantedProbabilities(tasks, code[order], customer[order], days[order], label[order], p[order])
