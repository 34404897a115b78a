"""What making a dataset costs: processor time, disk, and how far a job is, from what was measured of synthetic banks.

Measured at 300 and 1,500 customers (702 and 3,568 rows) on two cores that others used too, at loads of 4 to 8: builds took 62
and 229 s on the clock, near what `now` gives. A step costs a fixed part (loading libraries, fits that every size needs)
and a part a row; a row is a customer at a cut-off. An estimate names both: undisturbed, and at the load of now.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from dashboard.data_jobs import Making, Progress, Step

ROWS_A_CUSTOMER = 2.5
"""Of the synthetic bank's four cut-offs, three hold the 75 % of customers for training and validation, one the other 25 %."""
FIXED_S: dict[Step, float] = {"synth": 1.0, "import": 2.0, "build": 21.0, "baselines": 25.0}
ROW_S: dict[Step, float] = {"synth": 0.0005, "import": 0.0005, "build": 0.009, "baselines": 0.011}
ROW_BYTES: dict[Step, float] = {"synth": 2_800.0, "import": 2_800.0, "build": 7_500.0, "baselines": 500.0}
BUILD: dict[str, float] = {
    "validate": 0.06, "features": 0.2, "sequences": 0.1, "segments": 0.04, "topology": 0.2, "fit": 0.3, "write": 0.1,
}  # fmt: skip
"""Stages of a build in order, by their share of its time."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds and bytes on disk."""

    seconds: float
    bytes: float

    def now(self) -> float:
        """Seconds on the clock at the load of now: the cores are shared with what runs already."""
        cores = os.cpu_count() or 1
        return self.seconds * max(1.0, (os.getloadavg()[0] + 1) / cores)


def cost(steps: tuple[Step, ...], rows: float) -> Cost:
    """Of these steps for so many rows."""
    return Cost(sum(FIXED_S[s] + ROW_S[s] * rows for s in steps), sum(ROW_BYTES[s] * rows for s in steps))


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
