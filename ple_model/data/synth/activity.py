"""Visits, purchases, deposits and app sessions of a block of customers: where the causes become events.

The planted signals, each readable from one kind of input and from little else:

* *loop*: what is done in a session follows a personal cycle, of about 38 days or, for the young above all, about 13: only the
  longer one is round in the delay embedding. Broken, every day is at a random phase of the same cycle: the distribution of
  what is done stays, the loop is gone. Neither how many sessions there are nor what is bought tells it.
* *rhythm*: the next visit is soon after a late visit and long after an early one. *channel*: after a late visit it goes through
  the app or the web, after an early one to the branch. Only the hour of the last visit tells, not the usual hour.
* *community*: in each leaf the customer buys at the community's brand.
* *heavy tail*: rare very large purchases, and rare sessions of hundreds of actions and more (*deep dive*), which tell of the
  age; most are longer ago than any window goes back, but for that of the raw count of a year.
* *shape*: two-humped amounts of the same mean and spread, growth afterwards.
* *deepening*: eight weeks of spreading over the leaves of one category at an unchanged share, then sixteen weeks of more of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ple_model.data.synth import world
from ple_model.data.synth.people import EPISODE_WEEKS, EXPLORE_WEEKS, Bools, Floats, Ints, People, Story
from ple_model.data.synth.world import DAYS, N_CATEGORIES, Strengths

PERIOD = 14
PERIODS = -(-DAYS // PERIOD)
SECONDS = 86_400


@dataclass(frozen=True)
class Events:
    """Rows of one kind: `customer` [m] index in the block, `second` [m] since `world.START`, and the kind's own columns."""

    customer: Ints
    second: Ints
    columns: dict[str, Ints | Floats]

    def __len__(self) -> int:
        return len(self.customer)

    def sorted(self) -> Events:
        """The same rows by customer and time."""
        order = np.lexsort((self.second, self.customer))
        return Events(self.customer[order], self.second[order], {k: v[order] for k, v in self.columns.items()})


def loop_factor(people: People, story: Story, rng: np.random.Generator) -> Floats:
    """[n, DAYS] positive factor of mean about 1: the personal cycle, at a random phase each day while it is broken."""
    n = len(people)
    days = np.arange(DAYS)
    jump = rng.uniform(0, 2 * np.pi, (n, DAYS)) * story.broken_from[:, days // 7]
    angle = 2 * np.pi * days / people.loop_period[:, None] + people.loop_phase[:, None] + jump
    amplitude = people.loop_amplitude[:, None]
    factor: Floats = np.exp(amplitude * np.sin(angle) - amplitude**2 / 4)
    return factor


@dataclass(frozen=True)
class Visits:
    """Days on which customers shop."""

    days: Bools
    """[n, DAYS]."""
    late: Bools
    """[n, DAYS] is it a late visit; False on other days."""
    hour: Floats
    """[n, DAYS] about when."""


def visit_days(people: People, story: Story, rng: np.random.Generator) -> Visits:
    """Visits with the gap that the hour of the one before asks for, thinned by the regime, none while silent or paused."""
    n = len(people)
    count = int(np.ceil(1.3 * DAYS / max(1.0, float((people.gap_short + people.gap_long).min()) / 2))) + 4
    count = min(count, DAYS)
    is_late = rng.random((n, count)) < people.late_share[:, None]
    before = np.roll(is_late, 1, axis=1)
    gaps = np.where(before, people.gap_short[:, None], people.gap_long[:, None])
    gaps = gaps + 0.13 * gaps * rng.standard_normal((n, count))
    mean = mean_gap(people)[:, None]
    gaps = np.where(people.irregular[:, None], rng.exponential(1.0, (n, count)) * mean, gaps)
    day = np.floor(np.cumsum(np.maximum(gaps, 0.8), 1) - rng.uniform(0, 1, n)[:, None] * mean).astype(np.int64)
    rows = np.broadcast_to(np.arange(n)[:, None], day.shape)
    inside = (day >= 0) & (day < DAYS)
    visits = np.zeros((n, DAYS), bool)
    visits[rows[inside], day[inside]] = True
    late = np.zeros((n, DAYS), bool)
    late[rows[inside], day[inside]] = is_late[inside]
    keep = np.array([1.0, 0.92, 0.62, 0.0])[story.regime][:, np.arange(DAYS) // 7]
    visits &= rng.random((n, DAYS)) < keep
    visits &= ~story.paused
    visits &= np.arange(DAYS) >= people.joined[:, None]
    hour = np.where(late, 19.0, 10.5) + 1.5 * rng.standard_normal((n, DAYS))
    return Visits(visits, late & visits, hour)


def mean_gap(people: People) -> Floats:
    """[n] mean days between two visits."""
    gap: Floats = people.late_share * people.gap_short + (1 - people.late_share) * people.gap_long
    return gap


def category_weights(people: People, story: Story, strengths: Strengths) -> Floats:
    """[n, PERIODS, 12] cumulative category probabilities by fortnight, moved by life events and by deepening."""
    n = len(people)
    middle = np.arange(PERIODS) * PERIOD + PERIOD // 2
    log_weight = np.repeat(np.log(people.mix)[:, None, :], PERIODS, 1)
    for e, event in enumerate(world.LIFE_EVENTS):
        since = middle - story.event_day[:, e, None]
        active = (since >= 0) & (since < 7 * event.weeks)
        for category, boost in event.categories.items():
            log_weight[:, :, world.category_index(category)] += boost * active
    since = middle // 7 - story.deep_start[:, None] - EXPLORE_WEEKS
    active = (since >= 0) & (since < EPISODE_WEEKS) & (story.deep_start >= 0)[:, None]
    log_weight[np.arange(n), :, story.deep_category] += strengths.deepening * active
    weight = np.exp(log_weight)
    cumulative: Floats = np.cumsum(weight / weight.sum(2, keepdims=True), 2)
    return cumulative


def purchases(people: People, story: Story, visits: Visits, strengths: Strengths, rng: np.random.Generator) -> Events:
    """Card purchases: one to several a visit."""
    who, day = np.nonzero(visits.days)
    engaged = np.array([1.2, 0.9, 0.7, 0.0])[story.regime[who, day // 7]]
    visit = np.repeat(np.arange(len(who)), 1 + rng.poisson(0.9 * engaged))
    cumulative = category_weights(people, story, strengths)[who[visit], day[visit] // PERIOD]
    category = np.minimum((rng.random(len(visit))[:, None] > cumulative).sum(1), N_CATEGORIES - 1)
    c, d = who[visit], day[visit]
    m = len(c)
    leaf = _leaf(people, story, c, d, category, rng)
    own = rng.random(m) < people.loyalty[c]
    leaf = np.where(own, people.favourite_leaf[c], leaf)
    brand_slot = np.where(
        own | (rng.random(m) < strengths.community),
        world.COMMUNITY_BRAND[people.community[c], leaf],
        rng.integers(0, world.BRANDS_PER_LEAF, m),
    )
    brand = leaf * world.BRANDS_PER_LEAF + brand_slot
    outlet = np.where(own | (rng.random(m) < 0.8), people.region[c], rng.integers(0, len(world.REGIONS), m)) % world.OUTLETS
    amount, tail = _amounts(people, story, c, d, leaf // world.LEAVES_PER_CATEGORY, strengths, rng)
    hour = np.clip(visits.hour[c, d] + 0.5 * rng.standard_normal(m), 0.1, 22.0)
    second = d * SECONDS + (3600 * hour).astype(np.int64)
    return Events(
        c,
        second,
        {
            "amount": amount,
            "merchant": brand * world.OUTLETS + outlet,
            "leaf": leaf,
            "brand": brand,
            "channel": _channel(people, visits, who, day, strengths, rng)[visit],
            "credit": (people.credit[c] & (rng.random(m) < 0.7)).astype(np.int64),
            "tail": tail,
        },
    ).sorted()


def _leaf(people: People, story: Story, c: Ints, d: Ints, category: Ints, rng: np.random.Generator) -> Ints:
    """A leaf of the category: mostly the customer's usual one, any of them while the category is being explored."""
    usual = (people.community[c] * 31 + c * 17 + category * 7) % world.LEAVES_PER_CATEGORY
    since = d // 7 - story.deep_start[c]
    exploring = (story.deep_start[c] >= 0) & (since >= 0) & (since < EXPLORE_WEEKS) & (category == story.deep_category[c])
    free = exploring | (rng.random(len(c)) < 0.25)
    leaf: Ints = category * world.LEAVES_PER_CATEGORY + np.where(
        free, rng.integers(0, world.LEAVES_PER_CATEGORY, len(c)), usual
    )
    return leaf


def _amounts(
    people: People, story: Story, c: Ints, d: Ints, category: Ints, s: Strengths, rng: np.random.Generator
) -> tuple[Floats, Ints]:
    m = len(c)
    z = rng.standard_normal(m)
    since = d // 7 - story.shape_start[c]
    started = story.shape_start[c] >= 0
    two_humped = started & (since >= 0) & (since < EXPLORE_WEEKS)
    # +-0.9 with spread 0.436 has mean 0 and variance 1, as the single hump has: only the shape differs.
    z = np.where(two_humped, np.where(rng.random(m) < 0.5, 0.9, -0.9) + 0.436 * z, z)
    grown = started & (since >= EXPLORE_WEEKS) & (since < EXPLORE_WEEKS + EPISODE_WEEKS)
    log_amount = world.CATEGORY_LOG_AMOUNT[category] + 0.5 * (np.log(people.income[c]) - 8.0)
    log_amount = log_amount + people.amount_sd[c] * z + s.shape_growth * grown
    season = np.where(((d + world.EPOCH_DAY) % 365) > 334, 0.15, 0.0)
    tail = rng.random(m) < np.where(people.heavy_tail[c], s.tail_chance, 0.0008)
    # Pareto with index 1.3: a finite mean and no finite variance.
    burst = np.minimum(6.0 * (1.0 - rng.random(m)) ** (-1 / 1.3), 400.0)
    amount: Floats = np.round(np.maximum(np.exp(log_amount + season) * np.where(tail, burst, 1.0), 0.5), 2)
    return amount, tail.astype(np.int64)


def _channel(people: People, visits: Visits, who: Ints, day: Ints, s: Strengths, rng: np.random.Generator) -> Ints:
    """Channel of every visit: taste, and the hour of the visit before. App or web is a habit of the fortnight."""
    follows = np.append(False, who[1:] == who[:-1])
    late = np.where(follows, np.roll(visits.late[who, day], 1), rng.random(len(who)) < people.late_share[who])
    branch, app, web = people.channel.T
    logit = np.log((app + web) / branch)[who] + s.late_online * np.where(late, 1.0, -1.0)
    online = rng.random(len(who)) < 1 / (1 + np.exp(-logit))
    prefers_web = rng.random((len(people), PERIODS)) > (app / (app + web))[:, None]
    chosen: Ints = np.where(online, np.where(prefers_web[who, day // PERIOD], 2, 1), 0).astype(np.int64)
    return chosen


def sessions(people: People, story: Story, visits: Visits, loop: Floats, rng: np.random.Generator) -> Events:
    """App and web sessions, after a visit above all, so that they do not blur the rhythm of visits."""
    n = len(people)
    regime = story.regime[:, np.arange(DAYS) // 7]
    rate = np.array([1.2, 1.0, 0.75, 0.0])[regime] * np.where(visits.days, 1.0, 0.015)
    rate *= people.app[:, None] & (np.arange(DAYS) >= people.joined[:, None]) & ~story.paused
    count = np.floor(rate + rng.random(rate.shape)).astype(np.int64)  # steadier than chance: a habit, not a coincidence
    who, day = np.nonzero(count)
    repeat = count[who, day]
    c, d = np.repeat(who, repeat), np.repeat(day, repeat)
    m = len(c)
    hour = np.clip(visits.hour[c, d] + 1.2 + 0.3 * np.abs(rng.standard_normal(m)), 0.1, 23.9)
    depth = np.exp(2.3 + 0.3 * people.propensity[c] + 0.2 * rng.standard_normal(m))
    web = rng.random(n) < 0.3
    actions = 1 + (depth * loop[c, d]).astype(np.int64)
    dive = _first_from(story.dive_day, c, d)
    actions[dive] = np.minimum(300.0 * (1.0 - rng.random(len(dive))) ** (-1 / 1.3), 5000.0).astype(np.int64)
    return Events(
        c,
        d * SECONDS + (3600 * hour).astype(np.int64),
        {
            "duration": np.round(depth * 11.0 * np.exp(0.4 * rng.standard_normal(m)), 1),
            "channel": np.where(web[c] & (rng.random(m) < 0.6), 2, 1),
            "events": actions,
        },
    ).sorted()


def _first_from(wanted: Ints, c: Ints, d: Ints) -> Ints:
    """Positions of each customer's first row on or after each wanted day [n, k], within a month. Rows: customer `c`, day `d`,
    sorted by both."""
    owner, slot = np.nonzero(wanted < DAYS)
    day = wanted[owner, slot]
    at = np.searchsorted(c * DAYS + d, owner * DAYS + day)
    safe = np.minimum(at, len(c) - 1)
    found: Ints = at[(at < len(c)) & (c[safe] == owner) & (d[safe] - day < 30)]
    return found


def deposits(people: People, story: Story, rng: np.random.Generator) -> Events:
    """Monthly salary (cut by an income shock) and rent on the current account; both stop while the customer is silent."""
    n = len(people)
    months = DAYS // 30
    pay_day = rng.integers(0, 30, n)
    day = pay_day[:, None] + 30 * np.arange(months)
    factor = np.ones((n, months))
    for e, event in enumerate(world.LIFE_EVENTS):
        since = day - story.event_day[:, e, None]
        factor = np.where((since >= 0) & (since < 7 * event.weeks), factor * event.income, factor)
    alive = (story.regime[np.arange(n)[:, None], day // 7] != 3) & (day >= people.joined[:, None])
    alive &= ~people.anonymous[:, None]
    c, k = np.nonzero(alive)
    d = day[c, k]
    salary = np.round(people.income[c] * factor[c, k] * np.exp(0.04 * rng.standard_normal(len(c))), 2)
    rent = -np.round(people.income[c] * 0.28 * np.exp(0.03 * rng.standard_normal(len(c))), 2)
    second = d * SECONDS + 7 * 3600
    return Events(
        np.concatenate([c, c]),
        np.concatenate([second, second + 3 * 3600]),
        {"amount": np.concatenate([salary, rent])},
    ).sorted()
