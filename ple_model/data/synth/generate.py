"""Blocks of customers to Parquet event tables: one row group a block, written beside and renamed when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ple_model.data.events.manifest import Defaults, EventsManifest, TableEntry
from ple_model.data.synth import activity, bank, world
from ple_model.data.synth.event_tables import (
    Block,
    as_dates,
    as_timestamps,
    campaign_table,
    choose,
    customer_table,
    merchant_table,
    probability_table,
    transaction_table,
    truth_table,
)
from ple_model.data.synth.people import draw_people, draw_story
from ple_model.data.synth.side_tables import SIDE_KINDS, side_tables
from ple_model.data.synth.truth import truth_rows
from ple_model.data.synth.world import Strengths
from ple_model.errors import UserError
from ple_model.staging import staged_folder
from ple_model.tasks import CHANNELS
from ple_model.threads import one_thread_each, take_back

BLOCK = 500
Progress = Callable[[int, int], None]


def simulate_block(seed: int, number: int, strengths: Strengths = Strengths()) -> Block:  # noqa: B008 (frozen)
    """Customers `number * BLOCK` to `(number + 1) * BLOCK - 1` of this seed; depends on nothing else."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    people = draw_people(rng, BLOCK)
    story = draw_story(rng, people, strengths)
    ids = pa.array([f"C{number * BLOCK + i:08d}" for i in range(BLOCK)])
    customers = customer_table(people, ids, rng)
    loop = activity.loop_factor(people, story, rng)
    visits = activity.visit_days(people, story, rng)
    bought = activity.purchases(people, story, visits, strengths, rng)
    paid = activity.deposits(people, story, rng)
    seen = activity.sessions(people, story, visits, loop, rng)
    shown = bank.campaigns(people, story, strengths, rng)
    held = bank.holdings(people, story, shown, rng)
    sides = side_tables(people, story, rng)
    tables = {
        "customers": customers,
        "transactions": transaction_table(bought, paid, ids),
        "sessions": pa.table(
            {
                "customer_id": ids.take(pa.array(seen.customer)),
                "ts": as_timestamps(seen.second),
                "duration": seen.columns["duration"],
                "channel": choose(CHANNELS, seen.columns["channel"]),
                "events": seen.columns["events"].astype(np.int32),
            }
        ),
        "holdings": pa.table(
            {
                "customer_id": ids.take(pa.array(held["customer"])),
                "product": choose(world.PRODUCTS, held["product"]),
                "as_of": as_dates(held["as_of"]),
                "opened_on": as_dates(held["opened"]),
                "closed_on": as_dates(held["closed"]),
                "balance": held["balance"],
                "credit_limit": pa.array(held["credit_limit"], from_pandas=True),
            }
        ),
        "campaigns": campaign_table(shown, ids),
        "truth": truth_table(truth_rows(people, story, strengths), ids),
        "probabilities": probability_table(bank.planted(people, story, strengths), ids),
    }
    for name, side in sides.items():
        tables[name] = pa.table(
            {
                "customer_id": ids.take(pa.array(side.customer)),
                "ts": as_timestamps(side.second),
                "kind": choose(SIDE_KINDS[name], side.columns["kind"]),
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
