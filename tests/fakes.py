"""A small real dataset folder with signal in it, and a tiny config: `make_dataset(path)`, `TINY`.

The inputs are random (`factories`); labels follow a few columns, so that a model can learn something from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from ple_model import baseline_folder
from ple_model.baselines import measure_all
from ple_model.batch import PLEClusterInput
from ple_model.config import Config, config_from_dict, load_config, merge, preset_dict
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.fields import N_NORMALIZED
from ple_model.tasks import TASKS
from tests.factories import random_context, random_inputs

BRANDS = 12
SIGNAL = 6
"""Labels follow this many of the first feature columns."""
RATES = {"ctr": 0.15, "cvr": 0.08, "churn": 0.2, "retention": 0.8}

TINY = {
    "shared_experts": {
        "unified_hgcn": {"output_dim": 8, "node_dim": 8, "merchant_dim": 8, "fusion_dims": [8]},
        "perslay": {"output_dim": 4, "functions": 2, "hidden_dim": 8, "stats_dim": 4},
        "deepfm": {"output_dim": 4, "embedding_dim": 2, "deep_dims": [8]},
        "temporal": {
            "output_dim": 4, "txn_days": 24, "sessions": 12, "mamba_dim": 8, "mamba_state": 4, "chunk": 6, "lnn_dim": 4,
            "transformer_dim": 8, "mix_dim": 8,
        },
        "lightgcn": {"output_dim": 4, "hidden_dim": 8},
        "causal": {"output_dim": 4, "hidden_dim": 8, "variables": 4},
        "optimal_transport": {
            "output_dim": 4, "hidden_dim": 8, "support_points": 4, "support_dim": 2, "prototypes": 3, "iterations": 3,
        },
        "raw_scale": {"output_dim": 4, "hidden_dim": 8, "mlp_dim": 8},
    },
    "task_experts": {"group_hidden_dim": 16, "group_output_dim": 8, "cluster_embed_dim": 4, "output_dim": 8},
    "task_towers": {"hidden_dims": [8]},
    "direct_path": {
        "hidden_dims": [8], "start": "random", "rate": 0.5, "ridge": 0.08, "blend": "none", "bends": 0, "brand_query": False,
    },
    "hmm_triple_mode": {"proj_dim": 4},
    "sae": {"expansion": 2},
    "adatt": {"warmup_epochs": 1, "freeze_epoch": 2},
    "training": {"phase1_epochs": 3, "phase2_epochs": 1, "batch_size": 32, "learning_rate": 5e-3, "brand_blend": "none"},
}  # fmt: skip
"""A model of a few thousand parameters: the `small` preset with every width cut down. Every task takes all that is added to its
map: on so few rows most would take nothing, and what a test does to an expert or an edge would reach no prediction."""


REFERENCE_TASKS = (
    "ctr", "cvr", "engagement", "churn", "retention", "life_stage", "ltv", "balance_util", "channel", "timing", "nba",
    "spending_category", "consumption_cycle", "spending_bucket", "brand_prediction", "merchant_affinity",
)  # fmt: skip
"""The tasks that the reference's own numbers are of, whatever tasks are added."""


def reference_config(*overrides: str) -> Config:
    """`v3_14` with the reference's tasks and no other."""
    return load_config("v3_14", overrides=[f"task_experts.enabled_tasks=[{','.join(REFERENCE_TASKS)}]", *overrides])


def tiny_config(over: dict[str, object] | None = None) -> Config:
    return config_from_dict(merge(merge(preset_dict("small"), TINY), over or {}))


def _binary(score: Tensor, rate: float, g: torch.Generator) -> Tensor:
    """Labels whose odds rise with `score`, about `rate` of them positive."""
    noisy = 1.5 * score + torch.randn(len(score), generator=g)
    return (noisy > torch.quantile(noisy, 1 - rate)).long()


def planted_targets(inputs: PLEClusterInput, seed: int, missing: float = 0.1) -> dict[str, Tensor]:
    """Labels of all tasks in original units that follow feature columns 0 to 5; `missing` of each are not there."""
    g = torch.Generator().manual_seed(seed + 1)
    n, x = len(inputs), inputs.features
    out: dict[str, Tensor] = {}
    for i, (name, spec) in enumerate(TASKS.items()):
        score = x[:, i % SIGNAL]
        gone = torch.rand(n, generator=g) < missing
        if spec.kind == "binary":
            y = _binary(score, RATES.get(name, 0.2), g)
        elif spec.kind == "regression":
            noise = 0.5 * torch.randn(n, spec.out_dim, generator=g)
            y = (3.0 + score[:, None] + noise).squeeze(1) if spec.out_dim == 1 else score[:, None] + noise
        else:
            classes = BRANDS if spec.kind == "contrastive" else spec.out_dim
            position = torch.sigmoid(1.5 * score + 0.5 * torch.randn(n, generator=g))
            y = (position * classes).long().clamp_max(classes - 1)
        y[gone] = torch.nan if spec.kind == "regression" else -1
        out[name] = y
    return out


def make_batch(n: int, split: str, cutoffs: Sequence[str], seed: int) -> Batch:
    """`n` rows of one split; customers have one row a cut-off."""
    inputs = random_inputs(n, seed, targets=False)
    features = inputs.features.clone()
    features[:, SIGNAL:N_NORMALIZED] *= 0.15  # few rows: columns of pure noise at full size would drown the signal
    inputs = replace(inputs, features=features)
    inputs = replace(inputs, targets=planted_targets(inputs, seed))
    people = -(-n // len(cutoffs))
    ids = [f"{split}-{i % people:05d}" for i in range(n)]
    dates = [cutoffs[i // people] for i in range(n)]
    x = inputs.features
    raw: dict[str, list[object]] = {
        "region": [("north", "south", "west")[i % 3] for i in range(n)],
        "age_band": [("25-34", "35-44")[i % 2] for i in range(n)],
        "recency_days": (30 - 10 * x[:, 3]).tolist(),
        "spend_28d": torch.exp(x[:, 4]).tolist(),
    }
    return Batch(inputs, ids, dates, [split] * n, raw)


def make_dataset(path: Path, *, train: int = 320, validation: int = 160, test: int = 160, seed: int = 0) -> Dataset:
    """A dataset folder in `path`; train rows lie at an earlier cut-off than test rows."""
    parts = [
        make_batch(train, "train", ("2025-03-01", "2025-04-01"), seed),
        make_batch(validation, "validation", ("2025-04-01",), seed + 100),
        make_batch(test, "test", ("2025-05-01",), seed + 200),
    ]
    context = replace(random_context(seed, brands=BRANDS), label_scalers={})
    return write_dataset(path, parts, context=context, name="planted", group_rows=64)


def with_quick_baselines(dataset: Dataset) -> Dataset:
    """The same with the constant and the single columns kept: a `ple train` of it has nothing left to measure."""
    found = measure_all(dataset, keep=False, quick=True)
    assert isinstance(found.source, pa.Table)
    baseline_folder.write(dataset.path, found, found.source)
    return dataset
