"""The truth the generator writes down: which cause moved which label of which customer, by how much, and when.

`effect` is in the unit of the cause: log hazard (churn, retention), log-odds (ctr, cvr, nba), log factor (ltv, spending_bucket,
engagement), log weight (spending_category), share (balance_util, merchant_affinity, brand_prediction, channel), days (timing,
consumption_cycle), age in years (life_stage). `since` / `until` bound the time it was at work; NULL is always.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ple_model.data.synth import world
from ple_model.data.synth.activity import mean_gap
from ple_model.data.synth.bank import conversion_sign, interaction_sign, offer_taste
from ple_model.data.synth.people import EPISODE_WEEKS, EXPLORE_WEEKS, Bools, Floats, Ints, People, Story
from ple_model.data.synth.world import DAYS, Strengths

ALWAYS = -1_000_000
"""Marks an open end of `since` / `until`."""

CAUSE_EXPERT: dict[str, str] = {
    "loop_break": "perslay", "cycle_length": "perslay", "visit_rhythm": "temporal", "hour_of_last_visit": "temporal",
    "taste_community": "lightgcn", "heavy_tail": "raw_scale", "deep_dive": "raw_scale", "category_deepening": "unified_hgcn",
    "favourite_merchant": "unified_hgcn", "savings_x_evening": "deepfm", "credit_x_premium": "deepfm",
    "amount_shape": "optimal_transport", "income_shock": "causal", "regime": "hmm_lifecycle",
}  # fmt: skip
"""The expert (or HMM) whose input a cause was planted in. How much of it other inputs carry too: `docs/ablation.md`."""


@dataclass(frozen=True)
class Truth:
    """Rows of the truth table: customer index in the block, cause, task, effect, since and until (days, `ALWAYS` for open)."""

    customer: Ints
    cause: tuple[str, ...]
    task: tuple[str, ...]
    code: Ints
    """[m] index into `cause` and `task`."""
    effect: Floats
    since: Ints
    until: Ints


class _TruthRows:
    def __init__(self) -> None:
        self.cause: list[str] = []
        self.task: list[str] = []
        self.parts: list[tuple[Ints, Ints, Floats, Ints, Ints]] = []

    def add(
        self,
        cause: str,
        tasks: tuple[str, ...],
        who: Ints,
        effect: Floats,
        since: Ints | None = None,
        until: Ints | None = None,
    ) -> None:
        open_end = np.full(len(who), ALWAYS, np.int64)
        for task in tasks:
            code = np.full(len(who), len(self.cause), np.int64)
            self.cause.append(cause)
            self.task.append(task)
            self.parts.append((who, code, effect, open_end if since is None else since, open_end if until is None else until))


def truth_rows(people: People, story: Story, s: Strengths) -> Truth:
    """Everything that is planted in these customers."""
    rows = _TruthRows()
    everyone = np.arange(len(people))
    rows.add("visit_rhythm", ("timing",), everyone, people.gap_long - people.gap_short)
    rows.add("visit_pace", ("consumption_cycle", "engagement"), everyone, mean_gap(people))
    rows.add("hour_of_last_visit", ("channel",), everyone, np.full(len(people), s.late_online))
    cyclic = np.nonzero(people.loop_amplitude > 0)[0]
    rows.add("cycle_length", ("life_stage",), cyclic, people.loop_period[cyclic])
    rows.add("taste_community", ("brand_prediction",), everyone, np.full(len(people), s.community))
    rows.add("favourite_merchant", ("merchant_affinity",), everyone, people.loyalty)
    rows.add("channel_habit", ("channel",), everyone, people.channel.max(1))
    rows.add("age", ("life_stage",), everyone, people.age)
    rows.add("savings_x_evening", ("ctr", "nba"), everyone, s.interaction * interaction_sign(people))
    rows.add("credit_x_premium", ("cvr",), everyone, s.conversion_interaction * conversion_sign(people))
    rows.add("offer_taste", ("nba",), everyone, np.ptp(offer_taste(people, s), axis=1))
    rows.add("click_propensity", ("ctr", "cvr"), everyone, people.propensity)
    tail = np.nonzero(people.heavy_tail)[0]
    # Mean of the capped Pareto burst is about 23; log of the mean factor it puts on spend.
    rows.add("heavy_tail", ("spending_bucket", "ltv"), tail, np.full(len(tail), np.log1p(22.0 * s.tail_chance)))
    diver = np.nonzero(people.deep_diver)[0]
    rows.add("deep_dive", ("life_stage",), diver, people.age[diver])
    _spells(rows, "loop_break", ("churn", "retention"), story.broken_from > 0, s.loop_break)
    _spells(rows, "regime", ("churn", "retention", "engagement"), story.regime == 2, s.fading)
    complained = np.nonzero(story.complaint_week < world.WEEKS)[0]
    start = 7 * (story.complaint_week[complained] + 1)
    rows.add("complaint", ("churn", "retention"), complained, np.full(len(complained), s.complaint), start, start + 70)
    deep = np.nonzero(story.deep_start >= 0)[0]
    start = 7 * (story.deep_start[deep] + EXPLORE_WEEKS)
    end = start + 7 * EPISODE_WEEKS
    rows.add("category_deepening", ("spending_category",), deep, np.full(len(deep), s.deepening), start, end)
    shaped = np.nonzero(story.shape_start >= 0)[0]
    start = 7 * (story.shape_start[shaped] + EXPLORE_WEEKS)
    end = start + 7 * EPISODE_WEEKS
    rows.add("amount_shape", ("ltv", "spending_bucket"), shaped, np.full(len(shaped), s.shape_growth), start, end)
    for e, event in enumerate(world.LIFE_EVENTS):
        who = np.nonzero(story.event_day[:, e] < DAYS)[0]
        since = story.event_day[who, e]
        until = since + 7 * event.weeks
        rows.add(event.name, ("nba",), who, np.full(len(who), max(event.offers.values())), since, until)
        rows.add(event.name, ("spending_category",), who, np.full(len(who), max(event.categories.values())), since, until)
        if event.utilisation:
            credit = people.credit[who]
            effect = np.full(int(credit.sum()), event.utilisation)
            rows.add(event.name, ("balance_util",), who[credit], effect, since[credit], until[credit] + 60)
    columns = [np.concatenate([p[k] for p in rows.parts]) for k in range(5)]
    customer, code, effect, since, until = columns
    keep = (since == ALWAYS) | ((since < DAYS) & (np.where(until == ALWAYS, DAYS, until) > 0))
    order = np.lexsort((since[keep], code[keep], customer[keep]))
    customer, code, effect, since, until = (v[keep][order] for v in columns)
    return Truth(customer, tuple(rows.cause), tuple(rows.task), code, effect, since, until)


def _spells(rows: _TruthRows, cause: str, tasks: tuple[str, ...], weeks: Bools, effect: float) -> None:
    """One row a spell of consecutive weeks."""
    padded = np.pad(weeks.astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(padded, axis=1)
    who, first = np.nonzero(change == 1)
    _, last = np.nonzero(change == -1)
    rows.add(cause, tasks, who, np.full(len(who), effect), 7 * first, 7 * last)
