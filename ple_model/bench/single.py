"""`ple bench single`: what one network for all tasks gains or loses a task against networks that learn one task each.

Each task gets two networks of its own, of every input that is no sequence (`flat_inputs`): one of two hidden layers of 128 and
64, and one of two layers of as many parameters as the run has (`same size`). Both learn what the yardstick of the task asks for
(log loss, or the loss that the task trains with of amounts in standard deviations), with AdamW, and stop where the validation
rows stop gaining; of several dropouts the best one there counts. Test rows are judged as a model's are (`row_loss`), the gap to
the run's own predictions is paired by row, and its interval resamples customers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.baseline_rows import BaselineRows, read_rows
from ple_model.bench.measure import Row, Settings
from ple_model.bench.registry import Benchmark
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.evaluate import model_losses
from ple_model.linear import Standardiser
from ple_model.row_loss import Yardstick
from ple_model.run import Run, load_run
from ple_model.schema import RAW_PART
from ple_model.scoring import Scores, score
from ple_model.skill import Resamples, stored
from ple_model.ticker import counter
from ple_model.yardsticks import of_run

SMALL = (128, 64)
NETWORKS = ("128-64", "same size")
DROPOUTS = {"128-64": (0.3, 0.5), "same size": (0.5,)}
"""Tried; of several the one that is best on the validation rows."""
WHAT = "loss over the constant's, run less network"
RATE, DECAY, BATCH = 5e-4, 0.01, 256
EPOCHS, PATIENCE = 20, 2
"""Epochs at most, and how many without a gain on the validation rows end it."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The best network of some: its loss on the validation rows, and its outputs [n, outputs] of the test rows."""

    validation: float
    outputs: Tensor


def run(settings: Settings) -> list[Row]:
    if settings.run is None:
        raise UserError("ple bench single: give --run RUN, and --data DATASET if the run's dataset is not where it was trained")
    found = load_run(settings.run)
    data = found.dataset() if settings.data is None else Dataset.open(settings.data)
    if data is None or not all(data.rows(s) for s in ("train", "validation", "test")):
        raise UserError(f"{found.path}: its dataset, with rows to learn from, is not at hand; give it with --data DATASET")
    for name in settings.tasks:
        if name not in found.config.tasks:
            raise UserError(f"--task: '{name}' is not known{did_you_mean(name, list(found.config.tasks))}")
    rows = list(measure(found, data, settings.tasks or tuple(found.config.tasks), settings))
    return [
        *rows,
        *(_mean(name, [r for r in rows if r.measure.startswith(f"{name}, ")]) for name in NETWORKS if settings.wants(name)),
    ]


def measure(found: Run, data: Dataset, tasks: tuple[str, ...], settings: Settings) -> Iterator[Row]:
    """Rows of each task that has labels: the run's loss over the constant's, that of each network, and the gap between."""
    scores = score(found.model(), data, "test", calibration=found.calibration)
    scores.tally.raise_if_any()
    baselines = stored(data)
    rows = {s: read_rows(data, (s,), None, settings.seed, False) for s in ("train", "validation", "test")}
    scale = Standardiser.fit(rows["train"].matrix, data.parts.get(RAW_PART, slice(0, 0)))
    x = {s: torch.from_numpy(scale(r.matrix)) for s, r in rows.items()}
    show = counter("tasks")
    for done, task in enumerate(tasks, 1):
        told = scores.tasks.get(task)
        judge = None if told is None else of_run(found, data, told.spec, baselines)
        if told is None or judge is None or not len(told):
            continue
        for name, widths in zip(NETWORKS, (SMALL, same_size(x["train"].shape[1], found.manifest.parameters)), strict=True):
            if not settings.wants(f"{name}, {task}"):
                continue
            fit = _fit(judge, rows, x, widths, DROPOUTS[name][: settings.pick(2, 1)], settings)
            yield from _gap(found, scores, task, judge, name, fit, rows["test"], settings)
        show(done, len(tasks))


def _mean(name: str, rows: list[Row]) -> Row:
    """Over the tasks; the interval of a mean is not known from theirs."""
    ours, reference = (
        float(np.mean([getattr(r, side) for r in rows])) if rows else float("nan") for side in ("ours", "reference")
    )
    return Row("single", f"{name}, mean: {WHAT}", ours - reference, unit="share", ours=ours, reference=reference)


def same_size(inputs: int, parameters: int) -> tuple[int, int]:
    """Two widths, the second half the first, of about so many weights from so many inputs."""
    first = int(-inputs + (inputs**2 + 2 * parameters) ** 0.5)  # inputs w + w^2 / 2 = parameters
    return max(2, first), max(1, first // 2)


def _gap(
    found: Run, scores: Scores, task: str, judge: Yardstick, name: str, fit: Fit | None, test: BaselineRows, settings: Settings
) -> Iterator[Row]:  # fmt: skip
    """(loss of the run, loss of the network) over the constant's, and the run's less the network's with its interval."""
    if fit is None:
        return
    told = scores.tasks[task]
    label = test.labels[task][told.row]
    there = judge.known(label)
    own = np.asarray(_losses(judge, test.labels[task], fit.outputs))[told.row][there]
    model, constant = model_losses(found, judge, told)[there], judge.of_constant(label[there])
    gap = Resamples(np.asarray(scores.customers(task))[there], seed=settings.seed).share(model - own, constant)
    base = float(constant.mean())
    yield Row(
        "single", f"{name}, {task}: {WHAT}", gap.value, unit="share",
        ours=float(model.mean()) / base, reference=float(own.mean()) / base, low=gap.low, high=gap.high,
    )  # fmt: skip


def _fit(
    judge: Yardstick, rows: dict[str, BaselineRows], x: dict[str, Tensor], widths: tuple[int, int],
    dropouts: tuple[float, ...], settings: Settings,
) -> Fit | None:  # fmt: skip
    """None where no row has a label to learn from or to stop by."""
    known = {s: judge.known(rows[s].labels[judge.task]) for s in ("train", "validation")}
    if not all(k.any() for k in known.values()):
        return None
    label = {s: rows[s].labels[judge.task][known[s]] for s in known}
    target = _target(judge, label["train"])
    inputs = x["train"][torch.from_numpy(known["train"])]
    watched = x["validation"][torch.from_numpy(known["validation"])]
    best: Fit | None = None
    for dropout in dropouts:
        torch.manual_seed(settings.seed)
        network = _network(inputs.shape[1], widths, _outputs(judge), dropout)
        loss = _train(network, judge, inputs, target, watched, label["validation"], settings.pick(EPOCHS, 2))
        if best is None or loss < best.validation:
            best = Fit(loss, _outputs_of(network, x["test"]))
    return best


def _train(
    network: nn.Sequential, judge: Yardstick, x: Tensor, target: Tensor, watched: Tensor, label: Array, epochs: int
) -> float:  # fmt: skip
    """The least validation loss; `network` has the weights of it."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    best, kept, since = float("inf"), copy.deepcopy(network.state_dict()), 0
    for _ in range(epochs):
        network.train()
        for chosen in torch.split(torch.randperm(len(x)), BATCH):
            optimizer.zero_grad(set_to_none=True)
            _loss(judge, network(x[chosen]), target[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        now = float(np.mean(_losses(judge, label, _outputs_of(network, watched))))
        since = 0 if now < best else since + 1
        if now < best:
            best, kept = now, copy.deepcopy(network.state_dict())
        if since >= PATIENCE:
            break
    network.load_state_dict(kept)
    return best


def _network(inputs: int, widths: tuple[int, int], outputs: int, dropout: float) -> nn.Sequential:
    first, second = widths
    return nn.Sequential(
        nn.Linear(inputs, first), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(first, second), nn.ReLU(), nn.Dropout(dropout), nn.Linear(second, outputs),
    )  # fmt: skip


@torch.no_grad()
def _outputs_of(network: nn.Sequential, x: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(part) for part in torch.split(x, 4096)])


def _outputs(judge: Yardstick) -> int:
    return 1 if judge.kind == "binary" else len(judge.constant)


def _target(judge: Yardstick, label: Array) -> Tensor:
    """What a network learns: 0 or 1 [n, 1], a class [n], or amounts [n, outputs] in standard deviations."""
    if judge.kind == "regression":
        return torch.from_numpy((label.reshape(len(label), -1) - judge.mean) / max(judge.std, 1e-12)).float()
    if judge.kind == "binary":
        return torch.from_numpy(label[:, None] > 0.5).float()
    return torch.from_numpy(label.astype(np.int64))


def _loss(judge: Yardstick, said: Tensor, target: Tensor) -> Tensor:
    if judge.kind == "regression":
        return F.huber_loss(said, target, delta=judge.delta) if judge.loss == "huber" else F.mse_loss(said, target)
    return F.binary_cross_entropy_with_logits(said, target) if judge.kind == "binary" else F.cross_entropy(said, target)


def _losses(judge: Yardstick, label: Array, said: Tensor) -> Array:
    """[n] row losses of a network's outputs; NaN where the label cannot be judged."""
    there = judge.known(label)
    y, out = label[there], said[torch.from_numpy(there)].double()
    if judge.kind == "regression":
        found = judge.of_amounts(y, (out * judge.std + judge.mean).numpy().reshape(y.shape))
    else:
        p = torch.sigmoid(out[:, 0]) if judge.kind == "binary" else torch.softmax(out, dim=1)
        found = judge.of_probabilities(y, p.numpy())
    losses = np.full(len(label), np.nan)
    losses[there] = found
    return losses


BENCHMARKS = (
    Benchmark("single", "each task by networks of its own, beside the run's one network for all (--run, --data)", run, True),
)
