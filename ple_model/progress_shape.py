"""What a line of `progress.jsonl` may hold: a line of another shape is left out like a torn one."""

from __future__ import annotations

from typing import Any

from ple_model.shapes import FLAG, NUMBER, TEXT, WHOLE, Keys, ListOf, MapOf, misfit

_FLAGS = MapOf(FLAG)
_LINES: dict[str, Keys] = {
    "start": Keys(
        {
            "preset": TEXT, "parameters": WHOLE, "steps_per_epoch": WHOLE, "epochs": ListOf(WHOLE), "max_epochs": WHOLE,
            "batch_size": WHOLE, "tasks": ListOf(TEXT), "experts": ListOf(TEXT), "rows": MapOf(WHOLE), "threads": WHOLE,
        }
    ),
    "step": Keys(
        {
            "step": WHOLE, "steps": WHOLE, "epoch": WHOLE, "phase": WHOLE, "total": NUMBER, "samples_per_s": NUMBER,
            "eta_s": NUMBER,
        }
    ),
    "epoch": Keys(
        {
            "epoch": WHOLE, "phase": WHOLE, "lr": NUMBER, "steps": WHOLE, "samples_per_s": NUMBER, "seconds": NUMBER,
            "eta_s": NUMBER, "rss_mb": NUMBER, "device_mem_mb": NUMBER,
            "train": Keys({"total": NUMBER, "tasks": MapOf(NUMBER)}),
            "valid": Keys({"tasks": MapOf(NUMBER), "n": MapOf(NUMBER), "mean_ratio": NUMBER, "ratio": MapOf(NUMBER)}),
            "s": MapOf(NUMBER), "gates": MapOf(ListOf(NUMBER)), "gate_entropy": MapOf(NUMBER), "grad_norm": MapOf(NUMBER),
            "hmm_grad": MapOf(NUMBER),
            "adatt": Keys({"tasks": ListOf(TEXT), "A": ListOf(ListOf(NUMBER))}),
            "frozen": _FLAGS, "best": FLAG, "nonfinite_steps": WHOLE, "adatt_time_share": NUMBER,
            "blend": MapOf(NUMBER),
        },
        ("epoch",),
    ),
    "phase": Keys({"phase": WHOLE, "epoch": WHOLE, "epochs": WHOLE, "frozen": _FLAGS}, ("phase",)),
    "freeze": Keys({"epoch": WHOLE, "what": ListOf(TEXT)}, ("epoch",)),
    "warning": Keys({"text": TEXT, "epoch": WHOLE}),
    "fit": Keys({"share": NUMBER, "what": TEXT}),
    "teacher": Keys({"share": NUMBER}),
    "encoder": Keys({"text": TEXT}),
    "baselines": Keys({"share": NUMBER, "what": TEXT, "eta_s": NUMBER}),
    "ending": Keys({"what": TEXT, "eta_s": NUMBER}),
    "finished": Keys({"blend": MapOf(NUMBER)}),
    "failed": Keys({"reason": TEXT}),
}  # fmt: skip


def fits(line: Any) -> bool:
    """Whether a parsed line is one of ours, or of a later release."""
    if not isinstance(line, dict) or not isinstance(line.get("event"), str) or misfit(line.get("time"), NUMBER) is not None:
        return False
    shape = _LINES.get(line["event"])
    return shape is None or misfit(line, shape) is None
