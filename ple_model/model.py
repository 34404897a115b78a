"""`PLEClusterAdaTT`: read this first. The whole forward pass, from a batch of customers to every task's prediction.

Choices:
- progressive layered extraction with heterogeneous shared experts and one softmax gate a task (Tang et al., RecSys 2020);
- experts are found by name and run in config order, which fixes the order of blocks in shared_concat: nothing here knows how
  many there are or how wide;
- `encode` (experts: nearly all the work) and `decode` (gates to towers) are apart, so that what-ifs and explanations run from
  stored experts;
- gates mix *projected* blocks: `W (w_i h_i) = w_i (W_i h_i)`, the [B, tasks, width] tensor is never built (`basket.py`);
- all tasks' heads, towers and evidential layers are stacked; the transfer DAG runs level by level (`transfer.py`);
- the SAE and the evidential heads look on from detached tensors, with gradient clipping of their own: predictions are the same
  with and without them;
- adaTT multiplies each task's whole weighted term by a measured factor (`adatt.py`).

Names of parts and fields are the reference's (PLE-Cluster-adaTT technical reference, v3.14).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import torch
from torch import Tensor

from ple_model.amounts import Statistic
from ple_model.auxiliary import SOURCES
from ple_model.basket import cluster_weights
from ple_model.batch import PLEClusterInput
from ple_model.errors import UserError, did_you_mean
from ple_model.evidential import EvidentialOutput
from ple_model.experts.base import ExpertAux
from ple_model.fields import FIELD_SHAPES
from ple_model.hmm import apply_override
from ple_model.intervention import Intervention
from ple_model.model_losses import WHOLE, breakdown
from ple_model.model_parts import ModelParts
from ple_model.output import Encoded, LossBreakdown, PLEClusterOutput, TaughtLosses
from ple_model.towers import predict
from ple_model.whole_batch import WholeBatch


class PLEClusterAdaTT(ModelParts):
    """See the module docstring."""

    # ---------------------------------------------------------------- forward

    def encode(self, inputs: PLEClusterInput, alike: Mapping[str, tuple[Tensor, Tensor]] | None = None) -> Encoded:
        """Experts, cold-start mixing, HMM projections and cluster embedding of a batch. `alike`: experts that need not run for
        each row, (rows [m] to run, which of them each row [B] is as); what such an expert says of its own is left out."""
        self._require_columns(inputs)
        self._require_batch(inputs)
        # 1. Shared experts. Each reads the fields that it declares; a row with none of them gets a zero block.
        outputs: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        aux: dict[str, ExpertAux] = {}
        for name, expert in self.experts.items():
            if alike is not None and name in alike:
                rows, like = alike[name]
                out, there, _ = expert(inputs.rows(rows))
                outputs[name], present[name] = out[like], there[like]
            else:
                outputs[name], present[name], aux[name] = expert(inputs)
        shared = torch.cat(list(outputs.values()), dim=1)  # [B, width]

        # 2. Customers without a history: their few static features are mixed into the shared representation.
        shared = self.auxiliary(shared, inputs)

        # 3. Three HMM modes, each projected, or its learned default where a row has none.
        hmm, hmm_default = self.hmm(inputs)

        # 4. Cluster embedding: mixed by the GMM's posteriors where they are known, looked up elsewhere.
        weights = self._cluster_weights(inputs).to(self.cluster_embedding.weight.dtype)
        clusters = weights @ self.cluster_embedding.weight  # [B, cluster_embed_dim]

        # 5. What the columns say by themselves, where the config has a direct path.
        direct = None if self.direct is None else self.direct(inputs)
        return Encoded(outputs, present, aux, shared, hmm, hmm_default, clusters, weights, direct)

    def _require_columns(self, inputs: PLEClusterInput) -> None:
        """`UserError` where the rows are of another table than the one that the model was trained on."""
        ours, width = self.context.parts, inputs.features.shape[-1]
        if width != self.context.n_features:
            raise UserError(f"input field 'features' has {width} columns, the model was trained on {self.context.n_features}")
        if inputs.parts is not ours and inputs.parts.keys() != ours.keys():
            strange = next((p for p in inputs.parts if p not in ours), None) or next(p for p in ours if p not in inputs.parts)
            raise UserError(f"the features are of another table than the model's: only one of them has '{strange}'")

    def _require_batch(self, inputs: PLEClusterInput) -> None:
        if torch.compiler.is_exporting():  # a graph has no errors: its caller checks what goes in
            return
        if not len(inputs):
            raise UserError("the batch is empty: the model needs at least one customer")
        own, given = self.cluster_embedding.weight.dtype, inputs.features.dtype
        if {own, given} == {torch.float32, torch.float64}:
            raise UserError(f"the batch is {given}, the model {own}: use inputs.to(dtype={own})")

    def readers(self, changed: Collection[str]) -> list[str]:
        """Experts that read one of these input fields or `features:<part>`."""
        known = {*changed, *(c.partition(":")[0] for c in changed)}
        return [n for n, e in self.experts.items() if not known.isdisjoint(e.reads)]  # type: ignore[arg-type]

    def fields_to_encode_again(self, changed: Collection[str]) -> tuple[str, ...]:
        """Input fields that `encode_again` reads besides `features` and `cluster_ids`."""
        read = [r for n in self.readers(changed) for r in self.experts[n].reads]  # type: ignore[union-attr]
        named = {r.partition(":")[0] for r in (*read, *changed, "customer_segment", *SOURCES.values())}
        if self.direct is not None and self._direct_again(changed):
            named |= {*self.direct.fields}
        masks = {f"{f.removesuffix('_diagrams')}_mask" for f in named if f.endswith("_diagrams")}
        return tuple(f for f in FIELD_SHAPES if f in named | masks)

    def encode_again(self, inputs: PLEClusterInput, known: Encoded, changed: Collection[str]) -> Encoded:
        """`encode(inputs)` where `known` is what was said before the input fields or parts `changed` became what they are: only
        what reads one of them runs, the rest is kept."""
        outputs, present = dict(known.expert_outputs), dict(known.expert_present)
        for name in self.readers(changed):
            outputs[name], present[name], _ = self.experts[name](inputs)
        shared = self.auxiliary(torch.cat([outputs[n] for n in self.expert_names], dim=1), inputs)
        hmm, hmm_default = dict(known.hmm_projected), dict(known.hmm_default)
        modes = [m for m in hmm if f"hmm_{m}" in changed]
        if modes:
            projected, default = self.hmm(inputs)
            hmm |= {m: projected[m] for m in modes}
            hmm_default |= {m: default[m] for m in modes}
        weights, clusters = known.cluster_weights, known.cluster_embedding
        if "cluster_probs" in changed:
            weights = self._cluster_weights(inputs)
            clusters = weights @ self.cluster_embedding.weight
        direct = known.direct
        if self.direct is not None and self._direct_again(changed):
            direct = self.direct(inputs)
        return Encoded(outputs, present, {}, shared, hmm, hmm_default, clusters, weights, direct)

    def _direct_again(self, changed: Collection[str]) -> bool:
        """Whether what changed has a field of the direct path or a part of it."""
        return self.direct is not None and any(c.partition(":")[0] in self.direct.fields for c in changed)

    def _cluster_weights(self, inputs: PLEClusterInput) -> Tensor:
        n = self.config.global_.n_clusters
        ids, probs = inputs.cluster_ids, inputs.cluster_probs
        if probs is not None and probs.shape[-1] != n:
            raise UserError(f"input field 'cluster_probs' has {probs.shape[-1]} columns, global.n_clusters is {n}")
        checked = ids.device.type == "cpu" and not torch.compiler.is_exporting() and len(inputs)
        if checked and not (int(ids.min()) >= 0 and int(ids.max()) < n):
            raise UserError(f"input field 'cluster_ids' goes from {int(ids.min())} to {int(ids.max())}, valid: 0 to {n - 1}")
        return cluster_weights(ids, probs, inputs.present("cluster_probs"), n)

    def decode(
        self, encoded: Encoded, intervention: Intervention | None = None, *, sae: bool = True, evidential: bool = True,
        task: str | None = None,
    ) -> PLEClusterOutput:  # fmt: skip
        """Gates, basket, transfer and towers from encoded customers; cheap. `intervention` changes what happens on the way.
        `task`: only its tower and those that it receives from; others are not in the output, and of encoders only those of
        their groups say something."""
        what_if = intervention if intervention is not None else Intervention()
        self.check(what_if)
        if what_if.features:
            raise UserError(
                f"feature.{next(iter(what_if.features))}: features act before the experts; "
                "encode the edited customers (ple_model.edits), then decode with intervention.after_experts"
            )

        # 1. The shared representation, as encoded or as a what-if wants it.
        shared = self._intervene(encoded.shared_concat, what_if)
        hmm = apply_override(self.hmm, encoded.hmm_projected, what_if.hmm)

        # 2. One gate a task over the experts' blocks; `block_scale` makes equal weights mean equal norms.
        gate_logits, gate_weights = self.cgc(shared, what_if.gate_temperature, what_if.pin_gate)  # [B, T, experts]

        # 3. Group encoders and task heads; each task reads its gate's mixture, its HMM mode and the cluster embedding.
        wanted = self.task_names if task is None else self.sources[task]
        experts, encoder_outputs = self.basket(
            shared,
            gate_weights * self.cgc.block_scale,
            hmm,
            encoded.cluster_embedding,
            encoded.cluster_weights,
            None if task is None else wanted,
        )  # [B, T, O], [B, T, group_output_dim]

        # 4. Towers, level by level along the transfer DAG: a later task's tower also reads an earlier task's prediction.
        logits: dict[str, Tensor] = {}
        predictions: dict[str, Tensor] = {}
        transfer: dict[str, Tensor] = {}
        tower_inputs: dict[str, Tensor] = {}
        task_first = experts.transpose(0, 1)
        for level, every in enumerate(self.levels):
            index: Tensor = getattr(self, f"_level_{level}")
            names = [n for n in every if n in wanted]
            if len(names) < len(every):
                if not names:
                    continue
                index = index[[i for i, n in enumerate(every) if n in wanted]]
            x = task_first.index_select(0, index)  # [tasks of the level, B, O]
            if level > 0:  # every task of a later level has at least one source
                x = x + torch.stack([self._received(n, predictions, transfer, what_if) for n in names]).to(x.dtype)
            logits.update(self.with_direct(self.towers(x, names, index), encoded.direct))
            tower_inputs.update(zip(names, x.unbind(0), strict=True))
            predictions.update({n: predict(self.tasks[n], logits[n]) for n in names})

        # 5. The onlookers: what the representation is made of, and how much each prediction rests on.
        sae_out = self.sae(shared) if sae and self.sae is not None else None
        seen = experts.detach() if self.config.evidential.detach_input else experts
        evidence: dict[str, EvidentialOutput] = self.evidential(seen) if evidential and self.evidential is not None else {}

        names = [n for n in self.task_names if n in predictions]
        return PLEClusterOutput(
            predictions={n: predictions[n] for n in names},
            logits={n: logits[n] for n in names},
            gate_logits=gate_logits,
            gate_weights=gate_weights,
            shared_concat=shared,
            hmm_projected=hmm,
            encoder_outputs=encoder_outputs,
            task_expert={n: e for n, e in zip(self.task_names, experts.unbind(1), strict=True) if n in predictions},
            transfer=transfer,
            tower_inputs={n: tower_inputs[n] for n in names},
            encoded=encoded,
            sae=sae_out,
            evidential={n: e for n, e in evidence.items() if n in predictions},
        )

    @cached_property
    def sources(self) -> dict[str, frozenset[str]]:
        """task -> itself and all that it receives from, by way of others too."""
        found: dict[str, frozenset[str]] = {}
        for names in self.levels:
            for name in names:
                found[name] = frozenset({name}).union(*(found[e.source] for e in self.edges if e.target == name))
        return found

    def check(self, what_if: Intervention) -> None:
        """`UserError` if it names something that this model does not have."""
        edges = [e.key for e in self.edges]
        what_if.check(
            self.expert_names, self.task_names, edges, 0 if self.sae is None else self.sae.n_latents, self.context.own
        )

    def forward(self, inputs: PLEClusterInput, intervention: Intervention | None = None) -> PLEClusterOutput:
        """`decode(encode(inputs))`."""
        return self.decode(self.encode(inputs), intervention)

    def answer(self, task: str, tower_input: Tensor, encoded: Encoded) -> Tensor:
        """A task's prediction from its tower's input [B, O], as `decode` makes it for these customers."""
        index = torch.tensor([self.task_names.index(task)], device=tower_input.device)
        logits = self.with_direct(self.towers(tower_input[None], [task], index), encoded.direct)
        return predict(self.tasks[task], logits[task])

    def with_direct(self, logits: dict[str, Tensor], direct: Tensor | None) -> dict[str, Tensor]:
        """Raw outputs of some towers with what the direct path adds to them."""
        if self.direct is None:
            return logits
        if direct is None:
            raise ValueError("these customers were encoded by a model without a direct path")
        return {n: self.direct.add(n, v, direct) for n, v in logits.items()}

    def _received(
        self, name: str, predictions: Mapping[str, Tensor], transfer: dict[str, Tensor], what_if: Intervention
    ) -> Tensor:
        """What all edges into `name` add to its tower input [B, O]; each is recorded in `transfer`."""
        for edge in self.edges:
            if edge.target == name:
                transfer[edge.key] = self.transfer(edge, predictions[edge.source], what_if.edge_scale.get(edge.key, 1.0))
        added = [transfer[e.key] for e in self.edges if e.target == name]
        return added[0] if len(added) == 1 else torch.stack(added).sum(0)

    def _intervene(self, shared: Tensor, what_if: Intervention) -> Tensor:
        if what_if.ablate:
            blocks = list(torch.split(shared, self.dims, dim=1))
            for expert, how in what_if.ablate.items():
                i = self.expert_names.index(expert)
                blocks[i] = (
                    torch.zeros_like(blocks[i])
                    if how == "zero"
                    else what_if.mean_blocks[expert].to(blocks[i]).expand_as(blocks[i])
                )
            shared = torch.cat(blocks, dim=1)
        if self.sae is not None and what_if.clamp_latent:
            shared = self.sae.edit(shared, dict(what_if.clamp_latent))
        if self.sae is not None and what_if.replace_shared:
            shared = self.sae.reconstruct(shared)
        return shared

    def losses(
        self, output: PLEClusterOutput, targets: Mapping[str, Tensor], *, epoch: int, taught: TaughtLosses | None = None,
        batch: WholeBatch = WHOLE,
    ) -> LossBreakdown:  # fmt: skip
        """Every part of the loss of one batch; `targets` in original units, -1 or NaN where missing; epochs count from 1.
        `taught`: what a teacher says of these rows, mixed into each task's loss. `batch`: of which the rows may be a part."""
        return breakdown(self, output, targets, epoch, taught, batch)

    # ------------------------------------------------------------------- units

    def to_label(self, task: str, value: Tensor) -> Tensor:
        """A standardised regression prediction in the label's own units (logarithmic for tasks with `log_scale`); a label that
        is no logarithm as its mean, where the run has the shift that makes predictions add up."""
        scaler = self.context.label_scalers.get(self._regression(task))
        label = value if scaler is None else value * scaler.std + scaler.mean
        return label + self.shifts[task].shift if task in self.shifts else label

    def to_units(self, task: str, value: Tensor) -> Tensor:
        """A standardised regression prediction in the unit that pages show: as `to_label`, and where `log_scale` the mean
        amount given it; about the median where the run has no map for it (`shows`)."""
        label = self.to_label(task, value)
        if not self.tasks[task].log_scale:
            return label
        return self.amounts[task].of(label) if task in self.amounts else torch.expm1(label)

    def shows(self, task: str) -> Statistic:
        """Whether `to_units` of a regression is a mean or about a median. A squared loss on the label itself aims at the mean;
        a logarithm and Huber's loss do not, and a run of before their maps were kept shows what these aim at."""
        spec = self.tasks[self._regression(task)]
        if spec.log_scale:
            return "mean" if task in self.amounts else "median"
        return "median" if spec.loss == "huber" and task not in self.shifts else "mean"

    def _regression(self, task: str) -> str:
        if task not in self.tasks:
            raise UserError(f"no task '{task}'{did_you_mean(task, self.tasks)}")
        if self.tasks[task].kind != "regression":
            raise UserError(f"task '{task}' is {self.tasks[task].kind}: only regression has units")
        return task

    def brand_logits(self, query: Tensor) -> Tensor:
        """[B, brands] whose softmax is the distribution over brands, of L2-normalised queries [B, 128]."""
        if self.brands is None:
            raise UserError("brand_logits: no contrastive task is enabled")
        return self.brands.logits(query)
