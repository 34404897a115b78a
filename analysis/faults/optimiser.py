"""Trainings that cannot work: a rate at which nothing holds or nothing moves, too few epochs, too few rows."""

from __future__ import annotations

import numpy as np

from analysis.faults.fault import Columns, Level, Plant, fault


@fault(
    "rate-high",
    "config",
    "The learning rate is far too high.",
    levels=(Level("strong: 0.1", 0.1), Level("weak: 0.03", 0.03)),
    family="optimiser",
)
def _high(rate: float) -> Plant:
    return Plant(overrides=(f"training.learning_rate={rate}",))


@fault(
    "rate-low",
    "config",
    "The learning rate is so low that nothing moves.",
    levels=(Level("strong: 1e-7", 1e-7), Level("weak: 1e-5", 1e-5)),
    family="optimiser",
)
def _low(rate: float) -> Plant:
    return Plant(overrides=(f"training.learning_rate={rate:.8f}",))


@fault(
    "few-epochs",
    "config",
    "The training ends after its first epoch.",
    levels=(Level("strong: one epoch", 1.0), Level("weak: two epochs", 2.0)),
    family="optimiser",
)
def _epochs(epochs: float) -> Plant:
    few = (f"training.phase1_epochs={int(epochs)}", "training.phase2_epochs=0")
    return Plant(overrides=(*few, "adatt.warmup_epochs=0", "adatt.freeze_epoch=1"))


@fault(
    "few-rows-no-dropout",
    "training",
    "A few hundred training rows, no dropout, and epochs enough to learn them by heart.",
    levels=(Level("strong: 300 rows, 40 epochs", 300.0), Level("weak: 600 rows, 20 epochs", 600.0)),
    family="optimiser",
)
def _few_rows(rows: float) -> Plant:
    epochs = 40 if rows <= 300 else 20
    keep = int(rows)

    def change(columns: Columns, rng: np.random.Generator) -> None:
        train = np.flatnonzero(columns["split"] == "train")
        gone = rng.permutation(train)[keep:]
        stay = np.setdiff1d(np.arange(len(columns["split"])), gone)
        for name in list(columns):
            columns[name] = columns[name][stay]

    free = ("global.dropout=0.0", "global.expert_dropout=0.0", "training.patience=100", "training.phase2_epochs=0")
    return Plant(training_rows=change, overrides=(*free, f"training.phase1_epochs={epochs}"))
