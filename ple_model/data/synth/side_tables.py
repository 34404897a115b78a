"""Tables beside the transactions that some banks have: insurance, consultations, spending abroad, investments."""

from __future__ import annotations

import numpy as np

from ple_model.data.synth import world
from ple_model.data.synth.activity import SECONDS, Events
from ple_model.data.synth.people import Bools, Floats, Ints, People, Story
from ple_model.data.synth.world import DAYS

SIDE_KINDS: dict[str, tuple[str, ...]] = {
    "insurance": ("premium", "claim"),
    "consultation": ("complaint", "information", "debt advice", "insurance", "mortgage", "travel", "investment"),
    "overseas": ("purchase", "withdrawal"),
    "investment": ("buy", "sell"),
}


def side_tables(people: People, story: Story, rng: np.random.Generator) -> dict[str, Events]:
    """insurance, consultation, overseas and investment rows; `kind` indexes `SIDE_KINDS`."""
    return {
        "insurance": _insurance(people, story, rng),
        "consultation": _consultation(people, story, rng),
        "overseas": _overseas(people, story, rng),
        "investment": _investment(people, story, rng),
    }


def _alive(people: People, story: Story, c: Ints, d: Ints) -> Bools:
    safe = np.clip(d, 0, DAYS - 1)
    alive = (d >= 0) & (d < DAYS) & (story.regime[c, safe // 7] != 3) & (d >= people.joined[c]) & ~people.anonymous[c]
    free: Bools = alive & ~story.paused[c, safe]
    return free


def _rows(people: People, story: Story, c: Ints, d: Ints, kind: Ints, amount: Floats, rng: np.random.Generator) -> Events:
    ok = _alive(people, story, c, d)
    c, d, kind, amount = c[ok], d[ok], kind[ok], amount[ok]
    second = d * SECONDS + rng.integers(9 * 3600, 18 * 3600, len(c))
    return Events(c, second, {"kind": kind, "amount": np.round(amount, 2)}).sorted()


def _insurance(people: People, story: Story, rng: np.random.Generator) -> Events:
    n = len(people)
    insured = np.nonzero(rng.random(n) < 0.35)[0]
    day = rng.integers(0, 30, len(insured))[:, None] + 30 * np.arange(DAYS // 30)
    c = np.repeat(insured, day.shape[1])
    premium = np.repeat(25 * np.exp(0.5 * rng.standard_normal(len(insured))), day.shape[1])
    claims = rng.choice(insured, len(insured) // 3)
    return _rows(
        people,
        story,
        np.concatenate([c, claims]),
        np.concatenate([day.ravel(), rng.integers(0, DAYS, len(claims))]),
        np.concatenate([np.zeros(len(c), np.int64), np.ones(len(claims), np.int64)]),
        np.concatenate([premium, 400 * np.exp(rng.standard_normal(len(claims)))]),
        rng,
    )


def _consultation(people: People, story: Story, rng: np.random.Generator) -> Events:
    n = len(people)
    kinds = SIDE_KINDS["consultation"]
    customers, days, kind = [], [], []
    complainers = np.nonzero(story.complaint_week < world.WEEKS)[0]
    for _ in range(2):
        customers.append(complainers)
        days.append(7 * story.complaint_week[complainers] + rng.integers(0, 7, len(complainers)))
        kind.append(np.zeros(len(complainers), np.int64))
    idle = rng.integers(0, n, n)
    customers.append(idle)
    days.append(rng.integers(0, DAYS, n))
    kind.append(np.ones(n, np.int64))
    for e, event in enumerate(world.LIFE_EVENTS):
        if event.consultation:
            who = np.nonzero((story.event_day[:, e] < DAYS) & (rng.random(n) < 0.7))[0]
            customers.append(who)
            days.append(story.event_day[who, e] + rng.integers(8, 40, len(who)))
            kind.append(np.full(len(who), kinds.index(event.consultation), np.int64))
    c = np.concatenate(customers)
    return _rows(people, story, c, np.concatenate(days), np.concatenate(kind), np.zeros(len(c)), rng)


def _overseas(people: People, story: Story, rng: np.random.Generator) -> Events:
    n = len(people)
    rate = np.where(people.persona == world.PERSONAS.index("traveller"), 14.0, 1.2)
    trip = [e.name for e in world.LIFE_EVENTS].index("long_trip")
    c = np.repeat(np.arange(n), rng.poisson(rate))
    d = rng.integers(0, DAYS, len(c))
    travelling = np.nonzero(story.event_day[:, trip] < DAYS)[0]
    c2 = np.repeat(travelling, 6)
    d2 = story.event_day[c2, trip] + rng.integers(0, 60, len(c2))
    c, d = np.concatenate([c, c2]), np.concatenate([d, d2])
    kind = (rng.random(len(c)) < 0.2).astype(np.int64)
    return _rows(people, story, c, d, kind, 60 * np.exp(0.9 * rng.standard_normal(len(c))), rng)


def _investment(people: People, story: Story, rng: np.random.Generator) -> Events:
    n = len(people)
    rate = np.where(people.persona == world.PERSONAS.index("entrepreneur"), 12.0, 1.0)
    c = np.repeat(np.arange(n), rng.poisson(rate))
    d = rng.integers(0, DAYS, len(c))
    windfall = [e.name for e in world.LIFE_EVENTS].index("windfall")
    lucky = np.nonzero(story.event_day[:, windfall] < DAYS)[0]
    c2 = np.repeat(lucky, 3)
    d2 = story.event_day[c2, windfall] + rng.integers(0, 45, len(c2))
    c, d = np.concatenate([c, c2]), np.concatenate([d, d2])
    amount = 0.2 * people.income[c] * np.exp(0.8 * rng.standard_normal(len(c)))
    return _rows(people, story, c, d, (rng.random(len(c)) < 0.35).astype(np.int64), amount, rng)
