"""Random but plausible batches and contexts for tests: `random_inputs(64, seed=0)`, `random_context()`, `diagrams(...)`.

Every optional field is filled and its presence recorded, so that a test says only what it takes away:
`random_inputs(8, absent=("txn_seq",))` for the whole batch, `random_inputs(8, absent={"txn_seq": [0, 3]})` for single rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.context import BALL_DIMS, BALLS, HierarchyTree, LabelScaler, ModelContext
from ple_model.fields import FIELD_SHAPES, N_FEATURES, N_NORMALIZED, OPTIONAL_FIELDS
from ple_model.schema import PART_SLICES
from ple_model.tasks import TASKS

BASE_RATES = {"ctr": 0.10, "cvr": 0.03, "churn": 0.10, "retention": 0.86}
"""Positive shares of the random binary labels (higher than real ones, so that small batches hold both classes)."""


def ball_points(g: torch.Generator, n: int, radius: float = 0.9) -> Tensor:
    """[n, 20] Poincare coordinates on the balls (8, 8, 4), each inside `radius`."""
    parts = []
    for ball in BALLS:
        x = torch.randn(n, BALL_DIMS[ball], generator=g)
        r = radius * torch.rand(n, 1, generator=g)
        parts.append(x / x.norm(dim=1, keepdim=True) * r)
    return torch.cat(parts, dim=1)


def diagrams(g: torch.Generator, n: int, points: int, homologies: int, fill: float = 0.4) -> tuple[Tensor, Tensor]:
    """Persistence diagrams [n, points, 3] (birth, death, homology index) and mask [n, points]; about `fill` valid, at least
    one."""
    mask = torch.arange(points)[None] < 1 + (torch.rand(n, 1, generator=g) * 2 * fill * (points - 1)).long()
    index = torch.randint(0, homologies, (n, points), generator=g).float()
    birth = torch.rand(n, points, generator=g) * (index > 0)
    death = birth + torch.rand(n, points, generator=g) ** 2
    return torch.stack([birth, death, index], dim=2) * mask[:, :, None], mask


def sequence(g: torch.Generator, n: int, steps: int, width: int, rate: float = 0.6) -> Tensor:
    """[n, steps, width] sequence with a weekly rhythm; a share of the steps is empty (zero)."""
    t = torch.arange(steps, dtype=torch.float32)[None, :, None]
    phase = 6.28 * torch.rand(n, 1, width, generator=g)
    wave = torch.sin(6.2832 * t / 7 + phase)
    active = torch.rand(n, steps, 1, generator=g) < rate
    active[:, -1] = True  # every row holds something
    return (wave + 0.5 * torch.randn(n, steps, width, generator=g)) * active


def random_targets(g: torch.Generator, n: int, *, brands: int = 30, missing: float = 0.1) -> dict[str, Tensor]:
    """Labels of all tasks in original units: int64 with -1 missing, float32 with NaN missing."""
    targets: dict[str, Tensor] = {}
    for name, spec in TASKS.items():
        gone = torch.rand(n, generator=g) < missing
        if spec.kind == "regression":
            shape = (n,) if spec.out_dim == 1 else (n, spec.out_dim)
            y = torch.randn(shape, generator=g).abs() * (2.0 if spec.log_scale else 0.5)
            y[gone] = torch.nan
            targets[name] = y
            continue
        if spec.kind == "binary":
            label = (torch.rand(n, generator=g) < BASE_RATES.get(name, 0.1)).long()
        else:
            label = torch.randint(0, brands if spec.kind == "contrastive" else spec.out_dim, (n,), generator=g)
        label[gone] = -1
        targets[name] = label
    return targets


def random_inputs(
    n: int,
    seed: int = 0,
    *,
    absent: Iterable[str] | Mapping[str, Sequence[int]] = (),
    presence: bool = True,
    n_clusters: int = 20,
    brands: int = 30,
    targets: bool = True,
) -> PLEClusterInput:
    """A batch of `n` customers. `absent`: field names or `features:<part>` gone for the whole batch, or name -> rows.

    presence=False leaves the presence record out, so that all-zero rows decide."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(n, N_FEATURES, generator=g)
    features[:, N_NORMALIZED:] = torch.exp(2.0 * torch.randn(n, N_FEATURES - N_NORMALIZED, generator=g) + 2.0)
    probs = torch.softmax(3.0 * torch.randn(n, n_clusters, generator=g), dim=1)
    short, short_mask = diagrams(g, n, *FIELD_SHAPES["tda_short_mask"], homologies=2)
    long, long_mask = diagrams(g, n, *FIELD_SHAPES["tda_long_mask"], homologies=3)
    hmm = {m: _hmm(g, n) for m in ("hmm_journey", "hmm_lifecycle", "hmm_behavior")}
    phase = torch.randn(n, 10, generator=g)
    values: dict[str, Tensor] = {
        "features": features,
        "cluster_ids": probs.argmax(dim=1),
        "cluster_probs": probs,
        "hyperbolic_features": ball_points(g, n),
        "hierarchy_features": ball_points(g, n),
        "tda_features": torch.cat([torch.randn(n, 60, generator=g), phase], dim=1),
        "tda_short_diagrams": short,
        "tda_short_mask": short_mask,
        "tda_long_diagrams": long,
        "tda_long_mask": long_mask,
        "tda_global_stats": torch.randn(n, 30, generator=g),
        "tda_phase_transition": phase,
        **hmm,
        "txn_seq": sequence(g, n, *FIELD_SHAPES["txn_seq"]),
        "session_seq": sequence(g, n, *FIELD_SHAPES["session_seq"]),
        "collaborative_features": 0.3 * torch.randn(n, 64, generator=g),
        "customer_segment": torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), n, replacement=True, generator=g),
        "coldstart_features": torch.randn(n, 40, generator=g),
        "anonymous_features": torch.randn(n, 15, generator=g),
    }
    labels = random_targets(g, n, brands=brands) if targets else None
    inputs = PLEClusterInput(**values, targets=labels)  # type: ignore[arg-type]
    inputs = replace(inputs, presence={f: torch.ones(n, dtype=torch.bool) for f in OPTIONAL_FIELDS} if presence else None)
    return without(inputs, absent)


def without(inputs: PLEClusterInput, absent: Iterable[str] | Mapping[str, Sequence[int]]) -> PLEClusterInput:
    """The same batch with fields or parts taken away (see `random_inputs`); values become zero and presence says so."""
    n = len(inputs)
    rows = {k: torch.tensor(list(v), dtype=torch.long) for k, v in absent.items()} if isinstance(absent, Mapping) else None
    changed: dict[str, Tensor | None] = {}
    presence = dict(inputs.presence) if inputs.presence is not None else None
    for name in absent:
        base, _, part = name.partition(":")
        value = changed.get(base, getattr(inputs, base))
        if value is None:
            continue
        index = torch.arange(n) if rows is None else rows[name]
        if rows is None and not part:
            changed[base] = None
        else:
            value = value.clone()
            columns = PART_SLICES[part] if part else slice(None)
            value[index] = value[index].index_fill(1, torch.arange(value.shape[1])[columns], 0) if value.dim() > 1 else 0
            changed[base] = value
        if presence is not None:
            old = presence.get(name, torch.ones(n, dtype=torch.bool)).clone()
            old[index] = False
            presence[name] = old
    return replace(inputs, **changed, presence=presence)  # type: ignore[arg-type]


def _hmm(g: torch.Generator, n: int) -> Tensor:
    states = torch.softmax(2.0 * torch.randn(n, 10, generator=g), dim=1)
    return torch.cat([states, torch.rand(n, 6, generator=g)], dim=1)


def random_tree(seed: int = 0, children: int = 4) -> HierarchyTree:
    """Three trees: a root, `children` branches, `children` leaves each; deeper nodes lie further out."""
    rng = np.random.default_rng(seed)
    names: list[str] = []
    ball: list[int] = []
    parent: list[int] = []
    coords: list[np.ndarray] = []

    def add(name: str, b: int, up: int, radius: float) -> int:
        x = np.zeros(8, dtype=np.float32)
        d = rng.normal(size=BALL_DIMS[BALLS[b]])
        x[: d.size] = radius * d / np.linalg.norm(d)
        names.append(name)
        ball.append(b)
        parent.append(up)
        coords.append(x)
        return len(names) - 1

    for b, ball_name in enumerate(BALLS):
        root = add(f"{ball_name} root", b, -1, 0.0)
        for i in range(children):
            branch = add(f"{ball_name} {i}", b, root, 0.5)
            for j in range(children):
                add(f"{ball_name} {i}.{j}", b, branch, 0.85)
    return HierarchyTree(tuple(names), np.array(ball), np.array(parent), np.stack(coords))


def joined(batches: Sequence[PLEClusterInput]) -> PLEClusterInput:
    """Batches of the same fields, one after the other."""
    first, out = batches[0], {}
    for f in fields(first):
        values = [getattr(b, f.name) for b in batches]
        if isinstance(values[0], Tensor):
            out[f.name] = torch.cat(values)
        elif isinstance(values[0], Mapping) and f.name != "parts":
            out[f.name] = {k: torch.cat([v[k] for v in values]) for k in values[0]}
    return replace(first, **out)


def random_context(seed: int = 0, brands: int = 30) -> ModelContext:
    """A context with a tree, raw-column statistics, brands and label scalers that fit `random_inputs`."""
    regressions = [t.name for t in TASKS.values() if t.kind == "regression"]
    return ModelContext(
        hierarchy=random_tree(seed),
        raw_mean=tuple([2.5] * (N_FEATURES - N_NORMALIZED)),
        raw_std=tuple([1.5] * (N_FEATURES - N_NORMALIZED)),
        brands=tuple(f"brand {i}" for i in range(brands)),
        brand_counts=tuple(range(brands, 0, -1)),
        label_scalers={t: LabelScaler(0.5, 1.2) for t in regressions},
        constant_loss={},
    )
