"""What making a dataset costs: time, disk, and how far a job is, from what was measured of synthetic banks.

Seconds on the clock with two cores that did nothing else (November 2026; banks of 300, 1,500 and 3,000 customers, 691, 3,534
and 7,080 rows): `ple build` 28.5, 71.7, 99.0; `ple baselines` 58.7, 106.9, 120.9; `ple synth` 3.1, 3.9, 3.8. Lines through
these (least squares): a fixed part (loading libraries, fits that every size needs) and a part a row, a customer at a cut-off.
`import` was not measured and counts as `synth`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from dashboard.data_jobs import Making, Progress, Step

ROWS_A_CUSTOMER = 2.5
"""Of the synthetic bank's four cut-offs, three hold the 75 % of customers for training and validation, one the other 25 %."""
FIXED_S: dict[Step, float] = {"synth": 3.2, "import": 3.2, "build": 25.0, "baselines": 60.0}
ROW_S: dict[Step, float] = {"synth": 0.0001, "import": 0.0001, "build": 0.011, "baselines": 0.0095}
ROW_BYTES: dict[Step, float] = {"synth": 2_800.0, "import": 2_800.0, "build": 5_700.0, "baselines": 100.0}
BUILD: dict[str, float] = {
    "validate": 0.03, "features": 0.1, "sequences": 0.03, "segments": 0.01, "topology": 0.35, "fit": 0.43, "write": 0.05,
}  # fmt: skip
"""Stages of a build in order, by their share of its time (mean of the smallest and the largest of these banks)."""


@dataclass(frozen=True)
class MakingCost:
    """Seconds on two cores that do nothing else, and bytes on disk."""

    seconds: float
    bytes: float

    def now(self) -> float:
        """Seconds on the clock at the load of now: the cores are shared with what runs already."""
        cores = os.cpu_count() or 1
        return self.seconds * max(1.0, (os.getloadavg()[0] + 1) / cores)


def cost(steps: tuple[Step, ...], rows: float) -> MakingCost:
    """Of these steps for so many rows."""
    return MakingCost(sum(FIXED_S[s] + ROW_S[s] * rows for s in steps), sum(ROW_BYTES[s] * rows for s in steps))


def room(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    there = next(p for p in (folder, *folder.parents) if p.is_dir())
    return shutil.disk_usage(there).free


def share(making: Making, progress: Progress | None, rows: float) -> float:
    """How much of a job is done (0 to 1), by the costs of its steps."""
    if progress is None:
        return 0.0
    parts = [cost((s,), rows).seconds for s in making.steps]
    number = min(progress.number, len(parts) - 1)
    within = progress.share
    if making.steps[number] == "build":
        names = list(BUILD)
        if progress.stage not in names:
            within = 0.0
        else:
            before = sum(BUILD[n] for n in names[: names.index(progress.stage)])
            within = before + BUILD[progress.stage] * progress.share
    return (sum(parts[:number]) + parts[number] * within) / sum(parts)
