"""`ple bench labels`: what pre-training is worth where few customers have a label.

Of the training customers 1, 5, 20 and 100 % keep their label of `churn`, drawn anew for each seed; what is judged is the
area under the ROC curve on the test customers. The encoder saw the series of all training customers and no label. Beside it
the same encoder untrained, both as they are with a logistic regression on the embedding (*probe*), on its outlook alone or on
the tokens of the last four weeks, and trained with the labels (*tuned*); the outlook's own log-odds of silence, which take no
label at all; and what needs no network: logistic regression on summary statistics
of the series, gradient boosting on the aggregates (all columns), and MiniRocket with a ridge classifier where
`PLE_AEON_PYTHON` names a Python that has aeon (Dempster et al. 2021; its dependencies do not go with ours).
"""

from __future__ import annotations

import copy
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from ple_model.bench.bank import (
    PIECE,
    SOURCES,
    Bank,
    BankRows,
    auc_interval,
    embeddings,
    last_weeks,
    untrained,
)  # fmt: skip
from ple_model.bench.measure import Row, Settings, Target
from ple_model.bench.registry import Benchmark
from ple_model.boosting import fit_boosting
from ple_model.errors import UserError
from ple_model.linear import Standardiser, fit_linear
from ple_model.row_loss import Yardstick
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import Series
from ple_model.tasks import TASKS

TASK = "churn"
SHARES = (0.01, 0.05, 0.2, 1.0)
STEPS, BATCH, RATE = 100, 32, 1e-3
"""Of tuning: first the head alone, then everything at a tenth of the rate (Kumar et al. 2022), so many steps each."""
PROBES = (
    ("pre-trained, probe", "pre"), ("untrained, probe", "raw"), ("pre-trained, outlook", "pre ahead"),
    ("untrained, outlook", "raw ahead"), ("pre-trained, last weeks", "pre late"), ("untrained, last weeks", "raw late"),
    ("summary statistics, logistic", "sum"),
)  # fmt: skip
SILENT = "pre-trained, no label"
AEON = "PLE_AEON_PYTHON"
MINIROCKET = """
import sys
import numpy as np
from aeon.transformations.collection.convolution_based import MiniRocket
d = np.load(sys.argv[1])
t = MiniRocket(random_state=0, n_jobs=1)
a = np.asarray(t.fit_transform(d["x"]), np.float32)
np.savez(sys.argv[2], x=a, t=np.asarray(t.transform(d["t"]), np.float32))
"""
TUNED_UP_TO = 0.05
"""Share of the labels up to which encoders are tuned too: with many labels a training (`ple train --encoder`) says more."""
Array = NDArray[np.float64]
Matrix = NDArray[np.float32]


def drawn(rows: BankRows, share: float, seed: int, task: str = TASK) -> BankRows:
    """The rows of that share of the customers which have this label, at least one customer of each class."""
    known = np.flatnonzero(np.isfinite(rows.labels[task]))
    who = rows.customers[known].astype(str)
    order = np.random.default_rng(seed).permutation(np.unique(who))
    kept = list(order[: max(1, round(share * len(order)))])
    y = rows.labels[task]
    for wanted in (0.0, 1.0):
        have = {w for w, v in zip(who, y[known], strict=True) if v == wanted}
        if have and not have & set(kept):
            kept.append(next(w for w in order if w in have))
    return rows.taken(known[np.isin(who, kept)])


def summary(series: Series) -> Matrix:
    """[n, 6 C] mean, deviation, largest, share of days with anything, the last four weeks' mean and their difference to
    before."""
    x = series.values.numpy()
    there = series.seen.numpy()[..., None]
    n = np.maximum(there.sum(axis=1), 1)
    mean = x.sum(axis=1) / n
    spread = np.sqrt(np.maximum((x**2).sum(axis=1) / n - mean**2, 0.0))
    late, early = x[:, -28:].mean(axis=1), x[:, :-28].sum(axis=1) / np.maximum(there[:, :-28].sum(axis=1), 1)
    return np.concatenate([mean, spread, x.max(axis=1), (x != 0).sum(axis=1) / n, late, late - early], axis=1).astype(
        np.float32
    )


def logistic(x: Matrix, at: NDArray[np.int64], y: Array, customers: NDArray[np.object_], test: Matrix, seed: int) -> Array:
    """Probabilities [m] of a logistic regression on the rows `at` of x, which have the labels y; a fifth of their customers
    choose its strength. Columns are standardised over all rows of x: that takes no label."""
    scaler = Standardiser.fit(x, slice(0, 0))
    rate = float(y.mean())
    ids, index = np.unique(customers.astype(str), return_inverse=True)
    watch = (np.random.default_rng(seed).permutation(len(ids)) < len(ids) // 5)[index]
    if len(np.unique(y[watch])) < 2 or len(np.unique(y[~watch])) < 2:
        watch[:] = False  # too few to choose by
    fitted = fit_linear(Yardstick(TASK, "binary", "log_loss", len(y), (rate,)), scaler(x[at]), y, watch)
    return np.full(len(test), rate) if fitted is None else fitted(scaler(test))


class _Tuned(nn.Module):
    """An encoder and one score from its embedding, whose columns are standardised as they are before the training."""

    def __init__(self, encoder: SequenceEncoder, embedding: Matrix) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(embedding.shape[1], 1)
        self.center = torch.from_numpy(embedding.mean(axis=0))
        self.spread = torch.from_numpy(embedding.std(axis=0)).clamp_min(1e-3)

    def forward(self, series: Series) -> torch.Tensor:
        scores: torch.Tensor = self.head((self.encoder(series).embedding - self.center) / self.spread)
        return scores[:, 0]


def tuned(encoder: SequenceEncoder, embedding: Matrix, rows: BankRows, test: BankRows, settings: Settings, seed: int) -> Array:
    """Scores [m] of the encoder trained with its head, both classes drawn alike. embedding [n, E]: of all training rows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _Tuned(copy.deepcopy(encoder), embedding).train()
        y = torch.from_numpy(rows.labels[TASK]).float()
        weight = torch.where(y > 0.5, 0.5 / y.mean().clamp(1e-3), 0.5 / (1 - y.mean()).clamp(1e-3))
        for part, rate in ((model.head, RATE), (model, 0.1 * RATE)):
            steps = settings.pick(STEPS, 3)
            optimizer = torch.optim.AdamW(part.parameters(), rate, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
            for _ in range(steps):
                at = torch.multinomial(weight, BATCH, replacement=True)
                model.zero_grad(set_to_none=True)
                loss = F.binary_cross_entropy_with_logits(model(rows.series.rows(at)), y[at])
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(part.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    model.eval()
    with torch.no_grad():
        pieces = [model(test.series.rows(slice(i, i + PIECE))) for i in range(0, len(test), PIECE)]
    return np.asarray(torch.cat(pieces).double().numpy())


def minirocket(train: BankRows, test: BankRows) -> tuple[Matrix, Matrix] | None:
    """What MiniRocket makes of the series [n, 9996], from a Python of its own; None where none is named."""
    python = os.environ.get(AEON)
    if not python:
        return None
    with tempfile.TemporaryDirectory(prefix="ple-minirocket-") as folder:
        data, out = Path(folder) / "data.npz", Path(folder) / "made.npz"
        x, t = (r.series.values.numpy().transpose(0, 2, 1) for r in (train, test))
        np.savez(data, x=x, t=t)
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [python, "-c", MINIROCKET, str(data), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
        if done.returncode:
            raise UserError(f"{AEON}={python}: MiniRocket failed: {done.stderr.strip()[-300:]}")
        with np.load(out, allow_pickle=False) as made:
            return made["x"], made["t"]


def ridge_classifier(x: Matrix, y: Array, test: Matrix) -> Array:
    """Scores [m] as MiniRocket's authors take them: a ridge classifier whose strength leave-one-out chooses."""
    from sklearn.linear_model import RidgeClassifierCV  # late: scikit-learn
    from sklearn.preprocessing import StandardScaler  # late: scikit-learn

    scaler = StandardScaler(with_mean=False).fit(x)
    fitted = RidgeClassifierCV(alphas=np.logspace(-3, 5, 9)).fit(scaler.transform(x), y)
    return np.asarray(fitted.decision_function(scaler.transform(test)), np.float64)


def run(settings: Settings) -> list[Row]:
    """`--only churn`: what needs no tuning, at every share; `--only tuned`: the encoders trained with few labels; both of real
    customers with `--only "completejourney churn"` and `--only "completejourney tuned"`."""
    out: list[Row] = []
    for of, source in SOURCES:
        probed = [s for s in SHARES if settings.wants(f"{of}{TASK} {s:.0%}")]
        few = [s for s in SHARES if s <= TUNED_UP_TO and settings.wants(f"{of}tuned {TASK} {s:.0%}")]
        if probed or few:
            with source(settings) as made:
                out += _of_bank(of, made, probed, few, settings)
    return out


def _of_bank(of: str, made: Bank, probed: list[float], few: list[float], settings: Settings) -> Iterator[Row]:
    train, test = (
        rows.taken(np.flatnonzero(np.isfinite(rows.labels[TASK]))) for rows in (made.split("train"), made.split("test"))
    )
    encoders = {"pre": made.encoder, "raw": untrained(made.encoder, settings.seed)}
    told = {n: (embeddings(e, train.series), embeddings(e, test.series)) for n, e in encoders.items()}
    if probed:
        assert made.encoder.outlook is not None
        ahead = made.encoder.outlook.out_features
        for n, e in encoders.items():
            told[f"{n} ahead"] = told[n][0][:, -ahead:], told[n][1][:, -ahead:]
            told[f"{n} late"] = last_weeks(e, train.series), last_weeks(e, test.series)
        told["sum"] = summary(train.series), summary(test.series)
        if (rocket := minirocket(train, test)) is not None:
            told["rocket"] = rocket
        for share in probed:
            yield from _probed(f"{of}{TASK} {share:.0%}", share, train, test, told, settings)
    for share in few:
        yield from _tuned(f"{of}tuned {TASK} {share:.0%}", share, train, test, encoders, told, settings)


def _draws(share: float, train: BankRows, settings: Settings) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(seed, positions of the rows that keep their label); all labels are drawn once."""
    numbered = BankRows(train.customers, train.series, np.arange(len(train), dtype=np.float32)[:, None], train.labels)
    draws = 1 if share == 1.0 else settings.pick(settings.seeds, 1)
    for seed in range(settings.seed, settings.seed + draws):
        yield seed, drawn(numbered, share, seed).columns[:, 0].astype(np.int64)


def _probed(
    where: str, share: float, train: BankRows, test: BankRows, told: dict[str, tuple[Matrix, Matrix]], settings: Settings
) -> Iterator[Row]:
    scores: dict[str, list[Array]] = {}
    counts = []
    for seed, at in _draws(share, train, settings):
        rows = train.taken(at)
        y = rows.labels[TASK]
        counts.append((len(np.unique(rows.customers)), int(y.sum())))
        for name, key in PROBES:
            scores.setdefault(name, []).append(logistic(told[key][0], at, y, rows.customers, told[key][1], seed))
        boosted = fit_boosting(TASKS[TASK], rows.columns, y, seed, rows.customers)
        level = np.full(len(test), float(y.mean()))
        scores.setdefault(SILENT, []).append(told["pre ahead"][1][:, -1].astype(np.float64))
        scores.setdefault("aggregates, boosting", []).append(level if boosted is None else boosted(test.columns))
        if "rocket" in told:
            found = ridge_classifier(told["rocket"][0][at], y, told["rocket"][1])
            scores.setdefault("MiniRocket, ridge", []).append(found)
    customers, positives = (round(float(np.mean(c)), 1) for c in zip(*counts, strict=True))
    yield Row("labels", f"{where}: customers with a label (of whose rows {positives:g} are positive)", customers, unit="")
    yield from _rows(where, scores, ("pre-trained, probe", "pre-trained, outlook", "pre-trained, last weeks", SILENT), test)


def _tuned(
    where: str, share: float, train: BankRows, test: BankRows, encoders: dict[str, SequenceEncoder],
    told: dict[str, tuple[Matrix, Matrix]], settings: Settings,
) -> Iterator[Row]:  # fmt: skip
    scores: dict[str, list[Array]] = {}
    for seed, at in _draws(share, train, settings):
        for key, name in (("pre", "pre-trained"), ("raw", "untrained")):
            found = tuned(encoders[key], told[key][0], train.taken(at), test, settings, seed)
            scores.setdefault(f"{name}, tuned", []).append(found)
    yield from _rows(where, scores, ("pre-trained, tuned",), test)


def _rows(where: str, scores: dict[str, list[Array]], ours: tuple[str, ...], test: BankRows) -> Iterator[Row]:
    y = test.labels[TASK]
    for name, found in scores.items():
        value, low, high = auc_interval(y, np.stack(found), test.customers)
        yield Row("labels", f"{where}: {name}, AUC", value, unit="AUC", low=low, high=high)
    mates = {m: (m.replace("pre-trained", "untrained"), "untrained, probe") for m in ours}
    pairs = [(m, o) for m in ours for o in scores if "trained" not in o or o in mates[m]]
    for mine, other in pairs:
        value, low, high = auc_interval(y, np.stack(scores[mine]), test.customers, np.stack(scores[other]))
        target = Target(0.0) if other.startswith("untrained") and where.endswith((" 1%", " 5%")) else None
        yield Row("labels", f"{where}: {mine} - {other}, AUC", value, target, unit="AUC", low=low, high=high)


BENCHMARKS = (
    Benchmark("labels", "few labels: an encoder pre-trained and not, beside boosting on aggregates", run, proof=True),
)
