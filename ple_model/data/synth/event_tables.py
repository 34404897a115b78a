"""Simulated customers, purchases, campaigns and merchants as event tables in Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model.data.synth import bank, world
from ple_model.data.synth.activity import SECONDS, Events
from ple_model.data.synth.people import Ints, People, Story
from ple_model.data.synth.truth import ALWAYS, Truth
from ple_model.tasks import CHANNELS, OFFERS


@dataclass(frozen=True)
class Block:
    """One simulated block: the hidden people and story (for tests) and the tables to write."""

    people: People
    story: Story
    tables: dict[str, pa.Table]


def merchant_table() -> pa.Table:
    """The merchants of the fixed world: merchant_id, brand, mcc_l1, mcc_l2, mcc, region."""
    merchant = np.arange(world.N_MERCHANTS)
    brand = merchant // world.OUTLETS
    leaf = brand // world.BRANDS_PER_LEAF
    # Outlet k serves the regions whose number is k modulo OUTLETS; it is placed in one of them.
    region = merchant % world.OUTLETS + world.OUTLETS * (brand % (len(world.REGIONS) // world.OUTLETS))
    return pa.table(
        {
            "merchant_id": merchant_ids(),
            "brand": choose(world.BRANDS, brand),
            **category_table(leaf),
            "region": choose(world.REGIONS, region),
        }
    )


def merchant_ids() -> pa.Array:
    """Names of all merchants by index."""
    return pa.array([f"M{i:05d}" for i in range(world.N_MERCHANTS)])


def category_table(leaf: Ints) -> dict[str, pa.Array]:
    return {
        "mcc_l1": choose(world.L1, leaf // world.LEAVES_PER_CATEGORY),
        "mcc_l2": choose(world.L2, leaf // world.LEAVES_PER_GROUP),
        "mcc": choose(world.LEAVES, leaf),
    }


def customer_table(people: People, ids: pa.Array, rng: np.random.Generator) -> pa.Table:
    n = len(people)
    anonymous = people.anonymous
    birth = (world.CUTOFFS[0].year - np.floor(people.age)).astype(np.int32)
    band = np.clip(np.digitize(people.income * np.exp(0.2 * rng.standard_normal(n)), [1200, 2500, 4500, 7000]), 0, 4)
    household = 1 + rng.poisson(np.where(np.isin(people.persona, (2, 3)), 2.2, 0.6))
    acquisition = rng.integers(0, 4, n)
    return pa.table(
        {
            "customer_id": ids,
            "birth_year": pa.array(birth, mask=anonymous),
            "region": pa.array(np.array(world.REGIONS)[people.region], mask=anonymous),
            "joined_on": as_dates(people.joined),
            "identified": ~anonymous,
            "income_band": pa.array(
                np.array(("under 1,200", "1,200-2,500", "2,500-4,500", "4,500-7,000", "over 7,000"))[band], mask=anonymous
            ),
            "household_size": pa.array(household.astype(np.int32), mask=anonymous),
            "acquisition": choose(("branch", "referral", "online", "partner"), acquisition),
        }
    )


def transaction_table(bought: Events, paid: Events, ids: pa.Array) -> pa.Table:
    merchant = bought.columns["merchant"].astype(np.int64)
    leaf = bought.columns["leaf"].astype(np.int64)
    n, k = len(bought), len(paid)

    def joined(card: pa.Array) -> pa.Array:
        return pa.concat_arrays([card, pa.nulls(k, card.type)])

    categories = category_table(leaf)
    table = pa.table(
        {
            "customer_id": ids.take(pa.array(np.concatenate([bought.customer, paid.customer]))),
            "ts": as_timestamps(np.concatenate([bought.second, paid.second])),
            "amount": np.concatenate([bought.columns["amount"], paid.columns["amount"]]),
            "merchant_id": joined(merchant_ids().take(pa.array(merchant))),
            **{name: joined(values) for name, values in categories.items()},
            "brand": joined(choose(world.BRANDS, bought.columns["brand"])),
            "product": pa.concat_arrays(
                [choose(("debit card", "credit card"), bought.columns["credit"]), pa.repeat("current account", k)]
            ),
            "kind": pa.concat_arrays([pa.repeat("card", n), pa.repeat("deposit", k)]),
            "channel": joined(choose(CHANNELS, bought.columns["channel"])),
        }
    )
    order = np.lexsort((np.concatenate([bought.second, paid.second]), np.concatenate([bought.customer, paid.customer])))
    return table.take(pa.array(order))


def campaign_table(shown: Events, ids: pa.Array) -> pa.Table:
    offer = shown.columns["offer"].astype(np.int64)
    week = shown.columns["week"].astype(np.int64)
    names = np.array([f"{o.replace(' ', '-')}-w{w:02d}" for w in range(world.WEEKS) for o in OFFERS])
    return pa.table(
        {
            "customer_id": ids.take(pa.array(shown.customer)),
            "campaign_id": pa.array(names[week * len(OFFERS) + offer]),
            "offer": choose(OFFERS, offer),
            "exposed_at": as_timestamps(shown.second),
            "clicked_at": as_timestamps(shown.columns["clicked"].astype(np.int64), absent=-1),
            "converted_at": as_timestamps(shown.columns["converted"].astype(np.int64), absent=-1),
        }
    )


def truth_table(truth: Truth, ids: pa.Array) -> pa.Table:
    return pa.table(
        {
            "customer_id": ids.take(pa.array(truth.customer)),
            "cause": choose(truth.cause, truth.code),
            "task": choose(truth.task, truth.code),
            "effect": truth.effect,
            "since": as_dates(truth.since),
            "until": as_dates(truth.until),
        }
    )


def probability_table(planted: bank.PlantedProbabilities, ids: pa.Array) -> pa.Table:
    return pa.table(
        {
            "customer_id": ids.take(pa.array(planted.customer)),
            "cutoff": as_dates(planted.day),
            "task": choose(planted.task, planted.code),
            "class": pa.array(planted.label.astype(np.int32), mask=planted.label < 0),
            "p": planted.p,
        }
    )


def choose(names: Sequence[str], index: NDArray[np.int64] | NDArray[np.float64]) -> pa.Array:
    return pa.array(list(names)).take(pa.array(index.astype(np.int64)))


def as_dates(days: NDArray[np.int64] | NDArray[np.float64]) -> pa.Array:
    """Days since `world.START` to dates; `ALWAYS` becomes NULL."""
    whole = days.astype(np.int64)
    return pa.array((whole + world.EPOCH_DAY).astype(np.int32), mask=whole == ALWAYS).cast(pa.date32())


def as_timestamps(seconds: NDArray[np.int64], absent: int | None = None) -> pa.Array:
    micro = (seconds + world.EPOCH_DAY * SECONDS) * 1_000_000
    mask = None if absent is None else seconds == absent
    return pa.array(micro, mask=mask).cast(pa.timestamp("us"))
