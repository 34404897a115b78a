"""All SAE latents in one pass: activations, contrasts in the input features, and effects on the tasks to first order.

The effect of a latent on a row is `z_j * std * W_dec[:, j] . dF/dh`: what the prediction would lose, to first order, if the
latent were silent (attribution patching; Nanda 2023). One gradient a task serves all latents at once; `clamp` runs the chosen
latent through the model exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.encoded import concat_encoded, rows_alone
from analysis.engine.explainer import Explainer, private
from analysis.engine.score import Score, distribution, shown
from analysis.results.latents import RAISED, Latents
from ple_model.calibration import CalibrationMap
from ple_model.data.dataset.batches import Batch
from ple_model.fields import SEGMENTS
from ple_model.finite import require_finite_inputs
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded
from ple_model.sae import SAEOutput, SparseAutoencoder
from ple_model.schema import FeatureSchema
from ple_model.tensors import as_numpy

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

CHUNK = 512
EFFECT_ROWS = 512
NEIGHBOURS = 8
TOP_SHARE = 0.02
"""The rows that count as a latent's top: this share of all, at least `TOP_LEAST`, and only where it is active."""
TOP_LEAST = 20
Progress = Callable[[float, str], None]


def own_columns(schema: FeatureSchema | None) -> tuple[tuple[str, ...], ...]:
    """What `Latents` keeps of the columns of a table of one's own."""
    return tuple((c.name, c.part, c.unit, c.sentence_en, c.sentence_ko) for c in (schema.columns if schema is not None else ()))


@dataclass(frozen=True)
class LatentRows:
    """Customers after the experts, and what is told of them."""

    encoded: Encoded
    features: Tensor
    segment: Tensor
    """-1: not known."""
    cluster: Tensor
    customer_id: list[str]
    cutoff: list[str]


@torch.no_grad()
def read_rows(model: PLEClusterAdaTT, data: Dataset, batch: Batch, tick: Progress) -> LatentRows:
    """The customers of a batch after the experts, `CHUNK` at a time. `UserError` where an input is no number."""
    inputs = batch.inputs
    require_finite_inputs(str(data.path), inputs, batch.customer_id)
    pieces: list[Encoded] = []
    for i in range(0, len(batch), CHUNK):
        pieces.append(rows_alone(model.encode(inputs.rows(slice(i, i + CHUNK))), slice(None)))
        tick(0.6 * min(i + CHUNK, len(batch)) / len(batch), f"{min(i + CHUNK, len(batch))} customers")
    segment = torch.full((len(batch),), -1) if inputs.customer_segment is None else inputs.customer_segment
    return LatentRows(concat_encoded(pieces), inputs.features, segment, inputs.cluster_ids, batch.customer_id, batch.cutoff)


@torch.no_grad()
def measure(run: Run, data: Dataset, read: LatentRows, progress: Progress | None) -> Latents:
    """See `analysis.latents.latents`."""
    tick: Progress = progress if progress is not None else (lambda share, what: None)
    model = private(run.model())
    assert model.sae is not None
    encoded, sae = read.encoded, model.sae
    out = sae(encoded.shared_concat)
    z = out.latent
    on = z > 0
    count = on.sum(0).double()
    density = count / len(z)
    variance, residual, fve = _explained(out)
    tick(0.65, "effects on the tasks")
    effect, scale, lost = _effects(model, sae, encoded, z, run.calibration)
    tick(0.85, "raised features")
    raised = _raised(read.features.double(), z, data.normalizer().inverse)
    clusters = tuple(int(c) for c in np.unique(as_numpy(read.cluster)))
    cosine, neighbour = _neighbours(sae)
    tick(1.0, "done")
    return Latents(
        n=len(z),
        tasks=tuple(model.task_names),
        kinds=tuple(t.kind for t in model.tasks.values()),
        experts=tuple(model.expert_names),
        segments=SEGMENTS,
        clusters=clusters,
        customer_id=np.array(read.customer_id),
        cutoff=np.array(read.cutoff),
        segment=as_numpy(read.segment).astype(np.int64),
        cluster=as_numpy(read.cluster).astype(np.int64),
        activations=as_numpy(z).astype(np.float16),
        density=as_numpy(density),
        mean=as_numpy(z.double().sum(0) / count.clamp_min(1)),
        max=as_numpy(z.max(0).values.double()),
        fve_each=as_numpy(silenced(sae.decoder, z, residual)) / max(variance, 1e-12),
        expert_share=as_numpy(_expert_share(model, sae)),
        effect=effect,
        effect_scale=scale,
        raised_index=raised[0],
        raised_difference=raised[1],
        raised_top=raised[2],
        raised_rest=raised[3],
        segment_lift=_lift(on, read.segment, range(len(SEGMENTS))),
        cluster_lift=_lift(on, read.cluster, clusters),
        neighbour=neighbour,
        neighbour_cosine=cosine,
        l0=float(on.sum(1).double().mean()),
        fve=fve,
        lost=lost,
        own_columns=own_columns(model.context.schema if model.context.own or model.context.currency else None),
    )


def _explained(out: SAEOutput) -> tuple[float, Tensor, float]:
    """(variance of what is rebuilt, what is left of each row [n, width], share of the variance that is explained)."""
    variance = float(((out.x_standardised - out.x_standardised.mean(0)) ** 2).sum(1).double().mean())
    residual = (out.x_standardised - out.reconstruction).double()
    return variance, residual, 1 - float((residual**2).sum(1).mean()) / variance if variance > 1e-12 else float("nan")


def _effects(
    model: PLEClusterAdaTT, sae: SparseAutoencoder, encoded: Encoded, z: Tensor, calibration: Mapping[str, CalibrationMap]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(first-order effects where active [Z, T], spread of each task's prediction [T], loss with the reconstruction [T])."""
    rows = torch.from_numpy(np.unique(np.linspace(0, len(encoded) - 1, min(EFFECT_ROWS, len(encoded))).astype(np.int64)))
    part, active = encoded.rows(rows), z[rows]
    count = (active > 0).sum(0).clamp_min(1).double()
    directions = sae.decoder * sae.std[:, None]  # [W, Z]: what one unit of each latent adds to the representation
    with torch.enable_grad():
        shared = part.shared_concat.clone().requires_grad_(True)
        output = model.decode(replace(part, shared_concat=shared), sae=False, evidential=False)
        gradients = []
        for task in model.tasks:
            value = _score(model, output, task, calibration)
            gradients.append(torch.autograd.grad(value.sum(), shared, retain_graph=True)[0])
    effects = [((g @ directions) * active).double().sum(0) / count for g in gradients]
    whole = model.decode(encoded, sae=False, evidential=False)
    stand_in = model.decode(encoded, Intervention(replace_shared=True), sae=False, evidential=False)
    spread, lost = [], []
    for task in model.tasks:
        before, after = _same(model, whole, stand_in, task, calibration)
        spread.append(float(before.std()))
        lost.append(float((after - before).abs().mean()))
    return as_numpy(torch.stack(effects, 1)), np.array(spread), np.array(lost)


def _score(model: PLEClusterAdaTT, output: Any, task: str, calibration: Mapping[str, CalibrationMap]) -> Tensor:
    """[B] the shown prediction; of a class task, the probability of the class most probable in each row."""
    value, _ = shown(model, output, task, calibration)
    return value


def _same(
    model: PLEClusterAdaTT, before: Any, after: Any, task: str, calibration: Mapping[str, CalibrationMap]
) -> tuple[Tensor, Tensor]:
    """The shown prediction of two outputs; of a class task, the probability of the class that was most probable before."""
    if model.tasks[task].kind in ("multiclass", "contrastive"):
        p, q = distribution(model, before, task), distribution(model, after, task)
        top = p.argmax(1, keepdim=True)
        return p.gather(1, top)[:, 0].double(), q.gather(1, top)[:, 0].double()
    score = Score(model, task, None, calibration.get(task))
    return score(before), score(after)


def silenced(decoder: Tensor, z: Tensor, residual: Tensor) -> Tensor:
    """[Z] growth of the mean squared residual [N, W] when each latent alone is silent: ||r + z_j w_j||^2 - ||r||^2."""
    w = decoder.double()
    zd = z.double()
    return ((zd * zd).mean(0) * (w * w).sum(0)) + 2 * (zd * (residual @ w)).mean(0)


def _expert_share(model: PLEClusterAdaTT, sae: SparseAutoencoder) -> Tensor:
    """[Z, experts] share of the decoder direction's squared norm."""
    squared = (sae.decoder.double() ** 2).T
    blocks = torch.stack([b.sum(1) for b in torch.split(squared, model.dims, dim=1)], 1)
    return blocks / blocks.sum(1, keepdim=True).clamp_min(1e-12)


def _neighbours(sae: SparseAutoencoder) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(cosines, latents) [Z, NEIGHBOURS] by decoder direction."""
    w = torch.nn.functional.normalize(sae.decoder.T.float(), dim=1)
    cosine = w @ w.T
    cosine.fill_diagonal_(-2)
    top = cosine.topk(min(NEIGHBOURS, len(w) - 1), dim=1)
    return as_numpy(top.values.double()), as_numpy(top.indices).astype(np.int64)


def raised_differences(features: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(standardised differences, means at the top rows, means elsewhere [Z, F], standard deviations [F]) of the features
    [N, F] for all latents [N, Z] at once: the top rows of each are a 0/1 matrix, and sums over them one product."""
    n = len(z)
    k = min(max(TOP_LEAST, round(TOP_SHARE * n)), n)
    top = torch.zeros(z.shape, dtype=torch.float64)
    top.scatter_(0, z.topk(k, dim=0).indices, 1.0)
    top *= z > 0
    many = top.sum(0)
    spread = features.std(0)
    x = torch.where(spread > 1e-9, (features - features.mean(0)) / spread.clamp_min(1e-9), torch.zeros_like(features))
    sums = top.T @ x  # [Z, columns]
    inside = sums / many.clamp_min(1)[:, None]
    outside = (x.sum(0) - sums) / (n - many).clamp_min(1)[:, None]
    difference = inside - outside
    difference[(many < 5) | (n - many < 5)] = 0
    return difference, inside, outside, spread


def _raised(
    features: Tensor, z: Tensor, inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(columns, standardised differences, means at the top, means elsewhere in real units) [Z, RAISED]."""
    difference, inside, outside, spread = raised_differences(features, z)
    latents = z.shape[1]
    order = difference.abs().topk(RAISED, dim=1).indices
    found = difference.gather(1, order)
    chosen = torch.where(found != 0, order, torch.full_like(order, -1))
    # means in real units of normalised columns: the inverse of the mean, a typical value rather than an average of outliers
    real = [inverse(as_numpy(m * spread + features.mean(0))) for m in (inside, outside)]
    rows = np.arange(latents)[:, None]
    columns = as_numpy(order)
    return as_numpy(chosen).astype(np.int64), as_numpy(found), real[0][rows, columns], real[1][rows, columns]


def _lift(on: Tensor, group: Tensor, values: Any) -> NDArray[np.float64]:
    """[Z, groups] share active within the group over share active overall; NaN for a dead latent or an empty group."""
    overall = on.double().mean(0)
    out = []
    for v in values:
        inside = on[group == v]
        share = inside.double().mean(0) if len(inside) else torch.full_like(overall, torch.nan)
        out.append(torch.where(overall > 0, share / overall.clamp_min(1e-12), torch.full_like(overall, torch.nan)))
    return as_numpy(torch.stack(out, 1)) if out else np.zeros((on.shape[1], 0))


@torch.no_grad()
def clamp(run: Run, latent: int, rows: int) -> dict[str, tuple[float, float]]:
    """See `analysis.latents.clamp`."""
    explainer = Explainer.cached(run)
    model, encoded = explainer.model, explainer.encoded.rows(slice(0, rows))
    assert model.sae is not None
    z, _ = model.sae.encode(model.sae.standardise(encoded.shared_concat.float()))
    if not 0 <= latent < z.shape[1]:
        Intervention(clamp_latent={latent: 0.0}).check(model.expert_names, model.task_names, [], z.shape[1])
    before = model.decode(encoded, sae=False, evidential=False)
    found: dict[str, list[float]] = {t: [] for t in model.tasks}
    for value in (0.0, float(z[:, latent].max())):
        after = model.decode(encoded, Intervention(clamp_latent={latent: value}), sae=False, evidential=False)
        for task in model.tasks:
            a, b = _same(model, before, after, task, run.calibration)
            found[task].append(float((b - a).mean()))
    return {t: (v[0], v[1]) for t, v in found.items()}
