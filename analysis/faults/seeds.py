"""Which seeds were used for what: a figure is worth what its seeds were not used for before.

A seed that set a limit says nothing of that limit; one that was looked at while checks were mended flatters them; so one is
kept to be run once, when everything else is done. Where it was run is written beside the banks (`once.json`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.sources import source_digest

Role = Literal["set limits", "looked at", "run once", "healthy alone", "other"]

LIMITS = (21, 22, 23, 24, 25)
"""Limits of checks were calibrated on healthy runs of these."""
LOOKED_AT = (11, 12, 13)
"""Checks and injectors were mended while these were looked at: the default."""
SEEN = (47, 61, 62, 63, 64, 65, 101, 201, 202, 203)
"""Six that were begun as the last one (of the first only the healthy runs were looked at, the fourth was stopped after eleven
cases), and banks that trainings were compared on."""
ONCE = 66
"""Run once, at the end; not to be looked at before."""
FRESH = tuple(range(301, 331))
"""For healthy runs alone (`--healthy N` takes the first N)."""

CUSTOMERS = 4000
"""Of each bank that faults are planted in; most of them are there to be asked, not to learn from."""
HEALTHY_CUSTOMERS = 5000
"""Of each bank of healthy runs alone: with fewer there is too little to learn from, and a network really is behind a linear
model."""

LEDGER = "once.json"


def role(seed: int) -> Role:
    """What a seed was used for."""
    if seed == ONCE:
        return "run once"
    if seed in LIMITS:
        return "set limits"
    if seed in (*LOOKED_AT, *SEEN):
        return "looked at"
    return "healthy alone" if seed in FRESH else "other"


def require_allowed(seeds: tuple[int, ...], *, once: bool) -> None:
    """`UserError` where the seed that is run once is asked for in passing."""
    if ONCE in seeds and not once:
        raise UserError(
            f"--seeds {ONCE}: this seed is run once, when all else is done; --once runs it and writes down that it was used "
            f"(seeds to look at: {', '.join(map(str, LOOKED_AT))})"
        )


def used(workdir: Path) -> list[dict[str, Any]]:
    """When the seed that is run once was run from this folder, and on which code."""
    path = workdir / LEDGER
    stored = read_json(path) if path.is_file() else []
    return [e for e in stored if isinstance(e, dict)] if isinstance(stored, list) else []


def note_use(workdir: Path, when: str) -> list[dict[str, Any]]:
    """Write that it is run now; returns the times before."""
    before = used(workdir)
    entry = {"seed": ONCE, "when": when, "code": source_digest("analysis.faults.bench")}
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / LEDGER, [*before, entry])
    return before
