"""What the proofs of sequences are measured on: events, dataset and a pre-trained encoder, kept in a folder.

They are a synthetic bank's or, in a folder within it, those of the real grocery customers of completejourney.

Made once: `events/`, `dataset/`, `encoder/`; what is there is used as it is, where it is what was asked for. Personas are not
in any table that a model reads: they are drawn again from the bank's seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.bench.measure import Settings
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.manifest import EventsManifest
from ple_model.errors import UserError
from ple_model.metrics import auc_of
from ple_model.sequences.config import PretrainConfig
from ple_model.sequences.encoder import SequenceEncoder, pool
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.series import Series, series_of
from ple_model.sequences.windows import real_data

FIELD = "txn_seq"
"""The series: 180 days of 16 channels, the first of them the logarithm of what was spent."""
AMOUNT = 0
PIECE = 128
GROCERY = "completejourney"
CUSTOMERS = 4000
EPOCHS = 6


@dataclass(frozen=True, eq=False)
class Bank:
    """Rows of a split come as `Split`; the encoder is the pre-trained one, in eval mode."""

    dataset: Dataset
    encoder: SequenceEncoder
    seed: int

    def split(self, name: str, *, latest: bool = False) -> BankRows:
        """All rows of a split, or each customer's latest cut-off."""
        return _rows(self.dataset.load(name), latest)


@dataclass(frozen=True, eq=False)
class BankRows:
    """customers [n]; series [n, 180, 16]; the columns [n, F]; labels by task [n], NaN where missing."""

    customers: NDArray[np.object_]
    series: Series
    columns: NDArray[np.float32]
    labels: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.customers)

    def taken(self, rows: NDArray[np.int64]) -> BankRows:
        at = torch.from_numpy(rows)
        return BankRows(
            self.customers[rows], self.series.rows(at), self.columns[rows], {t: y[rows] for t, y in self.labels.items()}
        )


def _rows(batch: Batch, latest: bool) -> BankRows:
    labels = {}
    for task, y in (batch.inputs.targets or {}).items():
        if y.dim() == 1:
            numbers = y.numpy().astype(np.float64)
            labels[task] = numbers if y.is_floating_point() else np.where(numbers < 0, np.nan, numbers)
    whole = BankRows(np.array(batch.customer_id, object), series_of(batch.inputs, FIELD), batch.inputs.features.numpy(), labels)
    if not latest:
        return whole
    last: dict[str, int] = {}
    for i, (who, cutoff) in enumerate(zip(batch.customer_id, batch.cutoff, strict=True)):
        if who not in last or cutoff >= batch.cutoff[last[who]]:
            last[who] = i
    return whole.taken(np.array(sorted(last.values()), np.int64))


@contextmanager
def bank(settings: Settings) -> Iterator[Bank]:
    """The bank in `settings.bank`, or one that is gone afterwards. `quick`: 300 customers, an encoder of one epoch."""
    with _kept(settings) as folder:
        yield _made(folder, settings)


@contextmanager
def completejourney(settings: Settings) -> Iterator[Bank]:
    """The real grocery customers in `PLE_REAL_DATA`, in a folder of their own beside the bank's, with their own encoder."""
    from ple_model.data.importers.completejourney import import_completejourney  # late: DuckDB

    with _kept(settings) as kept:
        folder = kept / GROCERY
        folder.mkdir(exist_ok=True)
        if not (folder / "events" / "events.json").exists():
            import_completejourney(real_data(GROCERY), folder / "events")
        yield _with_encoder(folder, settings)


SOURCES = (("", bank), (f"{GROCERY} ", completejourney))
"""What a measure's name begins with, and where its customers come from."""


@contextmanager
def _kept(settings: Settings) -> Iterator[Path]:
    if settings.bank is not None:
        settings.bank.mkdir(parents=True, exist_ok=True)
        yield settings.bank
    else:
        with tempfile.TemporaryDirectory(prefix="ple-bank-") as folder:
            yield Path(folder)


def _made(folder: Path, settings: Settings) -> Bank:
    from ple_model.data.synth import generate  # late: the synthetic bank

    events = folder / "events"
    customers = settings.pick(settings.customers or CUSTOMERS, 300)
    if not (events / "events.json").exists():
        generate(events, customers, settings.seed)
    stored = EventsManifest.load(events).parameters
    for name, wanted in (("customers", customers), ("seed", settings.seed)):
        if stored.get(name) != wanted:
            raise UserError(
                f"{folder} holds a bank of {name} {stored.get(name)}, asked for is {wanted}; name another --bank or ask for "
                f"what it holds (--quick asks for 300 customers)"
            )
    return _with_encoder(folder, settings)


def _with_encoder(folder: Path, settings: Settings) -> Bank:
    """The dataset of `folder`/events and the encoder of this benchmark, made where they are not there yet."""
    from ple_model.data.build.build import build  # late: DuckDB and all of the features
    from ple_model.sequences.pretrain import pretrain  # late: a training

    data, run = folder / "dataset", folder / "encoder"
    dataset = Dataset.open(data) if (data / "dataset.json").exists() else build(folder / "events", data)
    shape = {"frequency": "on", "outlook": "on", **({"width": 8, "layers": 1} if settings.quick else {})}
    config = PretrainConfig.from_dict({"encoder": shape, "training": {"epochs": settings.pick(EPOCHS, 1), "sequence": FIELD}})
    if (run / "manifest.json").exists() and (kept := load_encoder(run).whole) != config:
        raise UserError(f"{run} is not the encoder of this benchmark: {_difference(kept, config)}; name another --bank")
    found = pretrain(dataset, run, config, resume=(run / "manifest.json").exists())
    if found.manifest.status != "finished":
        raise UserError(f"{run} is not finished; `ple pretrain {data} {run} --resume` goes on with it")
    return Bank(dataset, found.encoder, settings.seed)


def _difference(kept: PretrainConfig, wanted: PretrainConfig) -> str:
    """The first key that differs."""
    mine, theirs = kept.to_dict(), wanted.to_dict()
    section, key = next((s, k) for s in mine for k in mine[s] if mine[s][k] != theirs[s][k])
    return f"{section}.{key} is {mine[section][key]}, asked for is {theirs[section][key]}"


@torch.no_grad()
def embeddings(encoder: SequenceEncoder, series: Series) -> NDArray[np.float32]:
    """[n, E]"""
    pieces = [encoder(series.rows(slice(i, i + PIECE))).embedding for i in range(0, len(series), PIECE)]
    return np.asarray(torch.cat(pieces).float().cpu().numpy())


@torch.no_grad()
def whole_series(encoder: SequenceEncoder, series: Series) -> NDArray[np.float32]:
    """[n, E'] embeddings without the newest tokens."""
    pieces = [encoder.without_newest(encoder(series.rows(slice(i, i + PIECE))).embedding) for i in range(0, len(series), PIECE)]
    return np.asarray(torch.cat(pieces).float().cpu().numpy())


@torch.no_grad()
def last_weeks(encoder: SequenceEncoder, series: Series, days: int = 28) -> NDArray[np.float32]:
    """[n, G D] mean over the tokens of the last days."""
    late = [i for i, (first, _) in enumerate(encoder.spans) if first >= encoder.length - days] or [encoder.patches - 1]
    pieces = []
    for i in range(0, len(series), PIECE):
        encoded = encoder(series.rows(slice(i, i + PIECE)))
        pieces.append(pool(encoded.tokens[:, :, late], encoded.token_seen[:, :, late]).flatten(1))
    return np.asarray(torch.cat(pieces).float().cpu().numpy())


def untrained(like: SequenceEncoder, seed: int) -> SequenceEncoder:
    """An encoder of the same shape that learnt nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SequenceEncoder(like.config, like.channels, like.length).eval()


def personas(seed: int, customers: NDArray[np.object_]) -> NDArray[np.int64]:
    """[n] the persona of each customer of the bank of this seed."""
    from ple_model.data.synth.generate import BLOCK  # late: the synthetic bank
    from ple_model.data.synth.people import draw_people  # late: the synthetic bank

    number = np.array([int(str(c)[1:]) for c in customers], np.int64)
    out = np.empty(len(number), np.int64)
    for block in np.unique(number // BLOCK):
        people = draw_people(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(block),))), BLOCK)
        mine = number // BLOCK == block
        out[mine] = people.persona[number[mine] % BLOCK]
    return out


def auc_interval(
    y: NDArray[np.float64], scores: NDArray[np.float64], customers: NDArray[np.object_],
    other: NDArray[np.float64] | None = None, rounds: int = 400,
) -> tuple[float, float, float]:  # fmt: skip
    """(value, low, high) of the area under the ROC curve, customers resampled; of the difference to `other`'s where it is
    given. `scores`, `other` [n] or [k, n]: then it is the mean over k draws."""
    mine = [auc_of(y, s) for s in np.atleast_2d(scores)]
    theirs = [] if other is None else [auc_of(y, s) for s in np.atleast_2d(other)]

    def value(weight: NDArray[np.float64]) -> float:
        found = float(np.mean([f(weight) for f in mine]))
        return found - float(np.mean([f(weight) for f in theirs])) if theirs else found

    _, index = np.unique(customers.astype(str), return_inverse=True)
    count = int(index.max()) + 1
    rng = np.random.default_rng(0)
    draws = [
        value(np.bincount(rng.integers(0, count, count), minlength=count)[index].astype(np.float64)) for _ in range(rounds)
    ]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return value(np.ones(len(y))), float(low), float(high)
