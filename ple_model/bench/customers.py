"""Random customers for the benchmarks: every field filled, labels that follow a few columns, nothing on disk.

Speed depends on shapes, on how many points and steps are empty, and on presence, not on what the numbers mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.context import LabelScaler, ModelContext
from ple_model.fields import FIELD_SHAPES, N_NORMALIZED, OPTIONAL_FIELDS
from ple_model.tasks import TASKS

BRANDS = 100
FILL = 0.4
"""Share of a diagram's places that hold a point."""
BUSY = 0.6
"""Share of the days and sessions that are not empty."""


def context() -> ModelContext:
    """What a model must know of these customers."""
    regressions = [t.name for t in TASKS.values() if t.kind == "regression"]
    return ModelContext(
        raw_mean=(2.0,) * (FIELD_SHAPES["features"][0] - N_NORMALIZED),
        raw_std=(1.5,) * (FIELD_SHAPES["features"][0] - N_NORMALIZED),
        brands=tuple(f"brand {i}" for i in range(BRANDS)),
        brand_counts=tuple(range(BRANDS, 0, -1)),
        label_scalers={t: LabelScaler(3.0, 1.4) for t in regressions},
    )


def customers(n: int, seed: int = 0) -> PLEClusterInput:
    """`n` customers with labels of all tasks."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(n, *shape, generator=g)

    values: dict[str, Tensor] = {}
    for name, shape in FIELD_SHAPES.items():
        if name.endswith("_mask") or name in ("cluster_ids", "customer_segment"):
            continue
        values[name] = normal(*shape)
    features = values["features"]
    features[:, N_NORMALIZED:] = torch.exp(2.0 + features[:, N_NORMALIZED:])
    for name in ("hyperbolic_features", "hierarchy_features"):
        values[name] = 0.25 * torch.tanh(values[name])  # inside every ball
    for name in ("txn_seq", "session_seq"):
        busy = torch.rand(n, values[name].shape[1], 1, generator=g) < BUSY
        busy[:, -1] = True
        values[name] = values[name] * busy
    for name, homologies in (("tda_short", 2), ("tda_long", 3)):
        points = FIELD_SHAPES[f"{name}_mask"][0]
        count = 1 + (torch.rand(n, 1, generator=g) * 2 * FILL * (points - 1)).long()
        mask = torch.arange(points)[None] < count
        birth, life = torch.rand(n, points, generator=g), torch.rand(n, points, generator=g) ** 2
        kind = torch.randint(0, homologies, (n, points), generator=g).float()
        values[f"{name}_diagrams"] = torch.stack([birth, birth + life, kind], dim=2) * mask[:, :, None]
        values[f"{name}_mask"] = mask
    values["cluster_probs"] = torch.softmax(3 * values["cluster_probs"], dim=1)
    values["cluster_ids"] = values["cluster_probs"].argmax(dim=1)
    for name in ("hmm_journey", "hmm_lifecycle", "hmm_behavior"):
        values[name] = torch.softmax(values[name], dim=1)
    values["customer_segment"] = torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), n, replacement=True, generator=g)
    presence = {f: torch.ones(n, dtype=torch.bool) for f in OPTIONAL_FIELDS}
    return PLEClusterInput(**values, targets=_labels(features, g), presence=presence)  # type: ignore[arg-type]


def _labels(features: Tensor, g: torch.Generator) -> dict[str, Tensor]:
    """Each task follows a mix of two columns, so that some pairs of tasks agree and others do not."""
    n = len(features)
    out: dict[str, Tensor] = {}
    for i, (name, spec) in enumerate(TASKS.items()):
        noise = 0.5 * torch.randn(n, max(1, spec.out_dim), generator=g)
        score = features[:, i % 5] + 0.5 * features[:, 5 + i % 3]
        if spec.kind == "regression":
            y = 3.0 + score[:, None] + noise
            out[name] = y[:, 0] if spec.out_dim == 1 else y
        elif spec.kind == "binary":
            out[name] = (score + noise[:, 0] > 1.3).long()
        else:
            classes = BRANDS if spec.kind == "contrastive" else spec.out_dim
            out[name] = (torch.sigmoid(score + noise[:, 0]) * classes).long().clamp_max(classes - 1)
    return out
