"""Blocks of customers to Parquet event tables: one row group a block, written beside and renamed when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ple_model.data.events.manifest import Defaults, EventsManifest, TableEntry
from ple_model.data.synth import activity, bank, world
from ple_model.data.synth.activity import SECONDS, Events
from ple_model.data.synth.people import Ints, People, Story, draw_people, draw_story
from ple_model.data.synth.truth import ALWAYS, Truth, truth_rows
from ple_model.data.synth.world import Strengths
from ple_model.errors import UserError
from ple_model.staging import staged_folder
from ple_model.tasks import CHANNELS, OFFERS
from ple_model.threads import one_thread_each, take_back

BLOCK = 500
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Block:
    """One simulated block: the hidden people and story (for tests) and the tables to write."""

    people: People
    story: Story
    tables: dict[str, pa.Table]


def simulate_block(seed: int, number: int, strengths: Strengths = Strengths()) -> Block:  # noqa: B008 (frozen)
    """Customers `number * BLOCK` to `(number + 1) * BLOCK - 1` of this seed; depends on nothing else."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    people = draw_people(rng, BLOCK)
    story = draw_story(rng, people, strengths)
    ids = pa.array([f"C{number * BLOCK + i:08d}" for i in range(BLOCK)])
    customers = _customers(people, ids, rng)
    loop = activity.loop_factor(people, story, rng)
    visits = activity.visit_days(people, story, rng)
    bought = activity.purchases(people, story, visits, strengths, rng)
    paid = activity.deposits(people, story, rng)
    seen = activity.sessions(people, story, visits, loop, rng)
    shown = bank.campaigns(people, story, strengths, rng)
    held = bank.holdings(people, story, shown, rng)
    sides = bank.side_tables(people, story, rng)
    tables = {
        "customers": customers,
        "transactions": _transactions(bought, paid, ids),
        "sessions": pa.table(
            {
                "customer_id": ids.take(pa.array(seen.customer)),
                "ts": _timestamps(seen.second),
                "duration": seen.columns["duration"],
                "channel": _choose(CHANNELS, seen.columns["channel"]),
                "events": seen.columns["events"].astype(np.int32),
            }
        ),
        "holdings": pa.table(
            {
                "customer_id": ids.take(pa.array(held["customer"])),
                "product": _choose(world.PRODUCTS, held["product"]),
                "as_of": _dates(held["as_of"]),
                "opened_on": _dates(held["opened"]),
                "closed_on": _dates(held["closed"]),
                "balance": held["balance"],
                "credit_limit": pa.array(held["credit_limit"], from_pandas=True),
            }
        ),
        "campaigns": _campaigns(shown, ids),
        "truth": _truth(truth_rows(people, story, strengths), ids),
        "probabilities": _probabilities(bank.planted(people, story, strengths), ids),
    }
    for name, side in sides.items():
        tables[name] = pa.table(
            {
                "customer_id": ids.take(pa.array(side.customer)),
                "ts": _timestamps(side.second),
                "kind": _choose(bank.SIDE_KINDS[name], side.columns["kind"]),
                "amount": side.columns["amount"],
            }
        )
    return Block(people, story, tables)


def generate(
    out: Path, customers: int, seed: int, *, progress: Progress | None = None, workers: int = 1, name: str = "synthetic bank"
) -> EventsManifest:
    """Write the event tables of `customers` customers to `out` (which must not exist or be empty) and return the manifest.

    `workers` processes make blocks; the result does not depend on it. Memory holds a few blocks at a time.
    """
    if customers < 1:
        raise UserError(f"--customers is {customers}; it must be at least 1")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed is {seed}; it must be between 0 and 2^63 - 1")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' exists and is not an empty folder; give a new place")
    with staged_folder(out) as fresh:
        return _write(fresh, customers, seed, name, workers, progress)


def _write(partial: Path, customers: int, seed: int, name: str, workers: int, progress: Progress | None) -> EventsManifest:
    blocks = -(-customers // BLOCK)
    writers: dict[str, pq.ParquetWriter] = {}
    rows: dict[str, int] = {}
    try:
        for number, tables in enumerate(_blocks(seed, blocks, workers)):
            if (number + 1) * BLOCK > customers:
                tables = _first(tables, number * BLOCK, customers)
            for table, data in tables.items():
                if table not in writers:
                    writers[table] = pq.ParquetWriter(
                        partial / f"{table}.parquet", data.schema, compression="zstd", store_schema=False
                    )
                writers[table].write_table(data, row_group_size=1 << 20)
                rows[table] = rows.get(table, 0) + data.num_rows
            if progress is not None:
                progress(min(customers, (number + 1) * BLOCK), customers)
    finally:
        for writer in writers.values():
            writer.close()
    merchants = merchant_table()
    pq.write_table(merchants, partial / "merchants.parquet", compression="zstd")
    rows["merchants"] = merchants.num_rows
    manifest = EventsManifest(
        source="synthetic bank",
        name=name,
        tables={t: TableEntry(n) for t, n in sorted(rows.items())},
        defaults=Defaults(
            cutoffs=tuple(c.isoformat() for c in world.CUTOFFS),
            horizon_days=world.HORIZON,
            notes=(
                "Generated data: no person behind it.",
                "Causes act on events only; truth.parquet says which moved which label.",
                "probabilities.parquet holds the planted probability of ctr, cvr and nba.",
            ),
        ),
        currency="USD",
        parameters={"customers": customers, "seed": seed, "start": world.START.isoformat(), "days": world.DAYS},
    )
    manifest.save(partial)
    return manifest


def _blocks(seed: int, blocks: int, workers: int) -> Iterator[dict[str, pa.Table]]:
    """Blocks in order, from this process or from a few others that stay only a little ahead of the writer."""
    workers = min(workers, blocks)
    if workers <= 1:
        for number in range(blocks):
            yield simulate_block(seed, number).tables
        return
    with one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=take_back) as pool:
        ahead = [pool.submit(_tables, seed, k) for k in range(min(blocks, workers + 1))]
        for number in range(blocks):
            yield ahead.pop(0).result()
            if number + workers + 1 < blocks:
                ahead.append(pool.submit(_tables, seed, number + workers + 1))


def _tables(seed: int, number: int) -> dict[str, pa.Table]:
    return simulate_block(seed, number).tables


def _first(tables: dict[str, pa.Table], start: int, customers: int) -> dict[str, pa.Table]:
    """The rows of the first customers of the last block."""
    wanted = pa.array([f"C{i:08d}" for i in range(start, customers)])
    return {k: t.filter(pa.compute.is_in(t["customer_id"], value_set=wanted)) for k, t in tables.items()}


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
            "brand": _choose(world.BRANDS, brand),
            **_categories(leaf),
            "region": _choose(world.REGIONS, region),
        }
    )


def merchant_ids() -> pa.Array:
    """Names of all merchants by index."""
    return pa.array([f"M{i:05d}" for i in range(world.N_MERCHANTS)])


def _categories(leaf: Ints) -> dict[str, pa.Array]:
    return {
        "mcc_l1": _choose(world.L1, leaf // world.LEAVES_PER_CATEGORY),
        "mcc_l2": _choose(world.L2, leaf // world.LEAVES_PER_GROUP),
        "mcc": _choose(world.LEAVES, leaf),
    }


def _customers(people: People, ids: pa.Array, rng: np.random.Generator) -> pa.Table:
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
            "joined_on": _dates(people.joined),
            "identified": ~anonymous,
            "income_band": pa.array(
                np.array(("under 1,200", "1,200-2,500", "2,500-4,500", "4,500-7,000", "over 7,000"))[band], mask=anonymous
            ),
            "household_size": pa.array(household.astype(np.int32), mask=anonymous),
            "acquisition": _choose(("branch", "referral", "online", "partner"), acquisition),
        }
    )


def _transactions(bought: Events, paid: Events, ids: pa.Array) -> pa.Table:
    merchant = bought.columns["merchant"].astype(np.int64)
    leaf = bought.columns["leaf"].astype(np.int64)
    n, k = len(bought), len(paid)

    def joined(card: pa.Array) -> pa.Array:
        return pa.concat_arrays([card, pa.nulls(k, card.type)])

    categories = _categories(leaf)
    table = pa.table(
        {
            "customer_id": ids.take(pa.array(np.concatenate([bought.customer, paid.customer]))),
            "ts": _timestamps(np.concatenate([bought.second, paid.second])),
            "amount": np.concatenate([bought.columns["amount"], paid.columns["amount"]]),
            "merchant_id": joined(merchant_ids().take(pa.array(merchant))),
            **{name: joined(values) for name, values in categories.items()},
            "brand": joined(_choose(world.BRANDS, bought.columns["brand"])),
            "product": pa.concat_arrays(
                [_choose(("debit card", "credit card"), bought.columns["credit"]), pa.repeat("current account", k)]
            ),
            "kind": pa.concat_arrays([pa.repeat("card", n), pa.repeat("deposit", k)]),
            "channel": joined(_choose(CHANNELS, bought.columns["channel"])),
        }
    )
    order = np.lexsort((np.concatenate([bought.second, paid.second]), np.concatenate([bought.customer, paid.customer])))
    return table.take(pa.array(order))


def _campaigns(shown: Events, ids: pa.Array) -> pa.Table:
    offer = shown.columns["offer"].astype(np.int64)
    week = shown.columns["week"].astype(np.int64)
    names = np.array([f"{o.replace(' ', '-')}-w{w:02d}" for w in range(world.WEEKS) for o in OFFERS])
    return pa.table(
        {
            "customer_id": ids.take(pa.array(shown.customer)),
            "campaign_id": pa.array(names[week * len(OFFERS) + offer]),
            "offer": _choose(OFFERS, offer),
            "exposed_at": _timestamps(shown.second),
            "clicked_at": _timestamps(shown.columns["clicked"].astype(np.int64), absent=-1),
            "converted_at": _timestamps(shown.columns["converted"].astype(np.int64), absent=-1),
        }
    )


def _truth(truth: Truth, ids: pa.Array) -> pa.Table:
    return pa.table(
        {
            "customer_id": ids.take(pa.array(truth.customer)),
            "cause": _choose(truth.cause, truth.code),
            "task": _choose(truth.task, truth.code),
            "effect": truth.effect,
            "since": _dates(truth.since),
            "until": _dates(truth.until),
        }
    )


def _probabilities(planted: bank.PlantedProbabilities, ids: pa.Array) -> pa.Table:
    return pa.table(
        {
            "customer_id": ids.take(pa.array(planted.customer)),
            "cutoff": _dates(planted.day),
            "task": _choose(planted.task, planted.code),
            "class": pa.array(planted.label.astype(np.int32), mask=planted.label < 0),
            "p": planted.p,
        }
    )


def _choose(names: Sequence[str], index: NDArray[np.int64] | NDArray[np.float64]) -> pa.Array:
    return pa.array(list(names)).take(pa.array(index.astype(np.int64)))


def _dates(days: NDArray[np.int64] | NDArray[np.float64]) -> pa.Array:
    """Days since `world.START` to dates; `ALWAYS` becomes NULL."""
    whole = days.astype(np.int64)
    return pa.array((whole + world.EPOCH_DAY).astype(np.int32), mask=whole == ALWAYS).cast(pa.date32())


def _timestamps(seconds: NDArray[np.int64], absent: int | None = None) -> pa.Array:
    micro = (seconds + world.EPOCH_DAY * SECONDS) * 1_000_000
    mask = None if absent is None else seconds == absent
    return pa.array(micro, mask=mask).cast(pa.timestamp("us"))
