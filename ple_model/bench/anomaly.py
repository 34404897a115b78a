"""`ple bench anomaly`: what the anomaly score finds of what was planted in customers' last days.

Half of the test customers get an anomaly of one kind in their last fourteen days, the other half stays as it is; the area
under the ROC curve says how well a score tells the halves apart. Beside the encoder's score: the largest z-score of a
customer's amounts in these days by the days before, and an isolation forest (Liu et al. 2008) and the Mahalanobis distance on
statistics of these days and of how they differ from the days before, fitted on the training customers as the encoder's scale
is. `--only "completejourney spike"`: in the days of real customers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.bench.bank import AMOUNT, PIECE, SOURCES, Bank, auc_interval
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.sequences.anomaly import LAST_STEPS, anomaly_scores, fit_anomaly_scale
from ple_model.sequences.planted import KINDS, PlantSettings, plant
from ple_model.sequences.series import Series

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Seen = NDArray[np.bool_]


def z_scores(x: Floats, seen: Seen, last: int = LAST_STEPS) -> Array:
    """[n] the largest distance of a last day's amount from the mean of the days before, in their deviations; of the days that
    are seen [n, L]."""
    amount, there = x[:, :, AMOUNT].astype(np.float64)[:, :, None], seen[:, :, None]
    mean, spread, _ = _moments(amount[:, :-last], there[:, :-last])
    distance = np.abs(amount[:, -last:] - mean[:, None]) / np.maximum(spread, 1e-3)[:, None]
    return np.asarray(np.where(there[:, -last:], distance, 0.0).max(axis=(1, 2)))


def statistics_of(x: Floats, seen: Seen, last: int = LAST_STEPS) -> Floats:
    """[n, 8 C] of the last days and of their difference to the days before: mean, deviation, largest, mean change a day; of the
    days that are seen [n, L], 0 where there is none."""
    parts = []
    for days, there in ((x[:, -last:], seen[:, -last:]), (x[:, :-last], seen[:, :-last])):
        change, _, _ = _moments(np.abs(np.diff(days, axis=1)), (there[:, 1:] & there[:, :-1])[:, :, None])
        parts.append(np.concatenate([*_moments(days, there[:, :, None]), change], axis=1))
    return np.concatenate([parts[0], parts[0] - parts[1]], axis=1).astype(np.float32)


def _moments(days: NDArray[Any], there: Seen) -> tuple[Array, Array, Array]:
    """(mean, deviation, largest) [n, C] of days [n, L, C] where `there` [n, L, 1]; 0 where there is none."""
    n = np.maximum(there.sum(axis=1), 1)
    mean = np.where(there, days, 0.0).sum(axis=1) / n
    spread = np.sqrt((np.where(there, days - mean[:, None], 0.0) ** 2).sum(axis=1) / n)
    largest = np.where(there.any(axis=1), np.where(there, days, -np.inf).max(axis=1), 0.0)
    return mean, spread, largest


def run(settings: Settings) -> list[Row]:
    out: list[Row] = []
    for of, source in SOURCES:
        kinds = [kind for kind in KINDS if settings.wants(f"{of}{kind}")]
        if kinds:
            with source(settings) as made:
                out += _of_bank(of, made, kinds, settings.seed)
    return out


def _of_bank(of: str, made: Bank, kinds: list[str], seed: int) -> Iterator[Row]:
    train, test = made.split("train", latest=True), made.split("test", latest=True)
    alive = np.flatnonzero(test.series.seen[:, -LAST_STEPS:].all(dim=1).numpy())
    test = test.taken(alive)
    pieces = [train.series.rows(slice(i, i + PIECE)) for i in range(0, len(train), PIECE)]
    scale = fit_anomaly_scale(made.encoder, pieces[:1], usual=pieces)  # scores are compared here, and nobody is ranked
    known = statistics_of(train.series.values.numpy(), train.series.seen.numpy())
    forest, distance = _forest(known, seed), _mahalanobis(known)
    healthy, seen = test.series.values.numpy(), test.series.seen.numpy()

    def encoder_scores(x: Floats) -> Array:
        series = Series(torch.from_numpy(x), test.series.seen)
        found = [anomaly_scores(made.encoder, series.rows(slice(i, i + PIECE)), scale) for i in range(0, len(x), PIECE)]
        return np.nan_to_num(np.concatenate(found))

    ways: dict[str, Callable[[Floats], Array]] = {
        "encoder": encoder_scores,
        "z-score of amounts": lambda x: z_scores(x, seen),
        "isolation forest": lambda x: np.asarray(-forest.score_samples(statistics_of(x, seen)), np.float64),
        "statistics, Mahalanobis": lambda x: distance(statistics_of(x, seen)),
    }
    usual = {name: way(healthy) for name, way in ways.items()}
    for kind in kinds:
        broken = plant(kind, healthy, PlantSettings(last=LAST_STEPS), seed).values
        yield from _kind(f"{of}{kind}", usual, {name: way(broken) for name, way in ways.items()}, test.customers, seed)


def _mahalanobis(known: Floats) -> Callable[[Floats], Array]:
    """The distance of statistics from those of the training customers, with a shrunk covariance."""
    from sklearn.covariance import LedoitWolf  # late: scikit-learn

    center, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    fitted = LedoitWolf(assume_centered=True).fit((known - center) / spread)
    return lambda x: np.asarray(fitted.mahalanobis((x - center) / spread), np.float64)


def _forest(x: Floats, seed: int):  # type: ignore[no-untyped-def]  # scikit-learn has no types
    from sklearn.ensemble import IsolationForest  # late: scikit-learn

    return IsolationForest(n_estimators=200, random_state=seed, n_jobs=1).fit(x)


def _kind(
    kind: str, usual: dict[str, Array], broken: dict[str, Array], customers: NDArray[np.object_], seed: int
) -> Iterator[Row]:
    y = (np.random.default_rng(seed).permutation(len(customers)) < len(customers) // 2).astype(np.float64)
    mixed = {name: np.where(y > 0.5, broken[name], usual[name]) for name in usual}
    for name, scores in mixed.items():
        value, low, high = auc_interval(y, scores, customers)
        yield Row("anomaly", f"{kind}: {name}, AUROC, {len(y)} customers", value, unit="AUC", low=low, high=high)
    for name in list(mixed)[1:]:
        value, low, high = auc_interval(y, mixed["encoder"], customers, mixed[name])
        yield Row("anomaly", f"{kind}: encoder - {name}, AUROC", value, Target(0.0), unit="AUC", low=low, high=high)


BENCHMARKS = (
    Benchmark("anomaly", "planted anomalies: the encoder's score beside z-scores and an isolation forest", run, proof=True),
)
