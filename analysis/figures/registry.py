"""The figures of a diagnosis' report, by discovery: a module of this package says which of its own belong there.

A function that `reported` decorates gives a title and how to draw it for each figure that the statistics allow.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache

import plotly.graph_objects as go

import analysis.figures as package
from analysis.stats.run import Statistics

Drawing = tuple[str, Callable[[], go.Figure]]
"""A figure's title, and what draws it."""
Reported = Callable[[Statistics], Iterator[Drawing]]

_REPORTED: dict[str, tuple[float, Reported]] = {}


def reported(place: float) -> Callable[[Reported], Reported]:
    """Put a function's figures into the report, in the order of `place`."""

    def register(function: Reported) -> Reported:
        _REPORTED[f"{function.__module__}.{function.__qualname__}"] = (place, function)
        return function

    return register


@cache
def reported_figures() -> tuple[Reported, ...]:
    """Every function that `reported` decorates under `analysis.figures`, in the order of the report."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return tuple(function for _, function in sorted(_REPORTED.values(), key=lambda r: r[0]))


def figures_of(s: Statistics) -> Iterator[Drawing]:
    """(title, how to draw it) of every figure that these statistics allow."""
    for function in reported_figures():
        yield from function(s)
