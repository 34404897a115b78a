"""Low-rank adapters beside the linear layers of a pre-trained encoder (Hu et al., ICLR 2022, "LoRA"), by the library `peft`.

A model is built without them; a training adds them, and its checkpoints hold them. Whoever else reads weights gets them merged,
`W + alpha / rank * B A`, under the names that the layer has without one. `peft` takes seconds to import, so that it is imported
where an adapter is added and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ple_model.config import Config
from ple_model.errors import UserError, did_you_mean
from ple_model.experts.temporal import Temporal, TemporalParams
from ple_model.model import PLEClusterAdaTT

BASE, DOWN, UP = ".base_layer.", ".lora_A.default.weight", ".lora_B.default.weight"
READ_PAST = frozenset({"from_state"})
"""Linear layers whose weight is read beside the layer: an adapter in their place would never be asked."""


def stream_of(model: PLEClusterAdaTT) -> Temporal | None:
    """The expert that holds a pre-trained encoder; None where none does."""
    found = (e for e in model.experts.values() if isinstance(e, Temporal) and e.pretrained is not None)
    return next(found, None)


def params_of(config: Config) -> TemporalParams | None:
    """Of the temporal expert where it has a pre-trained encoder."""
    found = (p for p in config.shared_experts.values() if isinstance(p, TemporalParams) and p.encoder is not None)
    return next(found, None)


def add_adapters(model: PLEClusterAdaTT) -> None:
    """Put adapters into the model's encoder where its config says `lora`. They say nothing at first; two of one seed are equal,
    whatever the global state. `UserError` for a target that is no linear layer of the encoder."""
    expert = stream_of(model)
    if expert is None or expert.pretrained is None or expert.pretrained.mode != "lora":
        return
    p: TemporalParams = expert.params
    encoder = expert.pretrained.encoder
    layers = [n for n, m in encoder.named_modules() if isinstance(m, nn.Linear)]
    linear = {n.rsplit(".", 1)[-1]: n for n in layers}
    for i, target in enumerate(p.lora_targets):
        if target not in linear or target in READ_PAST:
            known = [n for n in linear if n not in READ_PAST]
            where = f"shared_experts.temporal.lora_targets[{i}]"
            raise UserError(f"{where}: the encoder has no such layer '{target}'{did_you_mean(target, known)}")
    try:
        from peft import LoraConfig, inject_adapter_in_model  # late: takes seconds, and is optional
    except ImportError as e:
        raise UserError("encoder_mode lora needs the library peft: pip install 'ple-scope[lora]'") from e
    # a pattern of whole names: peft takes a bare name for the end of any, also of a module that is no linear layer
    chosen = "|".join(re.escape(n) for n in layers if n.rsplit(".", 1)[-1] in p.lora_targets)
    settings = LoraConfig(r=p.lora_rank, lora_alpha=p.lora_alpha, target_modules=chosen, lora_dropout=0.0)
    device = next(encoder.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model.config.training.seed + 3)
        inject_adapter_in_model(settings, encoder)
    encoder.to(device)
    expert.set_trainable(not model.shared_frozen)


def merged(weights: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Weights with every adapter merged into its layer, under the layer's own name; without adapters as they are."""
    p = params_of(config)
    out = {}
    for name, value in weights.items():
        if BASE not in name:
            if not name.endswith((DOWN, UP)):
                out[name] = value
            continue
        layer, _, kind = name.partition(BASE)
        if kind == "weight" and f"{layer}{DOWN}" in weights:
            assert p is not None
            value = value + (p.lora_alpha / p.lora_rank) * (weights[f"{layer}{UP}"] @ weights[f"{layer}{DOWN}"])
        out[f"{layer}.{kind}"] = value
    return out


def drop_adapters(model: PLEClusterAdaTT) -> None:
    """Merge them in place: the model has the layers that it was built with, and says the same."""
    expert = stream_of(model)
    if expert is None or expert.pretrained is None or expert.pretrained.mode != "lora":
        return
    whole = merged(model.state_dict(), model.config)
    encoder = expert.pretrained.encoder
    for name, module in list(encoder.named_modules()):
        if hasattr(module, "base_layer"):
            parent, _, last = name.rpartition(".")
            setattr(encoder.get_submodule(parent), last, module.base_layer)
    model.load_state_dict(whole)
