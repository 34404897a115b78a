"""Who the customers of a block are and what happens to them: traits, life events, episodes, and weekly lifecycle regimes.

Everything is drawn from the block's own generator, so a block does not depend on how many blocks there are.
Arrays are [n] over customers of the block, [n, WEEKS] over weeks; week w covers days 7w to 7w+6 after `world.START`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ple_model.data.synth import world
from ple_model.data.synth.world import DAYS, N_CATEGORIES, WEEKS, Strengths

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EXPLORE_WEEKS = 8
EPISODE_WEEKS = 16
DIVES = 2
"""Very long sessions within the history of those who have any."""


@dataclass(frozen=True)
class People:
    """Traits [n]; see the field comments for units."""

    persona: Ints
    age: Floats
    region: Ints
    community: Ints
    income: Floats
    """Monthly salary."""
    joined: Ints
    """Day of joining, negative before the history."""
    anonymous: Bools
    app: Bools
    gap_short: Floats
    gap_long: Floats
    """Days to the next visit after a late visit (short) and after an early one (long); the mean gap says neither."""
    late_share: Floats
    """Chance that a visit is a late one."""
    irregular: Bools
    loop_period: Floats
    """Days of the personal cycle of what is done in a session: about 38 or, for the young above all, about 13."""
    loop_amplitude: Floats
    """0 without the app."""
    loop_phase: Floats
    evening: Bools
    savings: Bools
    credit: Bools
    premium: Bools
    loyalty: Floats
    favourite_leaf: Ints
    heavy_tail: Bools
    deep_diver: Bools
    """Has once or twice in the history a session of hundreds of actions and more: those under 30 and over 55 above all."""
    amount_sd: Floats
    propensity: Floats
    utilisation: Floats
    credit_limit: Floats
    channel: Floats
    """[n, 3] channel preferences, rows sum to 1."""
    mix: Floats
    """[n, 12] category preferences, rows sum to 1."""

    def __len__(self) -> int:
        return len(self.persona)


@dataclass(frozen=True)
class Story:
    """What happens to them over time."""

    event_day: Ints
    """[n, events] day a life event starts; `DAYS` where it does not."""
    broken_from: Ints
    """[n, WEEKS] is 1 in weeks when the loop is broken."""
    deep_start: Ints
    """[n] first week of the exploring phase of a category episode; -99 for none."""
    deep_category: Ints
    dive_day: Ints
    """[n, DIVES] day from which the next session is a very long one; `DAYS` for none."""
    shape_start: Ints
    complaint_week: Ints
    regime: Ints
    """[n, WEEKS] index into `REGIMES`."""
    paused: Bools
    """[n, DAYS] a holiday: no visit and no session, unrelated to churn."""


def draw_people(rng: np.random.Generator, n: int) -> People:
    """Traits of `n` customers."""
    persona = rng.choice(len(world.PERSONAS), n, p=world.PERSONA_SHARE)
    age = np.clip(world.PERSONA_AGE[persona] + world.PERSONA_AGE_SD[persona] * rng.standard_normal(n), 18, 92)
    anonymous = rng.random(n) < 0.03
    late = rng.random(n) < 0.10
    joined = np.where(rng.random(n) < 0.72, -rng.integers(30, 3650, n), rng.integers(0, DAYS - 190, n))
    recent = (world.CUTOFFS[0] - world.START).days
    joined = np.where(late | anonymous, rng.integers(recent - 20, recent + 90, n), joined)
    mode = rng.choice(6, n, p=[0.18, 0.42, 0.23, 0.08, 0.02, 0.07])
    gap = np.array([1.4, 2.6, 6.5, 12.0, 24.0, 4.0])[mode] * np.exp(0.12 * rng.standard_normal(n))
    swing = np.where(gap > 2.0, rng.uniform(0.0, 0.85, n), 0.0)
    swing = np.where(gap > 10.0, 0.2 * swing, swing)
    evening = rng.random(n) < 0.5
    late_share = np.where(evening, 0.72, 0.28)
    # The mean gap stays the same for all shares of late visits.
    pace = gap / (late_share * (1 - swing) + (1 - late_share) * (1 + swing))
    app = (rng.random(n) < np.clip(1.0 - 0.004 * np.clip(age - 30, 0, None), 0.75, 0.95)) & ~(anonymous & (rng.random(n) < 0.5))
    slow = rng.random(n) < 1 / (1 + np.exp(-(age - 42) / 1.5))
    older = (age - 40) / 15
    channel = np.exp(np.stack([0.5 + 0.6 * older, 0.4 - 0.7 * older, 0.1 - 0.2 * older], 1) + 0.9 * rng.standard_normal((n, 3)))
    mix = world.PERSONA_MIX[persona] * rng.gamma(2.0, 0.5, (n, N_CATEGORIES)) + 0.05
    credit = rng.random(n) < 0.72
    return People(
        persona=persona,
        age=age,
        region=rng.integers(0, len(world.REGIONS), n),
        community=rng.integers(0, world.N_COMMUNITIES, n),
        income=np.exp(world.PERSONA_LOG_INCOME[persona] + 0.3 * rng.standard_normal(n)),
        joined=joined,
        anonymous=anonymous,
        app=app,
        gap_short=pace * (1 - swing),
        gap_long=pace * (1 + swing),
        late_share=late_share,
        irregular=mode == 5,
        loop_period=np.where(slow, 38.0, 13.0) * rng.uniform(0.93, 1.07, n),
        loop_amplitude=np.where(app, rng.uniform(1.2, 1.8, n), 0.0),
        loop_phase=rng.uniform(0, 2 * np.pi, n),
        evening=evening,
        savings=rng.random(n) < 0.5,
        credit=credit,
        premium=rng.random(n) < 0.5,
        loyalty=0.65 * rng.beta(1.3, 3.0, n),
        favourite_leaf=_draw_rows(rng, mix) * world.LEAVES_PER_CATEGORY + rng.integers(0, world.LEAVES_PER_CATEGORY, n),
        heavy_tail=rng.random(n) < 0.25,
        deep_diver=app & (rng.random(n) < np.where((age < 30) | (age > 55), 0.92, 0.04)),
        amount_sd=rng.uniform(0.45, 0.8, n),
        propensity=0.7 * rng.standard_normal(n),
        utilisation=rng.beta(1.6, 4.0, n),
        credit_limit=np.round(np.exp(7.6 + 0.5 * rng.standard_normal(n)) * (1 + (age > 30)), -2),
        channel=channel / channel.sum(1, keepdims=True),
        mix=mix / mix.sum(1, keepdims=True),
    )


def _draw_rows(rng: np.random.Generator, weights: Floats) -> Ints:
    """One category a row, by the row's weights."""
    cumulative = np.cumsum(weights, 1)
    index: Ints = (rng.random(len(weights))[:, None] * cumulative[:, -1:] > cumulative).sum(1)
    return index


def draw_story(rng: np.random.Generator, people: People, strengths: Strengths) -> Story:
    """Life events, episodes, and the weekly regimes they lead to."""
    n = len(people)
    shares = np.array([e.share for e in world.LIFE_EVENTS])
    event_day = np.where(rng.random((n, len(shares))) < shares, rng.integers(20, DAYS - 40, (n, len(shares))), DAYS)
    deep_start = np.where(rng.random(n) < 0.6, rng.integers(20, WEEKS - 14, n), -99)
    shape_start = np.where(rng.random(n) < 0.5, rng.integers(20, WEEKS - 14, n), -99)
    complaint = np.where(rng.random(n) < 0.25, rng.integers(4, WEEKS, n), WEEKS + 50)
    regime, broken = _regimes(rng, people, complaint, strengths)
    return Story(
        event_day=event_day,
        broken_from=broken,
        deep_start=deep_start,
        deep_category=rng.integers(0, N_CATEGORIES, n),
        dive_day=np.where(people.deep_diver[:, None], rng.integers(0, DAYS, (n, DIVES)), DAYS),
        shape_start=shape_start,
        complaint_week=complaint,
        regime=regime,
        paused=_pauses(rng, n),
    )


def _regimes(rng: np.random.Generator, people: People, complaint: Ints, s: Strengths) -> tuple[Ints, Ints]:
    """A hidden Markov chain over weeks: engaged <-> steady <-> fading, any -> silent -> steady; silence is churn."""
    n = len(people)
    state = rng.choice(4, n, p=[0.22, 0.45, 0.13, 0.20])
    state = np.where(people.joined >= 0, rng.choice(2, n, p=[0.4, 0.6]), state)
    slow = (people.loop_amplitude > 0) & (people.loop_period > 20)
    broken = (rng.random(n) < 0.35) & slow
    silent_weeks = np.where(state == 3, rng.integers(0, 20, n), 0)
    regime = np.empty((n, WEEKS), np.int64)
    broken_weeks = np.empty((n, WEEKS), np.int64)
    for w in range(WEEKS):
        here = people.joined < 7 * (w + 1)
        u, v = rng.random(n), rng.random(n)
        recent_complaint = (w > complaint) & (w <= complaint + 10)
        log_hazard = s.loop_break * broken + s.fading * (state == 2) - 0.7 * (state == 0) + s.complaint * recent_complaint
        falls = here & (state < 3) & (u < s.base_hazard * np.exp(log_hazard))
        returns = (state == 3) & (silent_weeks >= 5) & (u < s.returning)
        step = np.select(
            [state == 0, state == 1, state == 2],
            [np.where(v < 0.04, 1, 0), np.where(v < 0.025, 0, np.where(v < 0.055, 2, 1)), np.where(v < 0.10, 1, 2)],
            3,
        )
        state = np.where(falls, 3, np.where(returns, 1, np.where(here, step, state)))
        silent_weeks = np.where(state == 3, silent_weeks + 1, 0)
        change = rng.random(n)
        broken = np.where(broken, (change > 0.02) & ~returns, (change < 0.02) & slow & here)
        regime[:, w] = state
        broken_weeks[:, w] = broken
    return regime, broken_weeks


def _pauses(rng: np.random.Generator, n: int) -> Bools:
    paused = np.zeros((n, DAYS + 40), bool)
    rows = np.arange(n)
    for _ in range(4):
        start = rng.integers(0, DAYS, n)
        length = np.where(rng.random(n) < 0.8, rng.integers(6, 22, n), 0)
        for offset in range(22):
            inside = offset < length
            paused[rows[inside], start[inside] + offset] = True
    return paused[:, :DAYS]
