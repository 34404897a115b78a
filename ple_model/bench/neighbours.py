"""`ple bench neighbours`: who moved alike, by embedding and by time warping, on a bank whose personas are known.

The share of a customer's ten nearest that have its persona, beside the share that anybody has by chance; how many of the
true ten nearest by time warping a shortlist by embedding keeps; and the seconds of one query in a pool of 100,000.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from numpy.typing import NDArray

from ple_model.bench.bank import AMOUNT, bank, personas, whole_series
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.sequences.neighbours import SHORTLIST, nearest, nearest_by_embedding, shortlist, standardised

K = 10
LEAST_DAYS = 90
"""Days since a customer's first event in the series: of fewer there is little to compare."""


def scaled(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every column of the embedding at one standard deviation, so that no channel's level decides alone."""
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0), np.float32)


def same(persona: NDArray[np.int64], found: list[NDArray[np.int64]], queries: NDArray[np.int64]) -> tuple[float, float, float]:
    """(mean, low, high) of the share of neighbours with the query's persona; the interval resamples queries."""
    share = np.array([(persona[n] == persona[q]).mean() for n, q in zip(found, queries, strict=True)])
    rng = np.random.default_rng(0)
    draws = [share[rng.integers(0, len(share), len(share))].mean() for _ in range(400)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(share.mean()), float(low), float(high)


def run(settings: Settings) -> list[Row]:
    with bank(settings) as made:
        parts = [made.split(s, latest=True) for s in ("train", "validation", "test")]
        ids = np.concatenate([p.customers for p in parts])
        seen = np.concatenate([p.series.seen.numpy().sum(axis=1) for p in parts])
        amounts = np.concatenate([p.series.values[:, :, AMOUNT].numpy() for p in parts])
        vectors = scaled(np.concatenate([whole_series(made.encoder, p.series) for p in parts]))
        persona = personas(made.seed, ids)
    keep = np.flatnonzero(seen >= LEAST_DAYS)
    persona, vectors, pool = persona[keep], vectors[keep], standardised(amounts[keep])
    level = vectors[:, -(2 * made.encoder.channels + 1) :]  # what the norm took out, and the share of days
    queries = np.random.default_rng(settings.seed).permutation(len(pool))[: settings.pick(300, 10)]
    exact = [nearest(pool, pool[q], K, leave_out=int(q)).index for q in queries]
    ways = {
        "embedding": [shortlist(vectors, int(q), K) for q in queries],
        "level of the channels alone": [shortlist(level, int(q), K) for q in queries],
        "time warping": exact,
        "time warping on the embedding's shortlist": [nearest_by_embedding(pool, vectors, int(q), K).index for q in queries],
    }
    share = np.bincount(persona) / len(persona)
    out = [Row("neighbours", f"same persona among {K}: by chance, pool of {len(pool):,}", float((share**2).sum()), unit="")]
    for name, found in ways.items():
        value, low, high = same(persona, found, queries)
        out.append(Row("neighbours", f"same persona among {K}: {name}", value, unit="", low=low, high=high))
    for size in (100, 500, SHORTLIST):
        kept = float(
            np.mean([np.isin(e, shortlist(vectors, int(q), size)).mean() for e, q in zip(exact, queries, strict=True)])
        )
        name = f"recall of the true {K} in a shortlist of {size}, of {len(pool):,}"
        out.append(Row("neighbours", name, kept, unit=""))
    return [*out, _large(pool, vectors, settings)]


def _large(pool: NDArray[np.float64], vectors: NDArray[np.float32], settings: Settings) -> Row:
    """Seconds of a query in a large pool, of the bank's series with noise so that no two are alike."""
    rng = np.random.default_rng(settings.seed)
    n = settings.pick(100_000, 2_000)
    at = rng.integers(0, len(pool), n)
    many = standardised(pool[at] + 0.1 * rng.standard_normal((n, pool.shape[1])))
    wide = vectors[at] + 0.05 * rng.standard_normal((n, vectors.shape[1]), dtype=np.float32)
    seconds = []
    for query in range(settings.pick(10, 2)):
        began = time.perf_counter()
        nearest_by_embedding(many, wide, query, K)
        seconds.append(time.perf_counter() - began)
    name = f"seconds for the {K} nearest in a pool of {n:,}"
    return Row(
        "neighbours",
        name,
        statistics.median(seconds),
        Target(10.0, at_least=False),
        unit="s",
        low=min(seconds),
        high=max(seconds),
    )


BENCHMARKS = (
    Benchmark("neighbours", "nearest customers by embedding and by time warping, on planted personas", run, proof=True),
)
