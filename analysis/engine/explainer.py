"""`Explainer`: a private copy of a run's model with its reference population, kept for the next question.

The copy's transfer edges let gradients through (`detach_source` is a choice of training: attributions of a target task would
miss what came from its source), its parameters want none, and nothing is hooked, so that sessions may share it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.attribution import Attribution, Method, Tensors, integrate, integrate_until
from analysis.engine.beside_rows import beside_rows
from analysis.engine.distinct import encode_distinct
from analysis.engine.encoded import concat_encoded, rows_alone
from analysis.engine.expert_attribution import ExpertAttribution
from analysis.engine.population import Population
from analysis.engine.reference import Path, Reference
from analysis.engine.score import Score, answer, distance, shown
from analysis.fingerprint import files_mark
from analysis.kept import Kept
from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.columns import EMPTY
from ple_model.finite import require_finite_inputs
from ple_model.model import PLEClusterAdaTT
from ple_model.outcomes import Outcomes
from ple_model.output import Encoded
from ple_model.reliability import HeldOutReliability
from ple_model.run import Run
from ple_model.safe_paths import open_file

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset

ROWS = 1024
"""Rows of the sample that stand for the population."""
CHUNK = 256


class Explainer:
    """Attributions, distances and population figures of one run; see the module docstring."""

    def __init__(self, run: Run, model: PLEClusterAdaTT, sample: Dataset, *, rows: int = ROWS, seed: int = 0) -> None:
        self.run, self.model, self.sample = run, private(model), sample
        self.calibration = run.calibration
        batch = sample.load(None, limit=rows, seed=seed)
        require_finite_inputs(str(sample.path), batch.inputs, batch.customer_id)
        self.customers, self.cutoffs, self.splits = batch.customer_id, batch.cutoff, batch.split
        self.targets: Mapping[str, Tensor] = batch.inputs.targets or {}
        pieces = [batch.inputs.rows(slice(i, i + CHUNK)) for i in range(0, len(batch), CHUNK)]
        empty = None if sample.own else beside_rows(sample, EMPTY, self.customers, self.cutoffs)
        self.reference = Reference.of(pieces, empty)
        self.peers = replace(Population.of(pieces), empty=empty)
        with torch.no_grad():
            self.encoded = concat_encoded([rows_alone(self.model.encode(p), slice(None)) for p in pieces])
        self._lock = threading.Lock()

    @staticmethod
    def cached(run: Run, sample: Dataset | None = None) -> Explainer:
        """The explainer of a run, kept for the next question; the two most recent are kept."""
        data = sample if sample is not None else run.sample()
        key = (files_mark(run.path), data.path, data.manifest.fingerprint)
        return _KEPT.get(key, lambda: Explainer(run, run.model(), data))

    @cached_property
    def outcomes(self) -> Outcomes | None:
        """What all held-out customers did; None where the run does not keep that."""
        return Outcomes.load(self.run.preprocess, len(self.model.context.schema.columns))

    @cached_property
    def reliability(self) -> HeldOutReliability | None:
        """How often its probabilities came true; None where the run does not keep that."""
        return HeldOutReliability.load(self.run.preprocess)

    @cached_property
    def latest(self) -> NDArray[np.bool_]:
        """[rows] whether a row is the latest of its customer: who has several cut-offs is one customer in a count of them."""
        return self._latest(range(len(self.customers)))

    @cached_property
    def unseen(self) -> NDArray[np.bool_]:
        """[rows] the latest of each customer among the rows that the model did not learn from."""
        return self._latest([i for i, split in enumerate(self.splits) if split != "train"])

    def _latest(self, rows: Iterable[int]) -> NDArray[np.bool_]:
        last: dict[str, int] = {}
        for i in rows:
            customer = self.customers[i]
            if customer not in last or self.cutoffs[i] > self.cutoffs[last[customer]]:
                last[customer] = i
        found = np.zeros(len(self.customers), dtype=bool)
        found[list(last.values())] = True
        return found

    @cached_property
    def population(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64] | None]]:
        """task -> (shown prediction [rows], uncertainty [rows] or None) over the reference rows."""
        with torch.no_grad():
            output = self.model.decode(self.encoded, sae=False)
        found: dict[str, tuple[NDArray[np.float64], NDArray[np.float64] | None]] = {}
        for task in self.model.tasks:
            value, _ = shown(self.model, output, task, self.calibration)
            head = output.evidential.get(task)
            u = None if head is None else head.uncertainty.double()
            found[task] = (value.numpy(), None if u is None else (u if u.dim() == 1 else u.mean(1)).numpy())
        return found

    @cached_property
    def spread(self) -> dict[str, float]:
        """task -> mean distance of the reference rows' answers from their mean answer."""
        with torch.no_grad():
            output = self.model.decode(self.encoded, sae=False, evidential=False)
            found = {}
            for task, spec in self.model.tasks.items():
                value = answer(self.model, output, task, self.calibration)
                found[task] = float(distance(spec.kind, value, value.mean(0)).mean())
        return found

    def mean_score(self, score: Score) -> float:
        """Mean of the explained number over the reference rows."""
        with torch.no_grad():
            return float(score(self.model.decode(self.encoded, sae=False, evidential=False)).mean())

    # --- attribution

    @cached_property
    def by_experts(self) -> ExpertAttribution:
        """What `of_experts` keeps for the next question."""
        return ExpertAttribution(self.model, self.encoded)

    def of_inputs(
        self, path: Path, score: Score, *, nodes: int | None = None, method: Method = "gauss-legendre",
        model: PLEClusterAdaTT | None = None,
    ) -> Attribution:  # fmt: skip
        """Attributions over everything the customer brings, field by field as in `path.fields`."""
        own = self.model if model is None else model

        def value(tensors: Tensors) -> Tensor:
            return score(own.decode(own.encode(path.inputs(tensors)), sae=False, evidential=False, task=score.task))

        if nodes is not None:
            found = integrate(value, path.limits, path.starts, nodes, method=method)
        else:
            found = integrate_until(value, path.limits, path.starts)
        return self._with_jumps(path, value, found)

    @staticmethod
    def _with_jumps(path: Path, value: Callable[[Tensors], Tensor], found: Attribution) -> Attribution:
        """The step from the path's limit to the customer: idle days are read as such only at exactly zero, so the prediction
        jumps there. Each sequence gets its own jump, spread over its idle steps."""
        current, values, before = list(path.limits), list(found.values), found.prediction
        for i, (limit, end) in enumerate(zip(path.limits, path.ends, strict=True)):
            idle = limit != end
            if bool(idle.any()):
                current[i] = end
                with torch.no_grad():
                    after = float(value(tuple(current))[0])
                values[i] = values[i] + idle * ((after - before) / int(idle.sum()))
                before = after
        return replace(found, values=tuple(values), prediction=before)

    def of_experts(
        self, encoded: Encoded, score: Score, *, nodes: int = 12, method: Method = "gauss-legendre"
    ) -> tuple[tuple[str, ...], Attribution]:
        """(names, attributions) over shared_concat, the HMM modes, the cluster and what a direct path adds, against the
        sample's mean representation."""
        return self.by_experts.of(encoded, score, nodes=nodes, method=method)

    def value_of_groups(self, path: Path, score: Score, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Prediction [n] with only the groups in `keep` [n, groups] the customer's and the others the reference's."""
        found = []
        with torch.no_grad():
            for i in range(0, len(keep), CHUNK):
                encoded = encode_distinct(self.model, path.inputs(path.mix(keep[i : i + CHUNK])))
                found.append(score(self.model.decode(encoded, sae=False, evidential=False, task=score.task)))
        return np.asarray(torch.cat(found).double().numpy())

    # --- neighbours

    @cached_property
    def _spread(self) -> tuple[Tensor, Tensor]:
        shared = self.encoded.shared_concat
        return shared.mean(0), shared.std(0).clamp_min(1e-6)

    def nearest(self, encoded: Encoded, customer_id: str, k: int = 5) -> list[tuple[int, float]]:
        """(row of the sample, distance) of the nearest other customers, one row a customer."""
        mean, std = self._spread
        own = (encoded.shared_concat[:1] - mean) / std
        distance = (((self.encoded.shared_concat - mean) / std - own) ** 2).mean(1).sqrt().numpy()
        found: dict[str, tuple[int, float]] = {}
        for i in np.argsort(distance, kind="stable"):
            name = self.customers[int(i)]
            if name != customer_id and name not in found:
                found[name] = (int(i), float(distance[i]))
            if len(found) == k:
                break
        return list(found.values())

    @cached_property
    def untrained(self) -> PLEClusterAdaTT:
        """The same architecture with fresh weights, for the randomisation test."""
        c = self.model.config
        other = replace(c, training=replace(c.training, seed=c.training.seed + 7919))
        fresh = PLEClusterAdaTT(other, self.model.context)
        generator = torch.Generator().manual_seed(c.training.seed + 7919)
        with torch.no_grad():
            # gates start without weights, HMM defaults at 0: give them some, or the copy would ignore inputs that ours reads
            for p in [fresh.cgc.linear.weight, *fresh.hmm.hmm_default_embeddings.values()]:
                p.copy_(0.05 * torch.randn(p.shape, generator=generator))
        return private(fresh.eval())

    @cached_property
    def weights_sha256(self) -> str:
        digest = hashlib.sha256()
        with open_file(self.run.path / "model.safetensors") as f:
            while block := f.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def private(model: PLEClusterAdaTT) -> PLEClusterAdaTT:
    """`model`, which must be the caller's own, made ready for attribution: gradients pass transfer edges, none for weights."""
    model.transfer.detach = False
    model.eval()
    for p in model.parameters():
        p.requires_grad_(False)
    return model


def single(inputs: PLEClusterInput) -> PLEClusterInput:
    """The first row without its labels."""
    return replace(inputs.rows(slice(0, 1)), targets=None)


_KEPT: Kept[Explainer] = Kept()
