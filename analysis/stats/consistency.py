"""Whether the inputs of a row still go together, values that training did not have, rows that are there twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.stats.factor import Factor


@dataclass(frozen=True)
class InputSkill:
    """How well the other inputs of a row tell one input, against what they told on held-out customers at training."""

    kept: float
    """Share of the explained variance that is left: 1 as at training, 0 none."""
    low: float
    high: float
    """99 % interval, customers resampled."""
    then: float
    """Mean R2 of its predictable directions at training."""
    now: float
    kind: str = ""
    """What became of a lost one: "rows", "columns", "mixed", "reversed", "swapped", "shifted", "changed", "constant" """
    other: str = ""
    """The input whose values it holds, where they were swapped."""


@dataclass(frozen=True)
class StandIn:
    """A value that many rows share, far beyond all values of training."""

    input: str
    column: str
    value: float
    share: float
    trained: float
    """Largest share that it can have had in training."""
    rows: int
    beyond: bool = True
    """Beyond all values of training; else among them, where training hardly repeated any."""
    edge: int = 0
    """-1: no row has less, 1: none has more"""


@dataclass(frozen=True)
class Displaced:
    """Feature columns that hold the values of others."""

    first: int
    first_name: str
    last: int
    last_name: str
    by: int
    """places on, in training, where what they hold belongs; 0: they are sorted otherwise"""


@dataclass(frozen=True)
class OtherUnit:
    """A column whose deciles are those of training times about one number, or a part of whose rows are."""

    input: str
    column: str
    factor: Factor
    """`uneven` of a part of the rows: largest distance of the mixture's distribution from that at hand"""
    share: float = 1.0
    """of the rows that are in the other unit"""
    alone: float = 0.0
    """of a part of the rows: how far the training's distribution by itself is from that at hand"""


@dataclass(frozen=True)
class Copied:
    """Columns of an input that hold the values of others, as they did not in training."""

    input: str
    column: str
    source: str
    """the column whose values it holds"""
    rows: int
    apart: float
    """Share of the training rows that must have had others: the least distance of the two distributions"""


@dataclass(frozen=True)
class Wrapped:
    """A column of whole numbers that none is beyond of what so many bits hold, although training had many beyond."""

    input: str
    column: str
    bits: int
    signed: bool
    beyond: float
    """Share of the training rows beyond that"""
    rows: int
    edge: float
    """Share of the rows at the largest number that the bits hold: near nothing of numbers that wrapped round"""


def range_of(bits: int, signed: bool) -> tuple[float, float]:
    """Smallest and largest whole number of so many bits."""
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)


@dataclass(frozen=True)
class Selected:
    """A column beyond a value of which no row lies, while those on this side are spread as in training."""

    input: str
    column: str
    value: float
    """the last that is there, in the column's own unit"""
    above: bool
    """the rows above it are missing; else those below"""
    gone: float
    """Share of the training rows beyond it"""
    held: float
    """The same of rows that were held out at training; NaN where that is not known"""
    psi: float
    """Population stability index of the rows on this side against training's"""
    rows: int


@dataclass(frozen=True)
class Silence:
    """The newest steps of a sequence, in which hardly any row has an event; and the oldest."""

    input: str
    cutoff: str
    steps: int
    """newest steps that are silent"""
    of: int
    """all steps"""
    usual: float
    """share of rows with an event a step, before that"""
    rows: int
    then: int | None = None
    """newest steps that were silent in training; None where that is not known"""
    oldest: int = 0
    """oldest steps that are silent"""
    oldest_then: int | None = None


@dataclass(frozen=True)
class ConsistencyStats:
    reason: str = ""
    """Why inputs could not be held against each other; empty where they were."""
    rows: int = 0
    customers: int = 0
    skill: dict[str, InputSkill] = field(default_factory=dict)
    """By input, those that others tell."""
    stand_ins: tuple[StandIn, ...] = ()
    columns: int = 0
    """Columns that were looked at for stand-ins."""
    repeated: float = 0.0
    """Share of rows whose inputs are those of another row of the cut-off, in nearly all columns."""
    repeated_then: float = 0.0
    compared: int = 0
    """Rows looked at for repeats."""
    twice: int = 0
    """Rows of a customer and cut-off that is there more than once."""
    across: int = 0
    """Those of them that are in more than one split."""
    splits: str = ""
    """The splits that most of these are in, separated by commas."""
    measured: int = 0
    """All rows."""
    example: str = ""
    units: tuple[OtherUnit, ...] = ()
    """Columns that moved by a factor."""
    displaced: tuple[Displaced, ...] = ()
    """Runs of feature columns in other places; `skill` is then of the columns put back, and `stand_ins` of other inputs alone:
    where a row lacks a part, its zeros stand in another."""
    silent: tuple[Silence, ...] = ()
    """Sequences, at their newest cut-off."""
    each_column: bool = False
    """Whether single columns were asked for what follows: not where columns stand in other places, or a file is missing."""
    copied: tuple[Copied, ...] = ()
    wrapped: tuple[Wrapped, ...] = ()
    selected: tuple[Selected, ...] = ()
    """Columns that rows were chosen by, the likeliest first."""
