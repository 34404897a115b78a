"""Weight faults: a healthy run whose stored weights were damaged, each as a known failure of training would leave them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from analysis.faults.data import AFTER_A_CUT, POISONED, UNSKILLED
from analysis.faults.fault import Columns, Expect, Level, Plant, fault
from analysis.faults.rows import remove
from ple_model.batch import PLEClusterInput
from ple_model.experts.base import Expert
from ple_model.model import PLEClusterAdaTT

FULL = Level("full", 1.0)
# A damaged expert or gate moves every prediction behind it, and with it calibration and what the heads can know.
DOWNSTREAM = (
    *UNSKILLED,
    Expect("EVI-MISCALIBRATED"),
    Expect("EVI-UNINFORMATIVE"),
    Expect("EVI-ZERO-EVIDENCE"),
    Expect("SAE-LOW-FVE"),
    Expect("SAE-DEAD"),
    Expect("LT-OVERRELIANCE"),
)

# The gates read the shared representation: what an expert that changed says moves them.
DAMAGED_EXPERT = (*DOWNSTREAM, Expect("CGC-COLLAPSE"))


def _last(model: PLEClusterAdaTT, expert: str) -> nn.Linear:
    module = model.experts[expert]
    assert isinstance(module, Expert)
    return module.last_layer()


def _gate(model: PLEClusterAdaTT, task: str) -> tuple[Tensor, Tensor]:
    """(weights [experts, width], biases [experts]) of one task's gate: views that may be written to."""
    n = len(model.expert_names)
    rows = slice(model.task_names.index(task) * n, (model.task_names.index(task) + 1) * n)
    return model.cgc.linear.weight.data[rows], model.cgc.linear.bias.data[rows]


def _onto(model: PLEClusterAdaTT, task: str, expert: str, logit: float) -> None:
    """The task's gate prefers `expert` by `logit`, whatever the row."""
    weight, bias = _gate(model, task)
    i = model.expert_names.index(expert)
    weight.zero_()
    bias.zero_()
    bias[i] = logit


@fault(
    "expert-dead",
    "weight",
    "The last layer of an expert lost its weights: the output is its bias, whatever the input.",
    levels=(FULL, Level("a ten-thousandth is left", 0.9999), Level("a tenth is left", 0.9, clear=False)),
    required=(Expect("EXP-DEAD", "causal"),),
    permitted=(*DAMAGED_EXPERT, Expect("EXP-LOW-RANK", "causal")),
)
def _dead(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        _last(model, "causal").weight.data.mul_(1 - share)

    return Plant(weights=change)


@fault(
    "expert-low-rank",
    "weight",
    "Dimensional collapse: the last layer of an expert keeps one direction.",
    levels=(FULL, Level("others at a fifth", 0.8, clear=False)),
    required=(Expect("EXP-LOW-RANK", "raw_scale"),),
    permitted=DAMAGED_EXPERT,
)
def _low_rank(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        layer = _last(model, "raw_scale")
        u, s, v = torch.linalg.svd(layer.weight.data, full_matrices=False)
        s[1:] *= 1 - share
        layer.weight.data.copy_(u @ torch.diag(s) @ v)

    return Plant(weights=change)


@fault(
    "expert-nan",
    "weight",
    "One weight of an expert is NaN.",
    levels=(FULL,),
    required=(Expect("EXP-NONFINITE", "deepfm"), Expect("CGC-NONFINITE", "gates")),
    permitted=POISONED,
)
def _nan(_: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        _last(model, "deepfm").weight.data[0, 0] = float("nan")

    return Plant(weights=change)


def _no_number(name: str, module: str, what: str, tensor: str) -> None:
    @fault(
        f"nan-{name}",
        "weight",
        f"One number of {what} is NaN.",
        levels=(FULL,),
        required=(Expect("WEIGHTS-NONFINITE", module, "error"), *((Expect("OUTPUT-NONFINITE"),) if name == "tower" else ())),
        permitted=(*POISONED, Expect("EVI-MISCALIBRATED"), Expect("EVI-UNINFORMATIVE"), Expect("HMM-ALL-DEFAULT")),
    )
    def _planted(_: float) -> Plant:
        def change(model: PLEClusterAdaTT) -> None:
            model.state_dict()[tensor].view(-1)[0] = float("nan")

        return Plant(weights=change)


for _broken in (
    ("tower", "towers", "a tower", "towers.out_bias"),
    ("head", "evidential", "the evidential heads", "evidential.bias"),
    ("brands", "brands", "the brand table", "brands.keys"),
    ("gate", "cgc", "a gate", "cgc.linear.weight"),
    ("autoencoder", "sae", "the sparse autoencoder", "sae.w_enc"),
    ("autoencoder-mean", "sae", "the autoencoder's running mean", "sae.mean"),
    ("projector", "hmm", "an HMM projector", "hmm.hmm_projectors.behavior.0.weight"),
    ("raw-mean", "raw_scale", "the raw columns' statistics", "experts.raw_scale.raw_mean"),
):
    _no_number(*_broken)


@fault(
    "hgcn-nan",
    "weight",
    "The curvature of the hyperbolic expert diverged.",
    levels=(FULL,),
    required=(Expect("EXP-HGCN-NAN", "unified_hgcn"),),
    permitted=POISONED,
)
def _curvature(_: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        curvature = model.get_parameter("experts.unified_hgcn.raw_curvature")
        curvature.data.fill_(float("nan"))

    return Plant(weights=change)


@fault(
    "gate-collapsed",
    "weight",
    "The gate of one task puts all its weight on one expert.",
    levels=(FULL, Level("0.91", 4.26 / 12), Level("0.85", 3.68 / 12, clear=False)),
    required=(Expect("CGC-COLLAPSE", "churn:perslay"),),
    permitted=DOWNSTREAM,
)
def _collapsed(share: float) -> Plant:
    # 7 other experts at logit 0: a weight of e^x / (e^x + 7)
    return Plant(weights=lambda model: _onto(model, "churn", "perslay", 12 * share))


@fault(
    "gate-uniform",
    "weight",
    "The gate of one task weighs all experts alike.",
    levels=(FULL, Level("half way", 0.5, clear=False)),
    required=(Expect("CGC-UNIFORM", "timing"),),
    permitted=DOWNSTREAM,
)
def _uniform(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        for part in _gate(model, "timing"):
            part.mul_(1 - share)

    return Plant(weights=change)


@fault(
    "gates-reset",
    "weight",
    "A checkpoint was restored without the gates: they are at their prior.",
    levels=(FULL,),
    required=(Expect("CGC-UNMOVED", "gates"),),
    permitted=DOWNSTREAM,
)
def _reset(_: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        cgc = model.config.cgc
        model.cgc.warm_start({n: t.domain_experts for n, t in model.tasks.items()}, cgc.bias_high, cgc.bias_low)

    return Plant(weights=change)


@fault(
    "gate-off-domain",
    "weight",
    "A gate overcame its prior: it leads to an expert outside the task's domain.",
    levels=(Level("0.7", 0.7),),
    required=(Expect("CGC-OFF-DOMAIN", "timing:raw_scale", "info"),),
    permitted=DOWNSTREAM,
)
def _off_domain(weight: float) -> Plant:
    return Plant(weights=lambda model: _onto(model, "timing", "raw_scale", float(np.log(7 * weight / (1 - weight)))))


@fault(
    "gate-on-empty",
    "weight",
    "A gate prefers an expert whose feed does not arrive.",
    levels=(Level("0.6", 0.6), Level("0.15", 0.15, clear=False)),
    required=(Expect("CGC-DILUTION", "lightgcn"),),
    permitted=(*AFTER_A_CUT, *DOWNSTREAM),
)
def _on_empty(weight: float) -> Plant:
    def cut(columns: Columns, rng: np.random.Generator) -> None:
        remove(columns, "collaborative_features", 1.0, rng)

    return Plant(rows=cut, weights=lambda model: _onto(model, "nba", "lightgcn", float(np.log(7 * weight / (1 - weight)))))


@fault(
    "expert-unused",
    "weight",
    "No gate looks at one expert any more.",
    levels=(FULL, Level("logit -3", 0.3, clear=False)),
    required=(Expect("CGC-DEAD-EXPERT", "optimal_transport"),),
    permitted=DOWNSTREAM,
)
def _unused(share: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        i = model.expert_names.index("optimal_transport")
        for task in model.task_names:
            _, bias = _gate(model, task)
            bias[i] -= 10 * share

    return Plant(weights=change)


@fault(
    "transfer-loud",
    "weight",
    "A transfer edge outweighs the target's own representation.",
    levels=(Level("20 times", 20.0), Level("twice", 2.0, clear=False)),
    required=(Expect("LT-OVERRELIANCE", "ctr:cvr"),),
    permitted=(*DOWNSTREAM, Expect("LT-SCALE-FREE")),
)
def _loud(factor: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        for name in ("weight", "bias"):
            p = model.get_parameter(f"transfer.norms.ctr__cvr.{name}")
            p.data.copy_(factor * (p.data.abs() + 0.1))  # positive: SiLU cuts negative values off

    return Plant(weights=change)


@fault(
    "transfer-deaf",
    "weight",
    "The projections of all edges lost their weights: whatever a source says, the same is added.",
    levels=(FULL,),
    # some edges of a healthy run are scale-free already: one that was not must be named
    required=(Expect("LT-SCALE-FREE", "*", "info"),),
)
def _deaf(_: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        for name, p in model.transfer.linears.named_parameters():
            if name.endswith("weight"):
                p.data.zero_()

    return Plant(weights=change)


@fault(
    "transfer-silent",
    "weight",
    "An edge adds nothing: its LayerNorm died.",
    levels=(FULL,),
    required=(Expect("LT-INACTIVE", "cvr:ltv"),),
)
def _silent(_: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        for name in ("weight", "bias"):
            model.get_parameter(f"transfer.norms.cvr__ltv.{name}").data.zero_()

    return Plant(weights=change)


@fault(
    "expert-imitates",
    "weight",
    "One expert was trained to imitate another: both say the same of every customer.",
    levels=(Level("1000 steps", 1000.0), Level("40 steps", 40.0, clear=False)),
    required=(Expect("EXP-REDUNDANT", "deepfm:causal"),),
    permitted=(*DAMAGED_EXPERT, Expect("EXP-REDUNDANT")),
)
def _imitates(steps: float) -> Plant:
    def fit(model: PLEClusterAdaTT, inputs: PLEClusterInput) -> None:
        pupil = model.experts["causal"]
        with torch.no_grad():
            said = model.experts["deepfm"](inputs)[0]
            said = said - said.mean(0)
            # experts differ in width: leading directions carry what the teacher says, and similarity does not see rotations
            directions = torch.linalg.svd(said, full_matrices=False)[2]
            wanted = said @ directions[: _last(model, "causal").out_features].T
            wanted, scale = (
                torch.nn.functional.pad(wanted, (0, _last(model, "causal").out_features - wanted.shape[1])),
                said.std(),
            )
        optimizer = torch.optim.Adam(pupil.parameters(), lr=3e-3)
        with torch.enable_grad():
            for _ in range(int(steps)):
                optimizer.zero_grad()
                own = pupil(inputs)[0]
                loss = ((own - own.mean(0) - wanted) / scale).square().mean()
                loss.backward()
                optimizer.step()

    return Plant(refit=fit)
