"""The end of a training: calibration on the validation split, metrics on validation and test, a sample of customers.

For scoring and drift: quantiles of the uncertainty on validation customers, and a profile of the training rows.

Everything here follows from the best weights and the dataset, so that a training killed in the middle of it does it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.amounts import AmountMap, MeanShift, amount_metrics, fit_amounts, fit_shift
from ple_model.calibration import CalibrationMap, fit_calibration
from ple_model.consistency import write_consistency
from ple_model.constant_metrics import commonest_share, constant, training_labels
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.finite import bad_tensors, tensors_sentence
from ple_model.label_profile import add_told
from ple_model.metrics import BY_KIND
from ple_model.model import PLEClusterAdaTT
from ple_model.outcomes import write_outcomes
from ple_model.profile import write_profile
from ple_model.reliability import reliability
from ple_model.run import write_amounts, write_calibration, write_shifts
from ple_model.run_fingerprint import write_fingerprint
from ple_model.scoring import Scores, TaskRows, score
from ple_model.skill import StoredBaselines, lend, stored
from ple_model.staging import staged_folder
from ple_model.uncertainty import measure_and_write

SAMPLE_SHARES = {"test": 0.5, "validation": 0.25, "train": 0.25}
"""Shares of the stored customers by split: test rows first, since pages measure on them."""


def finish(
    run: Path, model: PLEClusterAdaTT, dataset: Dataset, *, customers: int = 2000, baselines: StoredBaselines | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> tuple[str, ...]:  # fmt: skip
    """Write preprocess/{calibration,uncertainty,labels}.json, preprocess/{profile,consistency,outcomes,reliability}.npz,
    metrics.json, sample/ and, of all of it, fingerprint.json. `model` is in eval mode. `tell` hears what is done next.

    Returns what a reader must know of these numbers: rows that are no numbers, which calibration leaves out and metrics count
    as misses. `UserError` if weights are not finite, or if no output of a task is."""
    bad = bad_tensors(model.state_dict().items())
    onlookers = tuple(f"{name}." for name in model.onlookers())
    main = {k: v for k, v in bad.items() if not k.startswith(onlookers)}
    if main:
        raise UserError(f"{tensors_sentence('the trained weights', main)}; lower training.learning_rate")
    tell("calibration")
    model.shifts = {}  # a finish that was killed does all of it again
    validation = score(model, dataset, "validation")
    said = [validation.tally.sentence()]
    maps = calibrate(validation)
    write_calibration(run, maps)
    model.amounts = fit_all_amounts(validation)
    write_amounts(run, model.amounts)
    model.shifts = fit_all_shifts(validation)
    write_shifts(run, model.shifts)
    validation = shifted(validation, model.shifts)
    tell("profile")
    measure_and_write(run, model, dataset)
    write_profile(run, dataset)
    write_consistency(run, dataset)
    add_told(run, dataset, model.config)
    write_outcomes(run, dataset, model.config)
    tell("metrics")
    known = training_labels(dataset)
    told = calibrated(validation, maps)
    splits: dict[str, Any] = {"validation": split_metrics(told, known, model.amounts)}
    if dataset.rows("test"):
        told = score(model, dataset, "test", calibration=maps)
        splits["test"] = split_metrics(told, known, model.amounts)
        said.append(told.tally.sentence())
    write_json(run / "metrics.json", {"calibrated_on": "validation", "splits": splits})
    reliability(told).save(run / "preprocess")
    tell("sample")
    write_sample(run, dataset, customers, baselines=baselines)
    tell("fingerprint")
    write_fingerprint(run)
    return (
        *(f"{text}; such predictions count as misses" for text in said if text),
        *((f"{tensors_sentence('the trained weights', bad)}: no prediction depends on them",) if bad else ()),
    )


def calibrate(scores: Scores) -> dict[str, CalibrationMap]:
    """A map for each binary task that has labels."""
    found: dict[str, CalibrationMap] = {}
    for name, rows in scores.tasks.items():
        if rows.spec.kind == "binary" and len(rows):
            try:
                found[name] = fit_calibration(rows.prediction, rows.label)
            except UserError as e:
                raise UserError(f"task '{name}': {e}; {scores.tally.sentence()}") from e
    return found


def calibrated(scores: Scores, maps: Mapping[str, CalibrationMap]) -> Scores:
    tasks = {k: TaskRows(r.spec, r.row, r.label, maps[k](r.prediction)) if k in maps else r for k, r in scores.tasks.items()}
    return replace(scores, tasks=tasks)


def fit_all_amounts(scores: Scores) -> dict[str, AmountMap]:
    """A map for each task whose label is a logarithm and that has validation labels."""
    logs = {k: r for k, r in scores.tasks.items() if r.spec.log_scale and len(r) and r.label.ndim == 1}
    return {k: m for k, r in logs.items() if (m := fit_amounts(r.prediction, r.label)) is not None}


def fit_all_shifts(scores: Scores) -> dict[str, MeanShift]:
    """A shift for each regression of one number that is no logarithm and has validation labels."""
    plain = {k: r for k, r in scores.tasks.items() if r.spec.kind == "regression" and not r.spec.log_scale}
    single = {k: r for k, r in plain.items() if len(r) and r.label.ndim == 1}
    return {k: s for k, r in single.items() if (s := fit_shift(r.prediction, r.label)) is not None}


def shifted(scores: Scores, shifts: Mapping[str, MeanShift]) -> Scores:
    tasks = {k: replace(r, prediction=shifts[k](r.prediction)) if k in shifts else r for k, r in scores.tasks.items()}
    return replace(scores, tasks=tasks)


def split_metrics(scores: Scores, known: Mapping[str, NDArray[np.float64]], amounts: Mapping[str, AmountMap]) -> dict[str, Any]:
    """By task: kind, labelled rows, base rate, metrics (null where the rows cannot say; of a label that is a logarithm also
    those of the amount itself), and those of the constant of the training labels `known`."""
    found: dict[str, Any] = {}
    for name, rows in scores.tasks.items():
        if len(rows):
            values = dict(BY_KIND[rows.spec.kind](rows.label, rows.prediction, None))
            if name in amounts:
                values |= amount_metrics(np.expm1(rows.label), amounts[name](rows.prediction))
            found[name] = {"kind": rows.spec.kind, "n": len(rows), "base_rate": base_rate(rows), "metrics": values}
            if len(known.get(name, ())):
                found[name]["constant"] = constant(rows, known[name])
    return found


def base_rate(rows: TaskRows) -> float | None:
    """Share of positives (binary) or of the commonest class or brand; None for a regression, whose baseline is its constant."""
    return commonest_share(rows.spec.kind, rows.label)


def write_sample(
    run: Path, dataset: Dataset, customers: int, seed: int = 0, shares: Mapping[str, float] = SAMPLE_SHARES, *,
    baselines: StoredBaselines | None = None,
) -> None:  # fmt: skip
    """Put `sample/` in place: all rows of up to `customers` customers, drawn by `shares`; a short split is filled up.

    It carries what the baselines that lie with the dataset lose on its rows, or those given, which could not be kept there."""
    table = dataset.table(["customer_id", "split"])
    ids, splits = np.asarray(table.column("customer_id")).astype(str), np.asarray(table.column("split")).astype(str)
    rng = np.random.default_rng(seed)
    order = {s: rng.permutation(np.unique(ids[splits == s])) for s in shares}
    chosen = {s: list(order[s][: round(share * customers)]) for s, share in shares.items()}
    for split, everyone in order.items():
        room = customers - sum(map(len, chosen.values()))
        chosen[split] += list(everyone[len(chosen[split]) :][:room])
    wanted = sorted({str(c) for group in chosen.values() for c in group})
    with staged_folder(run / "sample", replace=True) as fresh:
        made = dataset.extract(fresh, customers=wanted)
        if baselines is not None and stored(made) is None:
            lend(baselines, dataset, made)
