"""The learning-rate finder: real steps of this configuration at a rate that grows step by step, and the rate that it suggests.

The range test of Smith (2017), "Cyclical Learning Rates for Training Neural Networks", section 3.3: the loss is flat while the
rate is too small, falls, and rises where the rate is too large. Every parameter group keeps its own share of the rate, as in a
training. After each step the loss is taken on the same `ROWS` training rows, as the mean over tasks of loss / constant's loss:
the loss of the step's own batch differs more from batch to batch, most of all by its brands, than any rate makes it fall. It is
smoothed by an exponential mean with its bias corrected (Kingma & Ba 2015, algorithm 1).

Suggested is the rate at which the smoothed loss falls most steeply, but no more than `MARGIN` of the rate at which it is
lowest: at the lowest point the rate is about to be too large (Howard & Gugger 2020, "Deep Learning for Coders", chapter 5, take
a tenth of it). Nothing of the test is kept but its curve.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.safe_paths import is_file
from ple_model.shapes import NUMBER, TEXT, WHOLE, Keys, ListOf, misfit

if TYPE_CHECKING:
    from ple_model.config import Config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.training.trainer import Trainer

LOWEST, HIGHEST = 1e-5, 1.0
"""Rates between which the test runs: below and above what any optimizer of this kind is used with."""
ROWS = 256
"""Training rows that the loss is taken on, the same after every step."""
STEPS = 80
SMOOTHING = 0.9
"""Weight of the mean so far at each step: about the last ten steps count, a tenth of the test."""
MARGIN = 0.1
MIN_FALL = 0.02
"""Share of the loss's spread over the test that it has to fall by; less is noise."""
EDGE = 0.05
"""Share of the steps at the beginning in which a slope is that of the smoothing, not of the loss."""

_FILE = Keys(
    {
        "rates": ListOf(NUMBER), "losses": ListOf(NUMBER), "smoothed": ListOf(NUMBER), "suggestion": NUMBER, "steepest": NUMBER,
        "lowest": NUMBER, "diverged": NUMBER, "why": TEXT, "current": NUMBER, "batch_size": WHOLE,
    },
    ("rates", "losses", "smoothed", "suggestion", "steepest", "lowest", "diverged", "why", "current", "batch_size"),
)  # fmt: skip


@dataclass(frozen=True)
class RateCurve:
    """Loss against learning rate, and what follows from it; None where the curve does not say."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    steepest: float | None
    """Rate of the steepest fall."""
    lowest: float | None
    """Rate of the lowest smoothed loss."""
    diverged: float | None
    """Rate at which the test was broken off."""
    why: str
    current: float
    """The configuration's own rate."""
    batch_size: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_rate(
    dataset: Dataset, config: Config, *, preset: str = "custom", device: str = "auto", steps: int = STEPS,
    progress: Callable[[int, int], None] = lambda done, of: None, stop: Callable[[], bool] = lambda: False,
    starts: Path | None = None,
) -> RateCurve:  # fmt: skip
    """Run the test in a run folder that is thrown away. `UserError` where a training would be refused, or if it is stopped.
    `starts`: a folder of fitted starts to take from and to add to."""
    import torch  # late: torch

    from ple_model.new_run import create_run  # late: torch
    from ple_model.run import load_run  # late: torch
    from ple_model.training.session import Options  # late: torch
    from ple_model.training.trainer import Trainer  # late: torch

    with tempfile.TemporaryDirectory(prefix="ple-rate-") as place, torch.random.fork_rng():
        folder = Path(place) / "run"
        create_run(dataset, folder, config, preset=preset, device=device)
        trainer = Trainer(load_run(folder), dataset, Options(device=device, starts=starts), None, stop)
        try:
            rates, losses = _tested(trainer, steps, progress, stop)
        finally:
            trainer.log.close()
        return curve(rates, losses, config.training.learning_rate, trainer.session.batch_size)


def _tested(
    trainer: Trainer, steps: int, progress: Callable[[int, int], None], stop: Callable[[], bool]
) -> tuple[list[float], list[float]]:
    from ple_model.fitted_start import start_as_fitted, wants_fit  # late: torch
    from ple_model.training.probe import endless  # late: torch

    if wants_fit(trainer.model):
        start_as_fitted(trainer.model, trainer.dataset, lambda share, what: None, trainer.options.starts)
    trainer.model.train()
    own = _base_rates(trainer)
    share = [rate / trainer.config.training.learning_rate for rate in own]
    batches, probe = endless(trainer), _Probe(trainer)
    rates: list[float] = []
    losses: list[float] = []
    for step, rate in enumerate(np.geomspace(LOWEST, HIGHEST, steps).tolist()):
        if stop():
            raise UserError("the learning-rate finder was stopped")
        for group, of in zip(trainer.steps.optimizer.param_groups, share, strict=True):
            group["lr"] = rate * of
        trainer.position.step = step % trainer.session.steps
        try:
            trainer.steps.take(next(batches), trainer.log)
        except UserError:  # no finite step for so long that a training would give up
            break
        loss = probe.loss()
        progress(step + 1, steps)
        if not math.isfinite(loss):
            rates.append(rate)
            losses.append(math.nan)
            break
        rates.append(rate)
        losses.append(loss)
        if _diverged(smooth(losses)):
            break
    return rates, losses


class _Probe:
    """The loss on the same training rows, without dropout."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.inputs = trainer.dataset.load("train", ROWS).inputs.to(trainer.session.device)

    def loss(self) -> float:
        """Mean over tasks of loss / constant's loss; NaN where one is no number."""
        import torch  # late: torch

        from ple_model.constants import ratios  # late: torch

        model, session = self.trainer.model, self.trainer.session
        model.eval()
        with torch.no_grad(), session.precision.autocast():
            output = model.decode(model.encode(self.inputs), sae=False, evidential=False)
            found = model.losses(output, self.inputs.targets or {}, epoch=1)
        model.train()
        names = list(found.raw)
        both = torch.stack([torch.stack([v.double() for v in found.raw.values()]),
                            torch.stack([v.double() for v in found.counts.values()])]).tolist()  # fmt: skip
        by_task = ratios({k: v for k, v, n in zip(names, *both, strict=True) if n > 0}, session.context)
        return math.fsum(by_task.values()) / len(by_task) if by_task else math.nan


def _base_rates(trainer: Trainer) -> Sequence[float]:
    """Of each parameter group, before any schedule."""
    from ple_model.optimizer import optimizer_groups  # late: torch

    return [float(g.get("lr", trainer.config.training.learning_rate)) for g in optimizer_groups(trainer.model)]


def smooth(losses: Sequence[float]) -> list[float]:
    """Exponential mean with its bias corrected."""
    out, mean = [], 0.0
    for i, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        out.append(mean / (1 - SMOOTHING**i))
    return out


def _diverged(smoothed: Sequence[float]) -> bool:
    """The loss has risen above where it began by more than it had fallen."""
    low = int(np.argmin(smoothed))
    fallen = smoothed[0] - smoothed[low]
    return low > 0 and smoothed[-1] > smoothed[0] + max(fallen, 1e-12) and len(smoothed) > 10


def curve(rates: Sequence[float], losses: Sequence[float], current: float, batch_size: int) -> RateCurve:
    """What the losses [n] at these rates [n] suggest; a last loss that is no number is where it diverged."""
    broken = bool(losses) and not math.isfinite(losses[-1])
    keep = len(losses) - broken
    rates_seen, losses_seen = [float(r) for r in rates[:keep]], [float(v) for v in losses[:keep]]
    smoothed = smooth(losses_seen)
    diverged = float(rates[-1]) if losses and (broken or (len(smoothed) > 1 and _diverged(smoothed))) else None
    found = _suggested(rates_seen, smoothed)
    return RateCurve(
        tuple(rates_seen), tuple(losses_seen), tuple(smoothed), found[0], found[1], found[2], diverged,
        _why(found, diverged), current, batch_size,
    )  # fmt: skip


def _suggested(rates: Sequence[float], smoothed: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """(suggestion, steepest, lowest) as rates."""
    first = max(1, math.ceil(EDGE * len(smoothed)))
    if len(smoothed) < first + 3:
        return None, None, None
    values = np.asarray(smoothed)
    low = first + int(np.argmin(values[first:]))
    if values[first] - values[low] < MIN_FALL * max(float(np.ptp(values)), 1e-12) or low < first + 2:
        return None, None, None
    slope = np.gradient(values[first : low + 1], np.log(np.asarray(rates[first : low + 1])))
    steepest = float(rates[first + int(np.argmin(slope))])
    lowest = float(rates[low])
    return float(f"{min(steepest, MARGIN * lowest):.2g}"), steepest, lowest


def _why(found: tuple[float | None, float | None, float | None], diverged: float | None) -> str:
    suggestion, steepest, lowest = found
    if suggestion is None or steepest is None or lowest is None:
        return "the loss did not fall at any rate: the curve suggests none"
    end = f"; it diverged at {diverged:.1e}" if diverged is not None else ""
    if steepest <= MARGIN * lowest:
        return f"the loss falls most steeply at {steepest:.1e}, well below its lowest point at {lowest:.1e}{end}"
    return (
        f"a tenth of {lowest:.1e}, where the loss is lowest and about to rise; it falls most steeply at {steepest:.1e}, "
        f"too near to that{end}"
    )


def save_curve(folder: Path, found: RateCurve) -> None:
    write_json(folder / "finder.json", found.to_dict())


def load_curve(folder: Path) -> RateCurve | None:
    """That of a study; None where none was made. `UserError` if it is damaged."""
    path = folder / "finder.json"
    if not is_file(path):
        return None
    plain: Mapping[str, Any] = read_json(path)
    wrong = misfit(plain, _FILE)
    lengths = {len(plain[k]) for k in ("rates", "losses", "smoothed")} if wrong is None else set()
    if wrong is not None or len(lengths) != 1 or any(v is None for k in ("rates", "losses", "smoothed") for v in plain[k]):
        raise UserError(f"{path} is damaged: {wrong or 'its lists do not go together'}")
    lists: dict[str, Any] = {k: tuple(float(v) for v in plain[k]) for k in ("rates", "losses", "smoothed")}
    rest = {k: plain[k] for k in ("suggestion", "steepest", "lowest", "diverged", "why", "current", "batch_size")}
    return RateCurve(**lists, **rest)
