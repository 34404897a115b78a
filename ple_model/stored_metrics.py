"""`metrics.json` as it is read back: metrics by split and task, their kinds checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ple_model.errors import UserError
from ple_model.shapes import NUMBER, TEXT, WHOLE, Keys, MapOf, misfit
from ple_model.stored import shown

KINDS = ("binary", "multiclass", "regression", "contrastive")
_TASK = Keys(
    {
        "kind": TEXT, "n": WHOLE, "base_rate": NUMBER, "metrics": MapOf(NUMBER), "constant": MapOf(NUMBER),
    },
    ("kind", "n", "metrics"),
)  # fmt: skip
_METRICS = Keys({"calibrated_on": TEXT, "splits": MapOf(MapOf(_TASK))})


def checked_metrics(path: Path, raw: Any) -> dict[str, Any]:
    """`raw` if it has the shape of metrics; `UserError` names the file and the first value that has not."""
    if isinstance(raw, dict):
        raw = {k: v for k, v in raw.items() if v is not None}
    wrong = misfit(raw, _METRICS)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}")
    for split, tasks in raw.get("splits", {}).items():
        for task, found in tasks.items():
            if found["kind"] not in KINDS:
                raise UserError(f"{path} is damaged: splits.{split}.{task}.kind is {shown(found['kind'])}")
    return dict(raw)
