"""What the model is made of: its modules and their starts, what freezes when, and every parameter in its group.

`PLEClusterAdaTT` (`model.py`) is these parts with the way from customers to predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn

from ple_model.adatt import AdaTT
from ple_model.amounts import AmountMap, MeanShift
from ple_model.auxiliary import AuxiliaryProjection
from ple_model.basket import ClusterTaskExpertBasket, GroupTaskExpertBasket
from ple_model.config import Config
from ple_model.context import ModelContext
from ple_model.direct import DirectPath
from ple_model.evidential import EvidentialLayers
from ple_model.experts.base import Expert
from ple_model.gate import CGCGate
from ple_model.hmm import HMMProjectors
from ple_model.losses import BrandTable, LossWeighting
from ple_model.memory import fits_memory
from ple_model.registry import expert_class
from ple_model.sae import SparseAutoencoder
from ple_model.summary import ModelSummary, summarise
from ple_model.supervision import ExpertHeads
from ple_model.towers import TaskTowers
from ple_model.transfer import NORM_GAIN, LogitTransfer, active_edges, levels, topological_order


class ModelParts(nn.Module):
    """Two models of one config and context start equal: `training.seed` decides, not the global state."""

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
                len(self.context.brands),
                contrastive.out_dim,
                self.context.brand_counts,
                t.temperature,
                t.brand_candidates,
                blend=t.brand_blend == "validation",
            )
            if contrastive is not None
            else None
        )
        self.weighting = LossWeighting(tasks, self.context.constant_loss, t.loss_weighting, t.log_var_limit)
        self.adatt = AdaTT(tasks, c.adatt, sum(p.numel() for p in self.last_layer_parameters()))
        with torch.random.fork_rng(devices=[]):  # a start of its own: with the path or without, all others are the same
            torch.manual_seed(t.seed + 1)
            self.direct = DirectPath(tasks, self.context, c.direct_path) if c.direct_path.enabled else None
            self.expert_heads = ExpertHeads(tasks, self.dims) if t.expert_supervision else None
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

    # -------------------------------------------------------- epochs and phases

    def project(self) -> None:
        """Call after each optimizer step: s_k back into its limits, untied SAE decoder columns back to unit norm."""
        self.weighting.project_()
        if self.sae is not None:
            self.sae.project_()

    def blends(self) -> dict[str, float]:
        """By task the share that it takes of what the network adds to its fitted map (brands: to popularity); without tasks
        that take all by config, or had no label to learn from."""
        found = {} if self.direct is None else self.direct.blends()
        if self.brands is not None and self.brands.share is not None:
            found |= {t: float(self.brands.share) for t, s in self.tasks.items() if s.kind == "contrastive"}
        return {task: share for task, share in found.items() if self.context.learned(task)}

    def set_blends(self, found: Mapping[str, float]) -> None:
        """Tasks that are not in `found` take all."""
        if self.direct is not None:
            self.direct.set_blends(found)
        if self.brands is not None:
            self.brands.set_share(next((found.get(t, 1.0) for t, s in self.tasks.items() if s.kind == "contrastive"), 1.0))

    def log_variances(self) -> dict[str, float]:
        """Kendall's s_k by task."""
        return dict(zip(self.tasks, self.weighting.task_log_vars.tolist(), strict=True))

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

    def train(self, mode: bool = True) -> Self:
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
        if self.expert_heads is not None:
            out["supervision"] = [self.expert_heads]
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


def _after_load(module: nn.Module, _keys: object) -> None:
    """A loaded `cgc.frozen` decides whether the gates train."""
    assert isinstance(module, ModelParts)
    module.cgc.sync()
