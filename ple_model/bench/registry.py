"""The list of benchmarks, by discovery: each module of `MODULES` exports `BENCHMARKS`. Modules of packages that are not
installed are passed over, so that this one never imports upwards."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from ple_model.bench.measure import Row, Settings
from ple_model.errors import UserError, did_you_mean

MODULES = (
    "ple_model.bench.scan",
    "ple_model.bench.head",
    "ple_model.bench.whole",
    "ple_model.bench.adatt",
    "ple_model.bench.read",
    "ple_model.bench.build",
    "ple_model.bench.neighbour",
    "ple_model.bench.forecast",
    "ple_model.bench.few_labels",
    "ple_model.bench.anomaly",
    "ple_model.bench.neighbours",
    "ple_model.bench.sharing",
    "ple_model.bench.peer",
    "ple_model.bench.single",
    "ple_model.bench.gpu",
    "analysis.bench.diagnose",
    "analysis.bench.skill",
    "analysis.bench.memory",
    "analysis.bench.whatif",
    "analysis.bench.explain",
    "analysis.bench.sae",
    "analysis.bench.reasons",
    "analysis.bench.scale",
    "dashboard.bench",
    "dashboard.bench_first",
    "dashboard.bench_viewers",
)

NOT_YET: dict[str, str] = {}
"""Targets that no benchmark measures yet: by name what is wanted."""


@dataclass(frozen=True)
class Benchmark:
    """`run` checks that both forms agree (`Disagreement` if not), measures, and returns a row a measure."""

    name: str
    help: str
    run: Callable[[Settings], list[Row]]
    proof: bool = False
    """It trains models, for minutes or hours, or needs a library of others, and so runs where it is named alone."""


def benchmarks() -> dict[str, Benchmark]:
    """Every benchmark by name."""
    found: dict[str, Benchmark] = {}
    for module in MODULES:
        if find_spec(module.partition(".")[0]) is None:
            continue
        for one in importlib.import_module(module).BENCHMARKS:
            found[one.name] = one
    return found


def chosen(name: str | None) -> list[Benchmark]:
    """The benchmark of this name, or all that are no proof. `UserError` names the nearest."""
    found = benchmarks()
    if name is None:
        return [b for b in found.values() if not b.proof]
    if name in NOT_YET:
        raise UserError(f"ple bench: '{name}' has no benchmark yet ({NOT_YET[name]})")
    if name not in found:
        raise UserError(f"ple bench: no benchmark '{name}'{did_you_mean(name, found)}")
    return [found[name]]
