"""Configuration and training faults: each trains the shared tiny model for real, with one thing wrong.

`built` changes the model as a bug in its code would have: a forward hook that detaches an output, a sign that is flipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from analysis.faults.data import POISONED, UNSKILLED
from analysis.faults.fault import Columns, Expect, Level, Plant, fault
from analysis.faults.rows import changed, remove, some
from ple_model.model import PLEClusterAdaTT
from ple_model.tasks import HMM_MODES, TASKS

FULL = Level("full", 1.0)
# A model that did not learn has heads without evidence, gates and gradients as at the start, defaults that did not move.
UNLEARNED = (
    *UNSKILLED,
    Expect("CGC-UNMOVED"),
    Expect("CGC-UNIFORM"),
    Expect("HMM-DEFAULT-UNTRAINED"),
    Expect("HMM-MODE-IMBALANCE"),
    Expect("EVI-ZERO-EVIDENCE"),
    Expect("EVI-MISCALIBRATED"),
    Expect("EVI-UNINFORMATIVE"),
    Expect("SAE-LOW-FVE"),
    Expect("SAE-DEAD"),
    Expect("FIT-UNDER"),
)
# Weights that ran away saturate whatever lies behind them.
EXPLODED = (
    *UNLEARNED,
    *POISONED,
    Expect("FIT-RATE"),
    Expect("LOSS-UW-CLAMP"),
    Expect("LOSS-KL-JUMP"),
    Expect("LOSS-ADATT-JUMP"),
    Expect("LOSS-TASK-ZERO"),
    Expect("CGC-COLLAPSE"),
    Expect("CGC-LATE-SHIFT"),
    Expect("CGC-DEAD-EXPERT"),
    Expect("EXP-DEAD"),
    Expect("EXP-LOW-RANK"),
    Expect("EXP-REDUNDANT"),
    Expect("HMM-ALL-DEFAULT"),
    Expect("HMM-MODE-IMBALANCE"),
    Expect("LT-OVERRELIANCE"),
    Expect("GRAD-SHARED-ZERO"),
    Expect("GRAD-CGC-ZERO"),
)


@fault(
    "loss-nan-rows",
    "training",
    "A share of the training rows holds NaN: every batch with one of them has no finite loss.",
    levels=(Level("one row in a hundred", 0.01), Level("one row in a thousand", 0.001)),
    required=(Expect("LOSS-NAN", "*"),),
    permitted=(*POISONED, *UNLEARNED),  # the batches that hold such a row teach nothing
)
def _nan_rows(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        hit = some(columns, share, rng) & (columns["split"] == "train")
        hit[0] |= columns["split"][0] == "train"
        changed(columns, "features")[hit, 40] = np.nan

    return Plant(training_rows=change)


@fault(
    "learning-rate-huge",
    "config",
    "A learning rate of a million.",
    levels=(Level("1e6", 1e6),),
    required=(Expect("LOSS-NAN", "*"),),
    permitted=EXPLODED,
)
def _huge(rate: float) -> Plant:
    return Plant(overrides=(f"training.learning_rate={rate:.1f}",))


@fault(
    "learning-rate-tiny",
    "config",
    "A learning rate so small that nothing moves.",
    levels=(Level("1e-7", 1e-7),),
    required=(Expect("CGC-UNMOVED", "gates"), Expect("FIT-RATE", "learning_rate")),
    permitted=UNLEARNED,
)
def _tiny(rate: float) -> Plant:
    return Plant(overrides=(f"training.learning_rate={rate:.8f}",))


@fault(
    "labels-missing",
    "training",
    "All labels of some tasks are missing.",
    levels=(Level("one task", 1.0), Level("three tasks", 3.0)),
    required=(Expect("LOSS-TASK-ZERO", "channel|tasks"),),
    permitted=(Expect("EVI-ZERO-EVIDENCE"), Expect("CGC-UNIFORM"), Expect("CGC-UNMOVED")),
)
def _no_labels(tasks: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        for task in ("channel", "timing", "life_stage")[: int(tasks)]:
            columns[f"y_{task}"] = np.full_like(columns[f"y_{task}"], -1)

    return Plant(training_rows=change)


@fault(
    "weighting-clamped",
    "config",
    "The limit of the uncertainty weights is so narrow that tasks sit at it.",
    levels=(Level("0.02", 0.02),),
    required=(Expect("LOSS-UW-CLAMP", "*"),),
)
def _clamped(limit: float) -> Plant:
    return Plant(overrides=(f"training.log_var_limit={limit}",))


@fault(
    "kl-too-strong",
    "config",
    "The evidential KL ramps up faster than the heads can take evidence back.",
    levels=(Level("300", 300.0),),
    required=(Expect("LOSS-KL-JUMP", "evidential"),),
    permitted=(*UNLEARNED, Expect("FIT-RATE", "learning_rate")),  # it is planted at a rate at which little moves
)
def _kl(weight: float) -> Plant:
    slow = ("training.learning_rate=1.0e-4", "training.phase2_epochs=0")
    return Plant(overrides=(f"evidential.kl_lambda={weight}", "evidential.annealing_epochs=8", *slow))


@fault(
    "adatt-sign-flipped",
    "training",
    "From the end of the warm-up, the factor on the task losses has the wrong sign: training climbs.",
    levels=(FULL,),
    required=(Expect("LOSS-ADATT-JUMP", "adatt"),),
    permitted=EXPLODED,
)
def _flipped(by: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        original = model.adatt.c
        warmup = model.config.adatt.warmup_epochs

        def wrong(epoch: int) -> Tensor:
            return -by * original(epoch) if epoch > warmup else original(epoch)

        model.adatt.c = wrong  # type: ignore[method-assign]

    return Plant(overrides=("training.batch_size=32",), built=change)


@fault(
    "adatt-every-step",
    "config",
    "Task gradients are taken at every step.",
    levels=(Level("1", 1.0),),
    required=(Expect("GRAD-ADATT-MEMORY", "adatt"),),
)
def _every_step(interval: float) -> Plant:
    return Plant(overrides=(f"adatt.grad_interval={int(interval)}",))


@fault(
    "expert-detached",
    "training",
    "An expert's output is detached: it never gets a gradient.",
    levels=(FULL,),
    required=(Expect("GRAD-SHARED-ZERO", "deepfm", "error"),),
    permitted=(Expect("EXP-DEAD", "deepfm"), Expect("EXP-LOW-RANK", "deepfm")),
)
def _detached(_: float) -> Plant:
    def detach(module: Any, inputs: Any, output: Any) -> Any:
        out, present, aux = output
        return out.detach(), present, aux

    return Plant(built=lambda model: _hook(model, detach))


def _hook(model: PLEClusterAdaTT, function: Any) -> None:
    model.experts["deepfm"].register_forward_hook(function)


@fault(
    "shared-frozen-early",
    "training",
    "The phase 2 freeze of the shared experts acts from the first epoch.",
    levels=(FULL,),
    required=(Expect("GRAD-SHARED-ZERO", "*", "error"),),
    # experts that did not learn give the gates nothing to choose by
    permitted=(Expect("CGC-UNMOVED"), Expect("CGC-UNIFORM"), Expect("EXP-LOW-RANK"), Expect("EXP-DEAD")),
)
def _shared_frozen(_: float) -> Plant:
    def change(model: PLEClusterAdaTT) -> None:
        original = model.freeze_shared
        model.freeze_shared = lambda on=True: original(True)  # type: ignore[method-assign]

    return Plant(built=change)


@fault(
    "gates-frozen-early",
    "training",
    "The gates are frozen from the first step, long before freeze_epoch.",
    levels=(FULL,),
    required=(Expect("GRAD-CGC-ZERO", "gates"), Expect("CGC-UNMOVED", "gates")),
)
def _gates_frozen(_: float) -> Plant:
    return Plant(built=lambda model: model.cgc.freeze())


@fault(
    "gates-frozen-epoch-1",
    "config",
    "The development values: gates freeze at the end of epoch 1, after two steps. Expected, so information and no alarm.",
    levels=(Level("1", 1.0),),
    required=(Expect("CGC-UNMOVED", "gates", "info"),),
    # at least four measurements an epoch are taken: with two steps, one at each
    permitted=(*UNLEARNED, Expect("GRAD-ADATT-MEMORY")),
)
def _freeze_one(epoch: float) -> Plant:
    development = ("adatt.warmup_epochs=0", "training.learning_rate=5.0e-4", "training.batch_size=512")
    return Plant(overrides=(*development, f"adatt.freeze_epoch={int(epoch)}"))


@fault(
    "gates-never-frozen",
    "config",
    "The freeze is not applied and the learning rate restarts late: gates move sharply in the last epochs.",
    levels=(Level("0.05", 0.05),),
    required=(Expect("CGC-LATE-SHIFT", "*"),),
    permitted=EXPLODED,
)
def _never_frozen(rate: float) -> Plant:
    return Plant(
        overrides=("adatt.freeze_epoch=50", f"training.learning_rate={rate}", "training.scheduler_t0=5",
                   "training.phase1_epochs=8", "training.phase2_epochs=0", "training.patience=20")
    )  # fmt: skip


@fault(
    "gate-bias-saturated",
    "config",
    "The config starts one gate with a bias of 20 on one expert: a saturated softmax has no gradient.",
    levels=(Level("20", 20.0),),
    required=(Expect("CGC-COLLAPSE", "nba:deepfm"),),
)
def _saturated(bias: float) -> Plant:
    return Plant(overrides=(f"task_experts.tasks.nba.gate_bias={{deepfm: {bias}}}",))


@fault(
    "entropy-too-strong",
    "config",
    "The entropy term outweighs the tasks: every gate is uniform.",
    levels=(Level("50", 50.0),),
    required=(Expect("CGC-UNIFORM", "*"),),
    # the term fills the clipped gradient: what else the model should learn comes late or not at all
    permitted=UNLEARNED,
)
def _entropy(weight: float) -> Plant:
    return Plant(overrides=(f"cgc.entropy_lambda={weight}",))


@fault(
    "brand-temperature",
    "config",
    "The InfoNCE temperature is so high that brands hardly differ.",
    levels=(Level("1", 1.0), Level("0.2", 0.2)),
    required=(Expect("GRAD-BRAND-WEAK", "brand_prediction"),),
    permitted=(Expect("CGC-UNIFORM", "brand_prediction"),),  # a task without gradient has a gate that chooses nothing
)
def _temperature(value: float) -> Plant:
    return Plant(overrides=(f"training.temperature={value}",))


@fault(
    "hmm-one-mode",
    "config",
    "All tasks read the behaviour HMM; nobody reads the others.",
    levels=(FULL,),
    required=(Expect("HMM-MODE-IMBALANCE", "journey"), Expect("HMM-MODE-IMBALANCE", "lifecycle")),
    permitted=(Expect("HMM-DEFAULT-UNTRAINED", "journey|lifecycle"),),
)
def _one_mode(_: float) -> Plant:
    tasks = ", ".join(TASKS)
    idle = tuple(f"hmm_triple_mode.modes.{m}.target_tasks=[]" for m in HMM_MODES if m != "behavior")
    return Plant(overrides=(*idle, f"hmm_triple_mode.modes.behavior.target_tasks=[{tasks}]"))


@fault(
    "hmm-default-frozen",
    "training",
    "The default embeddings are not in the optimizer, although a third of the rows needs one.",
    levels=(Level("a third", 0.33),),
    required=(Expect("HMM-DEFAULT-UNTRAINED", "lifecycle"),),
    permitted=(Expect("HMM-DEFAULT-UNTRAINED"),),
)
def _default_frozen(share: float) -> Plant:
    def cut(columns: Columns, rng: np.random.Generator) -> None:
        remove(columns, "hmm_lifecycle", share, rng)

    def change(model: PLEClusterAdaTT) -> None:
        for p in model.hmm.hmm_default_embeddings.parameters():
            p.requires_grad_(False)

    return Plant(training_rows=cut, built=change)


@fault(
    "transfer-too-strong",
    "config",
    "Transfer strength of 50.",
    levels=(Level("50", 50.0),),
    required=(Expect("LT-OVERRELIANCE", "ctr:cvr"),),
    permitted=(Expect("LT-OVERRELIANCE"), Expect("LOSS-UW-CLAMP")),
)
def _strong(strength: float) -> Plant:
    return Plant(overrides=(f"task_relationships.transfer_strength={strength}",))


@fault(
    "transfer-off",
    "config",
    "Transfer strength of 0: configured edges hand nothing on.",
    levels=(Level("0", 0.0),),
    required=(Expect("LT-INACTIVE", "ctr:cvr"), Expect("LT-INACTIVE", "cvr:ltv")),
    permitted=(Expect("LT-INACTIVE"),),
)
def _off(strength: float) -> Plant:
    return Plant(overrides=(f"task_relationships.transfer_strength={strength}",))


@fault(
    "transfer-source-off",
    "config",
    "The source of an edge is switched off.",
    levels=(FULL,),
    required=(Expect("LT-INACTIVE", "ctr:cvr"),),
)
def _source_off(_: float) -> Plant:
    return Plant(overrides=("task_experts.tasks.ctr.enabled=false",))


@fault(
    "transfer-cycle",
    "config",
    "The edges form a cycle: the run must not start, and the error names the cycle.",
    levels=(FULL,),
    required=(Expect("LT-ORDER", "*", "error"),),
    raises=("task_relationships.transfers", "cycle", "ctr", "cvr", "ltv"),
)
def _cycle(_: float) -> Plant:
    edges = ", ".join(
        f"{{source: {a}, target: {b}, type: feature}}" for a, b in (("ctr", "cvr"), ("cvr", "ltv"), ("ltv", "ctr"))
    )
    return Plant(overrides=(f"task_relationships.transfers=[{edges}]",))
