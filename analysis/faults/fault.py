"""What a planted fault is: a change of data, weights, configuration or training, and what the checks must then say.

A fault never touches a statistic: it changes what the pipeline reads, and the real pipeline measures the rest. `required` are
the findings that must appear (id and subject), `permitted` those that may rightly come with them. A level says how strong the
fault is and whether it is *clear*: recall is judged on clear levels, the others show where detection begins.

A fault that is not drawn from one check (every family but `mechanics`) requires nothing: what counts as a usable cause of it is
in `oracle`, and a level at which it does no harm is no miss (`harm`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import analysis.faults as package
from analysis.checks.finding import SEVERITIES, Finding, Severity
from analysis.checks.registry import checks

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput
    from ple_model.model import PLEClusterAdaTT
    from ple_model.run import Run

Kind = Literal["data", "weight", "config", "training"]
Family = Literal["mechanics", "nan", "join", "labels", "units", "duplicates", "partial load", "optimiser"]
"""What sort of mishap it is; scores are also told apart by it. `mechanics`: drawn from the check that must name it, as the
reference lists symptoms; all others are drawn from what goes wrong around a model."""
FAMILIES: tuple[Family, ...] = get_args(Family)
Columns = dict[str, NDArray[Any]]
RowChange = Callable[[Columns, np.random.Generator], None]
"""Changes decoded dataset columns (`ple_model.data.dataset.columns`) in place; called once for each part file."""
ModelChange = Callable[["PLEClusterAdaTT"], None]
"""Changes a model in place, without gradients."""
UnitChange = Callable[[NDArray[np.float64], np.random.Generator], None]
"""Changes feature columns [rows, columns] in their original units, in place: what a source delivers, before normalisation."""
FileChange = Callable[["Run", "Run"], tuple[str, ...]]
"""Replaces files of the first run's folder by those of the second, which is another run; returns their names."""
Refit = Callable[["PLEClusterAdaTT", "PLEClusterInput"], None]
"""Fits a part of a trained model to something else, on these customers."""


@dataclass(frozen=True)
class Expect:
    """A finding by its id and subject; `subject` is a shell pattern, several of them are separated by `|`."""

    id: str
    subject: str = "*"
    severity: Severity = "warning"
    """The least severity that counts: `info` for checks that only inform."""

    def matches(self, finding: Finding) -> bool:
        """Id and subject; the severity is another question (`met`)."""
        return finding.id == self.id and any(fnmatchcase(finding.subject, p) for p in self.subject.split("|"))

    def met(self, finding: Finding) -> bool:
        """Matches, and is at least as severe as expected. `unknown` (too few rows to say) meets nothing."""
        loud = SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.severity)
        return self.matches(finding) and finding.severity != "unknown" and loud


@dataclass(frozen=True)
class Level:
    """How strong: the number that the injector reads, and whether the fault is clear at it."""

    name: str
    strength: float
    clear: bool = True


@dataclass(frozen=True)
class Plant:
    """What is done. Rows and weights are changed in a finished healthy run; everything else means training one."""

    rows: RowChange | None = None
    """on the customers that are diagnosed"""
    units: UnitChange | None = None
    """on their feature columns, in original units"""
    files: FileChange | None = None
    """on what lies in the run folder beside the weights"""
    weights: ModelChange | None = None
    """on the trained weights"""
    refit: Refit | None = None
    """on the trained weights, with the diagnosed customers at hand"""
    limit: int | None = None
    """diagnose at most so many rows"""
    overrides: tuple[str, ...] = ()
    """`key=value` config overrides, trained with"""
    training_rows: RowChange | None = None
    """on the dataset that is trained on"""
    built: ModelChange | None = None
    """on the model before its training starts: what a bug in the code would have done"""

    @property
    def trains(self) -> bool:
        return bool(self.overrides or self.training_rows or self.built)


@dataclass(frozen=True)
class PlantedFault:
    """A named injector. `raises`: words that the error must contain, for a fault that must stop a run before it trains."""

    name: str
    kind: Kind
    summary: str
    plant: Callable[[float], Plant]
    levels: tuple[Level, ...]
    required: tuple[Expect, ...] = ()
    permitted: tuple[Expect, ...] = ()
    raises: tuple[str, ...] = ()
    family: Family = "mechanics"

    @property
    def checks(self) -> tuple[str, ...]:
        """Ids of the checks that must fire, whatever else does."""
        return tuple(dict.fromkeys(e.id for e in self.required))


def unplantable() -> dict[str, str]:
    """Checks without an injector, and why: said in the output instead of faked."""
    return {id: c.unplantable for id, c in checks().items() if c.unplantable}


_FAULTS: dict[str, PlantedFault] = {}


def fault(
    name: str,
    kind: Kind,
    summary: str,
    *,
    levels: tuple[Level, ...],
    required: tuple[Expect, ...] = (),
    permitted: tuple[Expect, ...] = (),
    raises: tuple[str, ...] = (),
    family: Family = "mechanics",
) -> Callable[[Callable[[float], Plant]], Callable[[float], Plant]]:
    """Register an injector: a function from a level's strength to what is done."""

    def register(plant: Callable[[float], Plant]) -> Callable[[float], Plant]:
        if name in _FAULTS:
            raise RuntimeError(f"two faults are named '{name}'")
        # whoever writes weights changes bytes and sizes; an input that is changed by itself no longer goes with the others
        follows = {"weight": ("RUN-CHANGED", "EXP-SCALE", "GATE-JITTER"), "data": ("INPUT-JOIN", "EXP-SCALE", "GATE-JITTER")}
        known = (*permitted, *map(Expect, follows.get(kind, ())))
        _FAULTS[name] = PlantedFault(name, kind, summary, plant, levels, required, known, raises, family)
        return plant

    return register


@cache
def faults() -> dict[str, PlantedFault]:
    """Every injector under `analysis.faults`, by name."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_FAULTS.items()))
