"""The model written out plainly: what the fast forms are measured against, and must equal.

- Mamba: one step after another, every channel and state with a decay of its own, as Mamba's reference code does it (Gu and
  Dao 2023); fed with one decay a head, it is our recurrence.
- Liquid network: one step after another, each of the four heads a product of its own.
- Transformer: attention with its whole matrix; a token a day where the patch is 1.
- Heads: task by task, each with its scaled copy of the shared representation, as the reference draws it.

`PlainModel` has the parameters of `PLEClusterAdaTT` under the same names and starts equal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.basket import GroupTaskExpertBasket
from ple_model.config import Config
from ple_model.context import ModelContext
from ple_model.evidential import EvidentialOutput
from ple_model.experts.temporal import SequenceEncoders, Temporal, TemporalParams
from ple_model.intervention import Intervention
from ple_model.layers.liquid import CfC, elapsed_steps
from ple_model.layers.patch_transformer import PatchTransformer
from ple_model.layers.selective_scan import Mamba2Block
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded, PLEClusterOutput
from ple_model.towers import predict


def scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Mamba's selective scan, step by step: x, dt [B, L, D], a [D, N] <= 0, b, c [B, L, N] -> [B, L, D]."""
    state = x.new_zeros(x.shape[0], x.shape[2], a.shape[1])
    out: list[Tensor] = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * a)
        state = decay * state + (dt[:, t] * x[:, t])[:, :, None] * b[:, t, None, :]
        out.append((state * c[:, t, None, :]).sum(dim=2))
    return torch.stack(out, dim=1)


def mamba(block: Mamba2Block, u: Tensor) -> Tensor:
    """`block(u)` [B, L, width]."""
    width, state = block.width, block.state
    z, mixed, dt = torch.split(block.project(block.norm(u)), [width, width + 2 * state, block.heads], dim=2)
    padded = F.pad(mixed.transpose(1, 2), (block.kernel - 1, 0))
    convolved = F.conv1d(padded, block.taps.t()[:, None], groups=mixed.shape[2]).transpose(1, 2)
    x, b, c = torch.split(F.silu(convolved), [width, state, state], dim=2)
    channels = width // block.heads
    steps = F.softplus(dt + block.dt_bias).repeat_interleave(channels, dim=2)
    a = -block.log_a.exp().repeat_interleave(channels)[:, None].expand(-1, state)
    y = scan(x, steps, a, b, c) + x * block.skip.repeat_interleave(channels)
    out: Tensor = u + block.out(block.gated_norm(y * F.silu(z)))
    return out


def liquid(cell: CfC, x: Tensor, elapsed: Tensor) -> Tensor:
    """`cell(x, elapsed)` [B, L, width]."""
    weight = torch.cat([cell.from_input.weight, cell.from_state.weight], dim=1)
    weights, biases = weight.chunk(4), cell.from_input.bias.chunk(4)
    h = x.new_zeros(x.shape[0], cell.width)
    out: list[Tensor] = []
    for t in range(x.shape[1]):
        seen = torch.cat([x[:, t], h], dim=1)
        g, k, slope, offset = (F.linear(seen, w, b) for w, b in zip(weights, biases, strict=True))
        clock = torch.sigmoid(slope * elapsed[:, t] + offset)
        h = torch.tanh(g) * (1 - clock) + torch.tanh(k) * clock
        out.append(h)
    return torch.stack(out, dim=1)


def transformer(net: PatchTransformer, x: Tensor) -> Tensor:
    """`net(x)` [B, tokens, width]."""
    x = F.pad(x, (0, 0, net.pad, 0))
    h = net.embed(x.reshape(x.shape[0], -1, net.patch * x.shape[2])) + net.position
    later = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=x.device).triu(1)
    for layer in net.layers:
        qkv = layer.qkv(layer.norm_attention(h))  # type: ignore[operator]
        q, k, v = (s.unflatten(2, (layer.heads, -1)).transpose(1, 2) for s in qkv.chunk(3, dim=2))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
        heard = torch.softmax(scores.masked_fill(later, float("-inf")), dim=3) @ v
        h = h + layer.mix(heard.transpose(1, 2).flatten(2))  # type: ignore[operator]
        h = h + layer.feed(layer.norm_feed(h))  # type: ignore[operator]
    out: Tensor = net.norm(h)
    return out


class PlainEncoders(SequenceEncoders):
    """The three architectures over one sequence, step by step."""

    def forward(self, sequence: Tensor) -> Tensor:
        x = sequence[:, -self.length :]
        u = self.mamba_in(x)
        for block in self.mamba:
            assert isinstance(block, Mamba2Block)
            u = mamba(block, u)
        states = (u, liquid(self.lnn, x, elapsed_steps(x)), transformer(self.transformer, x))
        summaries = [torch.cat([s[:, -1], s.mean(dim=1)], dim=1) for s in states]
        return torch.stack([head(s) for head, s in zip(self.heads, summaries, strict=True)], dim=1)


class PlainModel(PLEClusterAdaTT):
    """See the module docstring. `temporal=False` leaves the temporal expert as it is."""

    def __init__(self, config: Config, context: ModelContext | None = None, *, temporal: bool = True) -> None:
        super().__init__(config, context)
        if not isinstance(self.basket, GroupTaskExpertBasket):
            raise ValueError("the plain heads are those of the group encoders")
        for expert in self.experts.values() if temporal else ():
            if isinstance(expert, Temporal):
                _plain_encoders(expert, config.global_.expert_dropout)

    def decode(
        self, encoded: Encoded, intervention: Intervention | None = None, *, sae: bool = True, evidential: bool = True,
        task: str | None = None,
    ) -> PLEClusterOutput:  # fmt: skip
        """As `PLEClusterAdaTT.decode`, without interventions, always for all tasks."""
        if intervention is not None:
            raise ValueError("the plain model takes no intervention")
        basket, shared = self.basket, encoded.shared_concat
        assert isinstance(basket, GroupTaskExpertBasket)
        order = self.task_names
        parts = _Parts(self)
        logits: dict[str, Tensor] = {}
        predictions: dict[str, Tensor] = {}
        transfer: dict[str, Tensor] = {}
        tower_inputs: dict[str, Tensor] = {}
        gate_logits: dict[str, Tensor] = {}
        gates: dict[str, Tensor] = {}
        hidden: dict[str, Tensor] = {}
        experts: dict[str, Tensor] = {}
        for name in self.execution_order:
            k = order.index(name)
            gate_logits[name] = F.linear(shared, parts.gate_weight[k], parts.gate_bias[k])
            gates[name] = torch.softmax(gate_logits[name] / self.cgc.temperature, dim=1)
            scale = gates[name] * self.cgc.block_scale
            blocks = [b * scale[:, i : i + 1] for i, b in enumerate(torch.split(shared, self.dims, dim=1))]
            x = torch.cat([*blocks, encoded.hmm_projected[self.tasks[name].hmm_mode]], dim=1)  # [B, width + hmm]
            g = basket.groups.index(self.tasks[name].group)
            x = x @ parts.encoder_weight[g] + basket.encoder_bias[g]
            x = self._drop(F.silu(basket.encoder_norm[g](x)), basket.dropout)
            hidden[name] = basket.encoder_out[g](x)
            x = torch.cat([hidden[name], encoded.cluster_embedding], dim=1) @ parts.head_weight[k] + parts.head_bias[k]
            width = (x.shape[1],)
            experts[name] = x = F.silu(F.layer_norm(x, width, parts.head_gain[k][0], parts.head_shift[k][0]))
            for edge in self.edges:
                if edge.target == name:
                    transfer[edge.key] = self.transfer(edge, predictions[edge.source])
                    x = x + transfer[edge.key]
            tower_inputs[name] = x
            for weight, bias, gain, shift in parts.towers:
                x = x @ weight[k] + bias[k]
                x = self._drop(F.silu(F.layer_norm(x, (x.shape[1],), gain[k][0], shift[k][0])), self.towers.dropout)
            own = {name: F.linear(x, parts.out_weight[k], parts.out_bias[k])}
            logits |= self.with_direct(own, encoded.direct)
            predictions[name] = predict(self.tasks[name], logits[name])

        evidence = self._evidence(experts) if evidential else {}
        return PLEClusterOutput(
            predictions={n: predictions[n] for n in order},
            logits={n: logits[n] for n in order},
            gate_logits=torch.stack([gate_logits[n] for n in order], dim=1),
            gate_weights=torch.stack([gates[n] for n in order], dim=1),
            shared_concat=shared,
            hmm_projected=encoded.hmm_projected,
            encoder_outputs=torch.stack([hidden[n] for n in order], dim=1),
            task_expert={n: experts[n] for n in order},
            transfer=transfer,
            tower_inputs={n: tower_inputs[n] for n in order},
            encoded=encoded,
            sae=self.sae(shared) if sae and self.sae is not None else None,
            evidential=evidence,
        )

    def _drop(self, x: Tensor, share: float) -> Tensor:
        return F.dropout(x, share, self.training)

    def _evidence(self, experts: dict[str, Tensor]) -> dict[str, EvidentialOutput]:
        layers = self.evidential
        if layers is None:
            return {}
        out: dict[str, EvidentialOutput] = {}
        widths = list(layers.widths.values())
        weights, biases = torch.split(layers.weight, widths), torch.split(layers.bias, widths)
        for (name, spec), weight, bias in zip(layers.specs.items(), weights, biases, strict=True):
            seen = experts[name].detach() if self.config.evidential.detach_input else experts[name]
            out[name] = layers._output(spec, F.linear(seen, weight, bias))
        return out


class _Parts:
    """The stacked parameters task by task. Each is taken apart once: a slice a task would cost the backward pass a tensor of
    the whole stack's size a task, which no plain implementation pays."""

    def __init__(self, model: PLEClusterAdaTT) -> None:
        basket, towers, experts = model.basket, model.towers, len(model.expert_names)
        assert isinstance(basket, GroupTaskExpertBasket)
        gates = model.cgc.linear
        self.gate_weight, self.gate_bias = torch.split(gates.weight, experts), torch.split(gates.bias, experts)
        self.encoder_weight = torch.split(basket.encoder_weight, basket.hidden_dim, dim=1)
        self.head_weight, self.head_bias = basket.head.weight.unbind(), basket.head.bias.unbind()
        self.head_gain, self.head_shift = basket.head_norm.gain.unbind(), basket.head_norm.bias.unbind()
        self.towers = [
            tuple(torch.unbind(p) for p in (linear.weight, linear.bias, norm.gain, norm.bias))  # type: ignore[arg-type]
            for linear, norm in zip(towers.hidden, towers.norms, strict=True)
        ]
        widths = [t.out_dim for t in model.tasks.values()]
        self.out_weight, self.out_bias = torch.split(towers.out_weight, widths), torch.split(towers.out_bias, widths)


def _plain_encoders(expert: Temporal, dropout: float) -> None:
    params = expert.params
    assert isinstance(params, TemporalParams)
    for name, fast in expert.encoders.items():
        assert isinstance(fast, SequenceEncoders)
        with torch.random.fork_rng(devices=[]):
            plain = PlainEncoders(params, fast.lnn.from_input.in_features, fast.length, dropout)
        plain.load_state_dict(fast.state_dict())
        expert.encoders[name] = plain


def results(output: PLEClusterOutput) -> dict[str, Tensor]:
    """What two forms of the model must agree on."""
    return {
        **{f"prediction {k}": v for k, v in output.predictions.items()},
        **{f"uncertainty {k}": v.uncertainty for k, v in output.evidential.items()},
        **{f"transfer {k}": v for k, v in output.transfer.items()},
        "gates": output.gate_weights,
        "encoders": output.encoder_outputs,
        "shared": output.shared_concat,
    }
