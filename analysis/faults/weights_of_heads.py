"""Weight faults behind the towers and beside them: default embeddings of states, the autoencoder, the evidential heads."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from analysis.faults.data import AFTER_A_CUT
from analysis.faults.fault import Columns, Expect, Level, Plant, fault
from analysis.faults.rows import remove
from analysis.faults.weights import DOWNSTREAM, FULL
from ple_model.batch import PLEClusterInput
from ple_model.model import PLEClusterAdaTT


@fault(
    "hmm-default-reset",
    "weight",
    "The default embedding of a mode that a fifth of the rows needs is still at zero.",
    levels=(Level("a fifth", 0.2),),
    required=(Expect("HMM-DEFAULT-UNTRAINED", "lifecycle"),),
    permitted=(*AFTER_A_CUT, *DOWNSTREAM),
)
def _default_reset(share: float) -> Plant:
    def cut(columns: Columns, rng: np.random.Generator) -> None:
        remove(columns, "hmm_lifecycle", share, rng)

    def change(model: PLEClusterAdaTT) -> None:
        model.get_parameter("hmm.hmm_default_embeddings.lifecycle").data.zero_()

    return Plant(rows=cut, weights=change)


@fault(
    "sae-dead",
    "weight",
    "A share of the autoencoder's latents never fires.",
    levels=(Level("nine in ten", 0.9), Level("six in ten", 0.6), Level("three in ten", 0.3, clear=False)),
    required=(Expect("SAE-DEAD", "sae"),),
    permitted=(Expect("SAE-LOW-FVE", "sae"),),
)
def _sae_dead(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        assert model.sae is not None
        g = torch.Generator().manual_seed(0)
        gone = torch.rand(model.sae.n_latents, generator=g) < share
        model.sae.b_enc.data[gone] = -1e3

    return Plant(weights=change)


@fault(
    "sae-dense",
    "weight",
    "The activation threshold is lost: latents fire for everyone.",
    levels=(FULL,),
    required=(Expect("SAE-DENSE", "sae"),),
    permitted=(Expect("SAE-LOW-FVE", "sae"),),
)
def _sae_dense(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        assert model.sae is not None
        model.sae.threshold.data.mul_(1 - share)

    return Plant(weights=change)


@fault(
    "sae-scrambled",
    "weight",
    "The dictionary belongs to another model: its rows are noise of the same size.",
    levels=(FULL, Level("half", 0.5, clear=False)),
    required=(Expect("SAE-LOW-FVE", "sae"),),
    permitted=(Expect("SAE-DENSE", "sae"), Expect("SAE-DEAD", "sae")),
)
def _sae_scrambled(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        assert model.sae is not None
        w = model.sae.w_enc.data
        g = torch.Generator().manual_seed(0)
        noise = torch.randn(w.shape, generator=g) * w.std()
        w.mul_(1 - share).add_(share * noise)

    return Plant(weights=change)


def _head_rows(model: PLEClusterAdaTT, task: str) -> slice:
    """The rows of a task's evidential head in the flat matrix of all heads."""
    assert model.evidential is not None
    start = 0
    for name, width in model.evidential.widths.items():
        if name == task:
            return slice(start, start + width)
        start += width
    raise AssertionError(task)


@fault(
    "evidence-gone",
    "weight",
    "The KL term drove the evidence of one head to zero.",
    levels=(FULL, Level("bias -2", 0.1, clear=False)),
    required=(Expect("EVI-ZERO-EVIDENCE", "nba"),),
    permitted=(Expect("EVI-UNINFORMATIVE", "nba"),),
)
def _evidence_gone(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        assert model.evidential is not None
        rows = _head_rows(model, "nba")
        model.evidential.weight.data[rows] = 0
        model.evidential.bias.data[rows] = -20 * share

    return Plant(weights=change)


@fault(
    "tower-overconfident",
    "weight",
    "The tower of one task moved after its calibration was fitted.",
    levels=(Level("3 logits", 3.0), Level("half a logit", 0.5, clear=False)),
    required=(Expect("EVI-MISCALIBRATED", "retention"),),
)
def _overconfident(by: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        model.towers.out_bias.data[model.towers.slices["retention"]] -= by

    return Plant(weights=change)


@fault(
    "evidence-inverted",
    "weight",
    "A tower was tuned on labels that are wrong for exactly the customers of whom its head is surest.",
    levels=(Level("300 steps", 300.0), Level("10 steps", 10.0, clear=False)),
    required=(Expect("EVI-UNINFORMATIVE", "channel"),),
    permitted=(Expect("EVI-MISCALIBRATED", "channel"),),
)
def _inverted(steps: float) -> Plant:
    def fit(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> None:
        assert inputs.targets is not None
        with torch.no_grad():
            out = model(inputs)
        y, sure = inputs.targets["channel"], out.evidential["channel"].uncertainty
        labelled = y >= 0
        certain = sure < sure[labelled].median()
        wanted = torch.where(certain, (y + 1) % model.tasks["channel"].out_dim, y)[labelled]
        h = out.tower_inputs["channel"][labelled]
        direct = None if out.encoded.direct is None else out.encoded.direct[labelled].detach()
        index = torch.tensor([model.task_names.index("channel")])
        optimizer = torch.optim.Adam(model.towers.parameters(), lr=1e-2)  # other tasks' rows get no gradient and stay
        with torch.enable_grad():
            for _ in range(int(steps)):
                optimizer.zero_grad()
                logits = model.with_direct(model.towers(h[None], ["channel"], index), direct)["channel"]
                nn.functional.cross_entropy(logits, wanted).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    return Plant(refit=fit)
