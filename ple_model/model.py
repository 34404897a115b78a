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
from typing import Any

import torch
from torch import Tensor, nn

from ple_model.adatt import AdaTT
from ple_model.amounts import AmountMap, MeanShift, Statistic
from ple_model.auxiliary import SOURCES, AuxiliaryProjection
from ple_model.basket import ClusterTaskExpertBasket, GroupTaskExpertBasket, cluster_weights
from ple_model.batch import PLEClusterInput
from ple_model.config import Config
from ple_model.context import ModelContext
from ple_model.direct import DirectPath
from ple_model.errors import UserError, did_you_mean
from ple_model.evidential import EvidentialLayers, EvidentialOutput, evidential_loss
from ple_model.experts.base import Expert, ExpertAux
from ple_model.fields import FIELD_SHAPES
from ple_model.gate import CGCGate, entropy_loss
from ple_model.hmm import HMMProjectors, apply_override
from ple_model.intervention import Intervention
from ple_model.labels_in_range import require_labels
from ple_model.layers.precision import widen
from ple_model.losses import BrandTable, LossWeighting, task_loss
from ple_model.memory import fits_memory
from ple_model.output import Encoded, LossBreakdown, PLEClusterOutput, TaughtLosses
from ple_model.registry import expert_class
from ple_model.sae import SparseAutoencoder
from ple_model.summary import ModelSummary, summarise
from ple_model.tasks import TASKS
from ple_model.towers import TaskTowers, predict
from ple_model.transfer import NORM_GAIN, LogitTransfer, active_edges, levels, topological_order


class PLEClusterAdaTT(nn.Module):
    """See the module docstring. Two models of one config and context start equal: `training.seed` decides, not the global
    state."""

    def __init__(self, config: Config, context: ModelContext | None = None) -> None:
        super().__init__()
        self.config = config
        self.amounts: dict[str, AmountMap] = {}
        self.shifts: dict[str, MeanShift] = {}
        """By task whose label is a logarithm: predicted logarithm -> mean amount; set by who opens a finished run."""
        self.context = context if context is not None else ModelContext()
        self.tasks = self.context.named(config.tasks)
        self.task_names = list(self.tasks)
        self.expert_names = list(config.shared_experts)
        self.dims = [p.output_dim for p in config.shared_experts.values()]
        self.edges, self.skipped_edges = active_edges(config.task_relationships.transfers, self.tasks)
        self.execution_order = topological_order(self.task_names, self.edges)
        self.levels = levels(self.execution_order, self.edges)
        self.shared_frozen = False
        with torch.random.fork_rng(devices=[]), fits_memory("a model of this config"):
            torch.manual_seed(config.training.seed)
            self._build()
            self.initialise()
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]

    def _build(self) -> None:
        c, tasks = self.config, self.tasks
        dropout = c.global_.dropout
        # The SAE and the evidential heads come last: switching them off leaves every other start as it was.
        self.experts = nn.ModuleDict(
            {n: expert_class(n)(p, self.context, c.global_.expert_dropout) for n, p in c.shared_experts.items()}
        )
        self.auxiliary = AuxiliaryProjection(self.dims)
        self.cgc = CGCGate(
            self.task_names, self.expert_names, self.dims, dim_normalize=c.cgc.dim_normalize, temperature=c.cgc.temperature
        )
        self.hmm = HMMProjectors(c.hmm_triple_mode.input_dim, c.hmm_triple_mode.proj_dim)
        self.cluster_embedding = nn.Embedding(c.global_.n_clusters, c.task_experts.cluster_embed_dim)
        self.basket: GroupTaskExpertBasket | ClusterTaskExpertBasket
        e, hmm_dim = c.task_experts, c.hmm_triple_mode.proj_dim
        if e.use_group_encoder:
            self.basket = GroupTaskExpertBasket(
                tasks, self.dims, hmm_dim, e.group_hidden_dim, e.group_output_dim, e.cluster_embed_dim, e.output_dim, dropout
            )
        else:
            self.basket = ClusterTaskExpertBasket(
                tasks, self.dims, hmm_dim, e.legacy_hidden_dim, c.global_.n_clusters, e.output_dim, dropout
            )
        r = c.task_relationships
        self.transfer = LogitTransfer(self.edges, tasks, e.output_dim, r.transfer_strength, r.detach_source)
        self.towers = TaskTowers(tasks, e.output_dim, c.task_towers.hidden_dims, dropout)
        contrastive = next((t for t in tasks.values() if t.kind == "contrastive"), None)
        t = c.training
        self.brands = (
            BrandTable(
                len(self.context.brands), contrastive.out_dim, self.context.brand_counts, t.temperature, t.brand_candidates
            )
            if contrastive is not None
            else None
        )
        self.weighting = LossWeighting(tasks, self.context.constant_loss, t.loss_weighting, t.log_var_limit)
        self.adatt = AdaTT(tasks, c.adatt, sum(p.numel() for p in self.last_layer_parameters()))
        with torch.random.fork_rng(devices=[]):  # a start of its own: with the path or without, all others are the same
            torch.manual_seed(t.seed + 1)
            self.direct = DirectPath(tasks, self.context, c.direct_path) if c.direct_path.enabled else None
        self.sae = SparseAutoencoder(sum(self.dims), c.sae) if c.sae.enabled else None
        self.evidential = EvidentialLayers(tasks, e.output_dim) if c.evidential.enabled else None
        for level, names in enumerate(self.levels):
            index = torch.tensor([self.task_names.index(n) for n in names], dtype=torch.long)
            self.register_buffer(f"_level_{level}", index, persistent=False)

    @torch.no_grad()
    def initialise(self) -> None:
        """Every start that is not PyTorch's default, in one place (each expert documents its own)."""
        domain = {n: t.domain_experts for n, t in self.tasks.items()}
        own = {n: o.gate_bias for n, o in self.config.task_experts.tasks.items()}
        self.cgc.warm_start(domain, self.config.cgc.bias_high, self.config.cgc.bias_low, own)  # W = 0, b = +1 or -1
        for embedding in self.hmm.hmm_default_embeddings.values():
            embedding.zero_()  # a missing mode says nothing at first
        for norm in self.transfer.norms.values():
            assert isinstance(norm, nn.LayerNorm)
            norm.weight.fill_(NORM_GAIN)  # an edge starts small
        self.weighting.task_log_vars.zero_()  # every task starts with weight w_k
        for gate in self.auxiliary.gates.values():
            assert isinstance(gate, nn.Linear)
            gate.weight.zero_()  # cold-start rows start half and half

    # ---------------------------------------------------------------- forward

    def encode(self, inputs: PLEClusterInput) -> Encoded:
        """Experts, cold-start mixing, HMM projections and cluster embedding of a batch."""
        self._require_columns(inputs)
        self._require_batch(inputs)
        # 1. Shared experts. Each reads the fields that it declares; a row with none of them gets a zero block.
        outputs: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        aux: dict[str, ExpertAux] = {}
        for name, expert in self.experts.items():
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
        if self.direct is not None and self._reads_columns(changed):
            direct = self.direct(inputs)
        return Encoded(outputs, present, {}, shared, hmm, hmm_default, clusters, weights, direct)

    @staticmethod
    def _reads_columns(changed: Collection[str]) -> bool:
        """Whether `features` or a part of it is among what changed."""
        return any(c.partition(":")[0] == "features" for c in changed)

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
        self, encoded: Encoded, intervention: Intervention | None = None, *, sae: bool = True, evidential: bool = True
    ) -> PLEClusterOutput:
        """Gates, basket, transfer and towers from encoded customers; cheap. `intervention` changes what happens on the way."""
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
        experts, encoder_outputs = self.basket(
            shared, gate_weights * self.cgc.block_scale, hmm, encoded.cluster_embedding, encoded.cluster_weights
        )  # [B, T, O], [B, T, group_output_dim]

        # 4. Towers, level by level along the transfer DAG: a later task's tower also reads an earlier task's prediction.
        logits: dict[str, Tensor] = {}
        predictions: dict[str, Tensor] = {}
        transfer: dict[str, Tensor] = {}
        tower_inputs: dict[str, Tensor] = {}
        task_first = experts.transpose(0, 1)
        for level, names in enumerate(self.levels):
            index: Tensor = getattr(self, f"_level_{level}")
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

        names = self.task_names
        return PLEClusterOutput(
            predictions={n: predictions[n] for n in names},
            logits={n: logits[n] for n in names},
            gate_logits=gate_logits,
            gate_weights=gate_weights,
            shared_concat=shared,
            hmm_projected=hmm,
            encoder_outputs=encoder_outputs,
            task_expert=dict(zip(names, experts.unbind(1), strict=True)),
            transfer=transfer,
            tower_inputs={n: tower_inputs[n] for n in names},
            encoded=encoded,
            sae=sae_out,
            evidential=evidence,
        )

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

    # ----------------------------------------------------------------- losses

    def losses(
        self, output: PLEClusterOutput, targets: Mapping[str, Tensor], *, epoch: int, taught: TaughtLosses | None = None
    ) -> LossBreakdown:
        """Every part of the loss of one batch; `targets` in original units, -1 or NaN where missing; epochs count from 1.
        `taught`: what a teacher says of these rows, mixed into each task's loss."""
        for name in targets:
            if name not in self.tasks and name not in TASKS:
                raise UserError(f"targets: no task '{name}'{did_you_mean(name, self.tasks)}")
        rows = output.shared_concat.shape[0]
        require_labels(targets, self.tasks, rows, 0 if self.brands is None else self.brands.keys.shape[0])
        with torch.autocast(output.shared_concat.device.type, enabled=False):
            zero = widen(output.gate_weights.new_zeros(()))
            raw: list[Tensor] = []
            counts: list[Tensor] = []
            data, kl = zero, zero
            e = self.config.evidential
            kl_weight = e.kl_lambda * min(1.0, epoch / e.annealing_epochs)
            t = self.config.training
            for name, spec in self.tasks.items():
                if name not in targets:
                    raw.append(zero)
                    counts.append(zero.long())
                    continue
                y, scaler = targets[name], self.context.label_scalers.get(name)
                value, n = task_loss(
                    spec, output.predictions[name], output.logits[name], y, self.brands, scaler, t.focal_gamma, t.huber_delta
                )
                raw.append(value)
                counts.append(n)
                if name in output.evidential:
                    d, k, _ = evidential_loss(spec, output.evidential[name], y, scaler, kl_weight, e.nig_lambda)
                    data, kl = data + spec.weight * d, kl + spec.weight * k
            mixed, known = raw, counts
            if taught is not None:
                mixed = [taught.mixed(n, own) for n, own in zip(self.tasks, raw, strict=True)]
                known = [taught.counts.get(n, k).maximum(k) for n, k in zip(self.tasks, counts, strict=True)]
            weighted = self.weighting(torch.stack(mixed), torch.stack(known), self.adatt.c(epoch))
            entropy = zero if self.gates_frozen else self.config.cgc.entropy_lambda * entropy_loss(output.gate_weights)
            aux = {f"{x}.{k}": widen(v) for x, a in output.encoded.expert_aux.items() for k, v in a.losses.items()}
            if self.direct is not None:
                aux["direct_path.ridge"] = self.direct.penalty()
            if taught is not None and taught.hint is not None:
                aux["distillation.hint"] = taught.hint
            sae = self.sae.loss(output.sae) if self.sae is not None and output.sae is not None else zero
            data, kl = e.loss_weight * data, e.loss_weight * kl
            main = weighted.sum() + entropy + sum(aux.values(), zero)
            total = main + data + kl
        return LossBreakdown(
            raw=dict(zip(self.tasks, raw, strict=True)),
            counts=dict(zip(self.tasks, counts, strict=True)),
            weighted=dict(zip(self.tasks, weighted.unbind(), strict=True)),
            entropy=entropy,
            aux=aux,
            evidential=data,
            evidential_kl=kl,
            sae=sae,
            sae_weight=self.config.sae.loss_weight,
            total=total,
            main=main if e.detach_input else total,
            mixed={} if taught is None else dict(zip(self.tasks, mixed, strict=True)),
            taught={} if taught is None else taught.tasks,
        )

    def project(self) -> None:
        """Call after each optimizer step: s_k back into its limits, untied SAE decoder columns back to unit norm."""
        self.weighting.project_()
        if self.sae is not None:
            self.sae.project_()

    def log_variances(self) -> dict[str, float]:
        """Kendall's s_k by task."""
        return dict(zip(self.tasks, self.weighting.task_log_vars.tolist(), strict=True))

    # -------------------------------------------------------- epochs and phases

    def freeze_gates(self) -> None:
        """At the end of `adatt.freeze_epoch`: CGC gates and adaTT's coefficients become constants together."""
        self.cgc.freeze()
        self.adatt.freeze()

    @property
    def gates_frozen(self) -> bool:
        """Whether the CGC gates have stopped training; kept in the checkpoint (`cgc.frozen`)."""
        return not self.cgc.linear.weight.requires_grad

    @property
    def adatt_frozen(self) -> bool:
        """Whether adaTT's coefficients are constants; kept in the checkpoint (`adatt.frozen`)."""
        return bool(self.adatt.frozen)

    def adatt_report(self) -> dict[str, Any]:
        """Affinities with their noise band, transfers, coefficients and the share of conflicting pairs, for the log."""
        return self.adatt.report()

    def freeze_shared(self, on: bool = True) -> None:
        """Phase 2: shared experts in eval mode (whatever `train()` says) and without gradients."""
        self.shared_frozen = on
        for expert in self.experts.values():
            assert isinstance(expert, Expert)
            expert.set_trainable(not on)
        if on:
            for p in self.experts.parameters():
                p.grad = None
        self.train(self.training)

    def train(self, mode: bool = True) -> PLEClusterAdaTT:
        super().train(mode)
        if self.shared_frozen:
            self.experts.eval()
        return self

    # -------------------------------------------------------------- parameters

    def blocks(self) -> dict[str, list[nn.Module]]:
        """Modules by the name under which pages and logs show them; together they hold every parameter once."""
        out: dict[str, list[nn.Module]] = {n: [e] for n, e in self.experts.items()}
        out["cgc"] = [self.cgc]
        out["hmm"] = [self.hmm]
        out["basket"] = [self.basket, self.cluster_embedding]
        out["transfer"] = [self.transfer]
        out["towers"] = [self.towers, *([self.brands] if self.brands is not None else [])]
        if self.direct is not None:
            out["direct_path"] = [self.direct]
        out["weighting"] = [self.weighting]
        out["adatt"] = [self.adatt]
        out["sae"] = [self.sae] if self.sae is not None else []
        out["evidential"] = [self.evidential] if self.evidential is not None else []
        out["auxiliary"] = [self.auxiliary]
        return out

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters at which adaTT takes task gradients."""
        out: list[nn.Parameter] = []
        for expert in self.experts.values():
            assert isinstance(expert, Expert)
            out += list(expert.last_layer().parameters())
        return out

    def clip_groups(self) -> list[tuple[str, list[nn.Parameter], float]]:
        """(name, parameters, largest gradient norm): model, evidential and SAE are clipped apart, so that the onlookers'
        gradients cannot shrink the model's step."""
        onlookers = self.onlookers()
        every: list[nn.Module | None] = [self.evidential, self.sae]
        apart = {id(p) for m in every if m is not None for p in m.parameters()}
        limits = {"evidential": self.config.training.grad_clip, "sae": self.config.sae.grad_clip}
        main = [p for p in self.parameters() if id(p) not in apart]
        if self.evidential is not None and "evidential" not in onlookers:
            main += list(self.evidential.parameters())
        out = [("main", main, self.config.training.grad_clip)]
        return out + [(n, list(m.parameters()), limits[n]) for n, m in onlookers.items()]

    def onlookers(self) -> dict[str, nn.Module]:
        """Modules that read detached tensors: no prediction and no gradient of the main path depends on them."""
        found: dict[str, nn.Module | None] = {"evidential": self.evidential, "sae": self.sae}
        if not self.config.evidential.detach_input:
            found.pop("evidential")
        return {n: m for n, m in found.items() if m is not None}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """'main' and 'sae', every parameter in exactly one: the assertion keeps a new module from being forgotten. Frozen
        parameters are in it too (AdamW passes over what has no gradient), so that an optimizer's state fits before and after
        a freeze."""
        sae = list(self.sae.parameters()) if self.sae is not None else []
        ids = {id(p) for p in sae}
        main = [p for p in self.parameters() if id(p) not in ids]
        listed = [id(p) for modules in self.blocks().values() for m in modules for p in m.parameters()]
        assert len(listed) == len(set(listed)), "a parameter is in two blocks"
        assert set(listed) == {id(p) for p in [*main, *sae]}, "a parameter is in no block: add its module to `blocks`"
        return {"main": main, "sae": sae}

    def summary(self) -> ModelSummary:
        """Parameters by module next to the reference's estimates; print it."""
        return summarise(self.config, self.blocks())

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
        """[B, brands] similarities over temperature of L2-normalised queries [B, 128]."""
        if self.brands is None:
            raise UserError("brand_logits: no contrastive task is enabled")
        return self.brands.logits(query)


def _after_load(module: nn.Module, _keys: object) -> None:
    """A loaded `cgc.frozen` decides whether the gates train."""
    assert isinstance(module, PLEClusterAdaTT)
    module.cgc.sync()
