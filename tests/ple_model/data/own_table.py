"""A table like a census: 39 columns of which two are labels, with a planted effect of age, schooling and gains."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

WORK = ("Private", "Self-emp", "Government", "?")
SCHOOL = ("HS", "Bachelors", "Masters", "Doctorate")


def columns(n: int, seed: int = 0) -> dict[str, list[object]]:
    """By column, in the order of the file."""
    r = np.random.default_rng(seed)
    age, school = r.integers(17, 90, n), r.choice(SCHOOL, n, p=[0.5, 0.3, 0.15, 0.05])
    gain = np.where(r.random(n) < 0.3, r.lognormal(6, 2, n), 0).round(0)
    score = 0.08 * (age - 50) + 1.5 * (school == "Masters") + 2 * (school == "Doctorate") + 0.1 * np.log1p(gain) - 0.5
    out: dict[str, object] = {
        "person_id": [f"p{i}" for i in range(n)], "age": age, "workclass": r.choice(WORK, n, p=[0.7, 0.12, 0.15, 0.03]),
        "education": school, "hours per week": r.normal(40, 10, n).round(1), "capital gain": gain,
    }  # fmt: skip
    out |= {f"answer {k}": r.normal(0, 1, n).round(3) for k in range(28)}
    out |= {"category": r.choice(["a", "b", "c"], n), "note": [f"free text {i}" for i in range(n)]}
    out["income"] = np.where(r.random(n) < 1 / (1 + np.exp(-1.5 * score)), ">50K", "<=50K")
    out["married"] = np.where(r.random(n) < 1 / (1 + np.exp(-0.1 * (age - 40))), "yes", "no")
    out["batch"] = [1] * n
    return {k: list(v) for k, v in out.items()}  # type: ignore[call-overload]


def write(path: Path, n: int, seed: int = 0, drop: tuple[str, ...] = (), **changes: list[object]) -> Path:
    """The table as CSV, without the columns `drop`, with `changes` for some columns."""
    table = {k: v for k, v in (columns(n, seed) | changes).items() if k not in drop}
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path
