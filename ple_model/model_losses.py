"""Every part of the loss of one batch: each task's own, its weight, the onlookers', and the sums that are trained on.

In float32 whatever the model computes in: sums of small terms do not survive half precision.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ple_model.errors import UserError, did_you_mean
from ple_model.evidential import evidential_loss
from ple_model.gate import entropy_loss
from ple_model.labels_in_range import require_labels
from ple_model.layers.precision import widen
from ple_model.losses import label_mask, task_loss
from ple_model.model_parts import ModelParts
from ple_model.output import LossBreakdown, PLEClusterOutput, TaughtLosses
from ple_model.supervision import ExpertHeads
from ple_model.tasks import TASKS
from ple_model.towers import predict
from ple_model.whole_batch import WholeBatch

WHOLE = WholeBatch()


def counts_at_hand(model: ModelParts, output: PLEClusterOutput, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How many of these rows the means of their losses are over: {task: labels, '<expert>.<loss>': rows}."""
    found = {name: label_mask(spec, targets[name]).sum() for name, spec in model.tasks.items() if name in targets}
    return found | {f"{x}.{k}": n for x, a in output.encoded.expert_aux.items() for k, n in a.means.items()}


def breakdown(
    model: ModelParts, output: PLEClusterOutput, targets: Mapping[str, Tensor], epoch: int, taught: TaughtLosses | None,
    batch: WholeBatch = WHOLE,
) -> LossBreakdown:  # fmt: skip
    """See `PLEClusterAdaTT.losses`."""
    for name in targets:
        if name not in model.tasks and name not in TASKS:
            raise UserError(f"targets: no task '{name}'{did_you_mean(name, model.tasks)}")
    rows = output.shared_concat.shape[0]
    require_labels(targets, model.tasks, rows, 0 if model.brands is None else model.brands.keys.shape[0])
    with torch.autocast(output.shared_concat.device.type, enabled=False):
        zero, tasks, e = widen(output.gate_weights.new_zeros(())), list(model.tasks), model.config.evidential
        raw, counts, data, kl = _of_tasks(model, output, targets, epoch, zero, batch)
        mixed, known = raw, counts
        if taught is not None:
            mixed = [taught.mixed(n, own) for n, own in zip(tasks, raw, strict=True)]
            known = [taught.counts.get(n, k).maximum(k) for n, k in zip(tasks, counts, strict=True)]
        weighted = model.weighting(torch.stack(mixed), torch.stack(known), model.adatt.c(epoch), batch)
        gates = zero if model.gates_frozen else model.config.cgc.entropy_lambda * entropy_loss(output.gate_weights)
        entropy = batch.of_rows(gates)
        aux = _auxiliary(model, output, taught, batch)
        if model.expert_heads is not None and model.training and not model.shared_frozen:
            aux["supervision"] = _supervision(model, model.expert_heads, output, targets, batch)
        sae = batch.of_rows(model.sae.loss(output.sae)) if model.sae is not None and output.sae is not None else zero
        data, kl = e.loss_weight * data, e.loss_weight * kl
        main = weighted.sum() + entropy + sum(aux.values(), zero)
        total = main + data + kl
    return LossBreakdown(
        raw=dict(zip(tasks, raw, strict=True)),
        counts=dict(zip(tasks, counts, strict=True)),
        weighted=dict(zip(tasks, weighted.unbind(), strict=True)),
        entropy=entropy,
        aux=aux,
        evidential=data,
        evidential_kl=kl,
        sae=sae,
        sae_weight=model.config.sae.loss_weight,
        total=total,
        main=main if e.detach_input else total,
        mixed={} if taught is None else dict(zip(tasks, mixed, strict=True)),
        taught={} if taught is None else taught.tasks,
    )


def _of_tasks(
    model: ModelParts, output: PLEClusterOutput, targets: Mapping[str, Tensor], epoch: int, zero: Tensor, batch: WholeBatch
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """(loss, number of labels) of each task in the model's order, nothing of a task without targets; then, summed over the
    evidential heads, their fit and their pull towards no evidence."""
    t, e = model.config.training, model.config.evidential
    kl_weight = e.kl_lambda * min(1.0, epoch / e.annealing_epochs)
    raw: list[Tensor] = []
    counts: list[Tensor] = []
    data, kl = zero, zero
    for name, spec in model.tasks.items():
        if name not in targets:
            raw.append(zero)
            counts.append(zero.long())
            continue
        y, scaler = targets[name], model.context.label_scalers.get(name)
        value, n = task_loss(
            spec, output.predictions[name], output.logits[name], y, model.brands, scaler, t.focal_gamma, t.huber_delta
        )
        term, total = batch.of_labels(name, value, n)
        raw.append(term)
        counts.append(total)
        if name in output.evidential:
            d, k, _ = evidential_loss(spec, output.evidential[name], y, scaler, kl_weight, e.nig_lambda)
            data = data + spec.weight * batch.of_labels(name, d, n)[0]
            kl = kl + spec.weight * batch.of_labels(name, k, n)[0]
    return raw, counts, data, kl


def _supervision(
    model: ModelParts, heads: ExpertHeads, output: PLEClusterOutput, targets: Mapping[str, Tensor], batch: WholeBatch
) -> Tensor:
    """The second loss of the tasks, each over its constant's, in their weights (`supervision`)."""
    t, direct = model.config.training, output.encoded.direct
    said = {} if model.direct is None or direct is None else {n: direct[:, w] for n, w in model.direct.slices.items()}
    total = widen(output.shared_concat.new_zeros(()))
    for name, raw in heads(output.shared_concat, said).items():
        if name not in targets:
            continue
        spec, scaler, y = model.tasks[name], model.context.label_scalers.get(name), targets[name]
        value, n = task_loss(spec, predict(spec, raw), raw, y, model.brands, scaler, t.focal_gamma, t.huber_delta)
        constant = model.context.constant_loss.get(name, 1.0)
        total = total + spec.weight / max(constant, 1e-6) * batch.of_labels(name, value, n)[0]
    return t.expert_supervision * total


def _auxiliary(
    model: ModelParts, output: PLEClusterOutput, taught: TaughtLosses | None, batch: WholeBatch
) -> dict[str, Tensor]:
    """What else is trained on, by name: the experts' own terms, the direct path's penalty, a teacher's hint."""
    aux: dict[str, Tensor] = {}
    for expert, said in output.encoded.expert_aux.items():
        for loss, value in said.losses.items():
            name, own = f"{expert}.{loss}", widen(value)
            aux[name] = batch.of_some(name, own, said.means[loss]) if loss in said.means else batch.once(own)
    if model.direct is not None:
        aux["direct_path.ridge"] = batch.once(model.direct.penalty())
    if taught is not None and taught.hint is not None:
        aux["distillation.hint"] = taught.hint
    return aux
