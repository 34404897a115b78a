"""What a sequence encoder says of customers, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SequenceChannel:
    """One channel of a sequence field: what it is called, in which unit, and how a stored value becomes that unit's."""

    name: str
    kind: str
    """`log`: the stored value is a logarithm log(1 + x), with its sign; `plain`: it is the value itself."""

    def shown(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Values in the channel's unit from unscaled stored ones."""
        x = np.asarray(stored, dtype=np.float64)
        return np.sign(x) * np.expm1(np.minimum(np.abs(x), 60.0)) if self.kind == "log" else x


@dataclass(frozen=True)
class ProbeRow:
    """How well a linear reader of few labels does on unseen customers: mean AUC over draws, and its deviation over them."""

    task: str
    share: float
    labels: int
    encoder: float
    encoder_spread: float
    summary: float
    """The same reader on plain summary statistics of the same days."""
    summary_spread: float
    draws: int
    tested: int


@dataclass(frozen=True)
class SilenceRow:
    """What an encoder told of customers whom it did not learn from, beside what came after."""

    steps: int
    """Next steps that were told of."""
    told: float
    """Mean probability that nothing happens in them."""
    happened: float
    """Share of customers for whom nothing did."""
    auc: float
    """NaN where all or none fell silent."""
    tested: int


@dataclass(frozen=True, eq=False)
class AheadFit:
    """A linear forecast head on an encoder as it is, and how far it is off; H steps ahead, C channels, F numbers a channel."""

    weight: FloatArray
    """[H, F] of the tokens of a channel"""
    bias: FloatArray
    """[H]"""
    half: FloatArray
    """[H, C] half of the interval, in deviations of a series; infinite where there were too few customers to say."""
    positive: NDArray[np.bool_]
    """[C] no training customer has a value below 0."""
    probability: float
    """That a new value lies within the interval, of customers like those it was measured on."""
    fitted: int
    """Rows of training customers that the head was fitted to."""
    held: int
    """Rows of other training customers that the interval was measured on."""
    tested: int
    """Rows of customers who are in neither, whose last steps were forecast: what follows is of these."""
    covered: float
    """Share of their values within the interval; NaN without any."""
    error: dict[str, float] = field(default_factory=dict)
    """Mean absolute error in deviations of each series: `head`, `ridge` on the steps, `week` (the last one again)."""

    @property
    def horizon(self) -> int:
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class StepsAhead:
    """One customer's next steps, unscaled as the values of `CustomerSteps`."""

    steps: list[str]
    """[H] days (ISO)"""
    forecast: FloatArray
    low: FloatArray
    high: FloatArray
    """[H, C]"""


@dataclass(frozen=True, eq=False)
class LearnedMap:
    """All sampled customers as an encoder sees them."""

    row: NDArray[np.int64]
    """[n] place of each row in the dataset."""
    xy: FloatArray
    """[n, 2] their map."""
    error: FloatArray
    """[n] mean reconstruction error of a row's days where it was measured, else NaN."""
    day_quantiles: FloatArray
    """[101] quantiles of a day's error over the training customers' days."""
    probe: tuple[ProbeRow, ...]
    day_count: int = 0
    """Days behind the quantiles."""
    embedding: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """[n, any] leading directions of the embeddings, in deviations: what a shortlist of neighbours is drawn from."""
    pool: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """[n, L] the amounts by step that neighbours are compared by, unscaled logarithms."""
    ahead: AheadFit | None = None
    """None where the steps are no days, or the training customers are too few."""
    silence: tuple[SilenceRow, ...] = ()
    """None without an outlook (`EncoderConfig.outlook`)."""

    def percentile(self, error: NDArray[Any]) -> NDArray[np.float64]:
        """In percent, how many of the training customers' days have a smaller error."""
        found = np.interp(error, self.day_quantiles, np.arange(101.0))
        return np.where(np.isfinite(error), found, np.nan)


@dataclass(frozen=True, eq=False)
class CustomerSteps:
    """One customer's series as the encoder sees it, oldest step first; L steps, C channels, K blocks of steps."""

    customer: str
    cutoff: str
    row: int
    """Place in the dataset whose customers are shown; -1 for a customer from elsewhere."""
    daily: bool
    """A step is a day before the cut-off; else a session."""
    channels: tuple[SequenceChannel, ...]
    values: FloatArray
    """[L, C] unscaled."""
    restored: FloatArray
    """[L, C] what was said of each step while its block was hidden; NaN of an encoder that has not learnt to restore steps."""
    error: FloatArray
    """[L] mean error of a step over the channels, in deviations of the series; NaN where nothing was seen, 0 of an encoder
    that has not learnt to restore steps."""
    blocks: tuple[tuple[int, int], ...]
    """Steps [first, stop) that were hidden together."""
    weight: FloatArray
    """[K] how far the embedding moves without the block, in its own length."""
    attention: FloatArray | None
    """[K] share of attention that a block's tokens get, where the body has it and a token is a block."""
    gate: FloatArray | None
    """[C] how much of a channel's spectrum enters."""
    period: FloatArray | None
    """[C] steps of one turn of a channel's strongest frequency."""
    silence: tuple[tuple[int, float], ...] = ()
    """(next steps, probability that nothing happens in them); none without an outlook."""

    @property
    def restores(self) -> bool:
        """Has the encoder learnt to restore hidden steps?"""
        return bool(np.isfinite(self.restored).all())

    @property
    def steps(self) -> list[str]:
        """A label for each step: the day (ISO), or the place of the session counted from the last."""
        n = len(self.values)
        if not self.daily:
            return [str(i - n) for i in range(n)]
        end = date.fromisoformat(self.cutoff)
        return [(end - timedelta(days=n - i)).isoformat() for i in range(n)]

    def span(self, block: int) -> tuple[str, str]:
        """(first, last) step of a block, as labels."""
        first, stop = self.blocks[block]
        return self.steps[first], self.steps[stop - 1]

    def half(self) -> int:
        """The fewest blocks that make half of all movement."""
        order = np.sort(np.nan_to_num(self.weight))[::-1]
        total = float(order.sum())
        return int(np.searchsorted(order.cumsum(), total / 2) + 1) if total > 0 else 0

    def recent(self, blocks: int) -> float:
        """Share of all movement that the last blocks make."""
        total = float(np.nansum(self.weight))
        return float(np.nansum(self.weight[-blocks:])) / total if total > 0 else 0.0


@dataclass(frozen=True, eq=False)
class MovedAlike:
    """Customers whose amounts moved most like one customer's, the nearest first (k of them)."""

    rows: NDArray[np.int64]
    """[k] places in the dataset."""
    distance: NDArray[np.float64]
    series: NDArray[np.float64]
    """[k + 1, L] standardised amounts: the customer's own, then theirs."""
    paths: tuple[tuple[tuple[int, int], ...], ...]
    """Which step of the customer's is matched with which of theirs."""
    compared: int
    """Customers in the pool."""
    computed: int
    """Of them, those whose distance had to be computed in full."""
