"""The facts of a run that do not depend on rows: config, names, routing, what the model left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.stats.run import Facts
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.events.holes import stored_costs
from ple_model.errors import UserError

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.model import PLEClusterAdaTT
    from ple_model.run import Run


def facts_of(run: Run, model: PLEClusterAdaTT, data: Dataset) -> Facts:
    """`Facts` of an opened run; no paths enter, so that a stored analysis may travel with its run."""
    tasks = model.tasks
    manifest = run.manifest
    broken = nonfinite_of(run, model)
    return Facts(
        config=run.config.to_dict(),
        tasks=tuple(tasks),
        kinds={n: t.kind for n, t in tasks.items()},
        domain_experts={n: t.domain_experts for n, t in tasks.items()},
        hmm_modes={n: t.hmm_mode for n, t in tasks.items()},
        experts=tuple(model.expert_names),
        reads={n: tuple(_reads(model.experts[n])) for n in model.expert_names},
        edges=tuple(e.key for e in model.edges),
        skipped_edges=tuple(str(w) for w in model.skipped_edges),
        execution_order=tuple(model.execution_order),
        nonfinite_parameters=tuple(broken),
        nonfinite_values=broken,
        classes={n: t.out_dim for n, t in tasks.items() if t.kind == "multiclass"},
        log_scale=tuple(n for n, t in tasks.items() if t.log_scale),
        amount_means=tuple(n for n in tasks if n in model.amounts),
        brand_temperature=run.config.training.temperature,
        absent_sources=tuple(data.manifest.absent_sources),
        hole_costs=stored_costs(data.manifest.settings, data.manifest.cutoffs),
        own_parts={} if data.own is None else {p: (where.start, where.stop) for p, where in data.own.parts.items()},
        unlearned=tuple(n for n in tasks if not model.context.learned(n)),
        blend={k: round(v, 4) for k, v in model.blends().items()},
        run={
            "name": run.name, "preset": manifest.preset, "device": manifest.device, "seed": manifest.seed,
            "data": manifest.data.name, "data_fingerprint": manifest.data.fingerprint, "commit": manifest.commit,
            "status": manifest.status, "created": manifest.created, "parameters": manifest.parameters,
            "parent": manifest.parent,
        },
    )  # fmt: skip


def nonfinite_of(run: Run, model: PLEClusterAdaTT) -> dict[str, float]:
    """Weights, buffers, scalers and calibration maps with a NaN or Inf -> share of their values."""
    from ple_model.finite import bad_tensors  # late: torch

    found = bad_tensors(model.state_dict().items())
    found |= {f"context.{name}": 1.0 for name in run.context().nonfinite}
    try:
        _ = run.calibration
    except UserError:
        found["calibration"] = 1.0
    try:
        Normalizer.load(run.preprocess)
    except UserError:
        if (run.preprocess / "normalizer.npz").exists():
            found["normalizer"] = 1.0
    return found


def _reads(expert: Any) -> tuple[str, ...]:
    return tuple(expert.reads)
