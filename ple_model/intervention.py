"""What-if: a change to the model's inner workings, applied between the experts and the towers, or to what customers bring,
applied before the experts; never to the weights.

Text form, as the command line and the pages write it, one change an item:
`ablate.<expert>=zero|mean`, `pin_gate.<task>.<expert>=0.4`, `gate_temperature=2` or `gate_temperature.<task>=2`,
`edge.<source>:<target>=0`, `hmm.<mode>=default|zero`, `latent.<index>=0`, `replace_shared=true`; before the experts
`feature.<column>=12`, `=*1.2` or `=+50000` in the column's own unit and `feature.<part, group or field>=absent`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ple_model import edits
from ple_model.edits import FeatureEdit, exact
from ple_model.errors import UserError, did_you_mean
from ple_model.schema import FeatureSchema
from ple_model.tasks import HMM_MODES

KINDS = ("ablate", "pin_gate", "gate_temperature", "edge", "hmm", "latent", "replace_shared", "feature")


@dataclass(frozen=True)
class Intervention:
    """The changes of one what-if; empty changes nothing.

    ablate: expert -> 'zero' or 'mean' (the block becomes `mean_blocks[expert]` [D]); pin_gate: task -> expert -> weight, the
    task's other weights fill 1; gate_temperature: factor on the configured temperature; edge_scale: 'source:target' -> factor
    on alpha; hmm: mode -> 'default' or 'zero'; clamp_latent: SAE latent -> value; replace_shared: the SAE's reconstruction
    stands in for shared_concat; features: column, part, group or field -> edit (a number sets a column, text as after the
    equals sign), see `ple_model.edits`. These act before the experts: `edits.edit` the batch, then decode with `after_experts`.
    """

    ablate: Mapping[str, str] = field(default_factory=dict)
    mean_blocks: Mapping[str, Tensor] = field(default_factory=dict)
    pin_gate: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gate_temperature: float | Mapping[str, float] = 1.0
    edge_scale: Mapping[str, float] = field(default_factory=dict)
    hmm: Mapping[str, str] = field(default_factory=dict)
    clamp_latent: Mapping[int, float] = field(default_factory=dict)
    replace_shared: bool = False
    features: Mapping[str, FeatureEdit | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", {n: FeatureEdit.of(e, f"feature.{n}") for n, e in self.features.items()})
        for expert, how in self.ablate.items():
            if how not in ("zero", "mean"):
                raise UserError(f"ablate.{expert}: {how!r} is not valid{did_you_mean(how, ('zero', 'mean'))}")
        for mode, how in self.hmm.items():
            if mode not in HMM_MODES:
                raise UserError(f"hmm.{mode}: no such mode{did_you_mean(mode, HMM_MODES)}")
            if how not in ("default", "zero"):
                raise UserError(f"hmm.{mode}: {how!r} is not valid{did_you_mean(how, ('default', 'zero'))}")
        many = self.gate_temperature
        for t in many.values() if isinstance(many, Mapping) else (many,):
            if not (t > 0 and math.isfinite(t)):
                raise UserError(f"gate_temperature: {t!r} is not valid, it must be positive")

    @property
    def empty(self) -> bool:
        """True if nothing is changed."""
        return not self.to_strings()

    @property
    def feature_edits(self) -> dict[str, FeatureEdit]:
        """`features` as they were understood."""
        return {n: FeatureEdit.of(e) for n, e in self.features.items()}

    @property
    def after_experts(self) -> Intervention:
        """The same without the feature edits: what is left to do once the edited customers are encoded."""
        return replace(self, features={}) if self.features else self

    def to_strings(self) -> list[str]:
        """The text form; `Intervention.parse` reads it back (mean blocks are the caller's to give)."""
        out = [f"ablate.{e}={how}" for e, how in self.ablate.items()]
        out += [f"pin_gate.{t}.{e}={exact(w)}" for t, ws in self.pin_gate.items() for e, w in ws.items()]
        if isinstance(self.gate_temperature, Mapping):
            out += [f"gate_temperature.{t}={exact(v)}" for t, v in self.gate_temperature.items()]
        elif self.gate_temperature != 1.0:
            out.append(f"gate_temperature={exact(self.gate_temperature)}")
        out += [f"edge.{e}={exact(v)}" for e, v in self.edge_scale.items()]
        out += [f"hmm.{m}={how}" for m, how in self.hmm.items()]
        out += [f"latent.{i}={exact(v)}" for i, v in self.clamp_latent.items()]
        out += ["replace_shared=true"] if self.replace_shared else []
        return out + [f"feature.{n}={e}" for n, e in self.feature_edits.items()]

    def describe(self) -> str:
        """One sentence, for pages and reports."""
        said = [f"expert {e} replaced by {'zeros' if how == 'zero' else 'its mean'}" for e, how in self.ablate.items()]
        said += [f"gate of {t} pinned to {w:g} for {e}" for t, ws in self.pin_gate.items() for e, w in ws.items()]
        if isinstance(self.gate_temperature, Mapping):
            said += [f"gate temperature of {t} times {v:g}" for t, v in self.gate_temperature.items()]
        elif self.gate_temperature != 1.0:
            said.append(f"gate temperature times {self.gate_temperature:g}")
        for e, v in self.edge_scale.items():
            arrow = e.replace(":", " -> ")
            said.append(f"transfer {arrow} cut" if v == 0 else f"transfer {arrow} times {v:g}")
        said += [f"HMM {m} replaced by {'zeros' if how == 'zero' else 'its default embedding'}" for m, how in self.hmm.items()]
        said += [f"latent {i} set to {v:g}" for i, v in self.clamp_latent.items()]
        said += ["shared representation replaced by its SAE reconstruction"] if self.replace_shared else []
        said += [e.describe(n) for n, e in self.feature_edits.items()]
        return "; ".join(said) if said else "no change"

    def check(
        self, experts: Iterable[str], tasks: Iterable[str], edges: Iterable[str], n_latents: int,
        schema: FeatureSchema | None = None,
    ) -> None:  # fmt: skip
        """`UserError` if it names something that this model does not have (`n_latents` 0: no SAE; `schema`: its columns)."""
        experts, tasks, edges = list(experts), list(tasks), list(edges)
        for e, how in self.ablate.items():
            if e not in experts:
                raise UserError(f"ablate.{e}: no such expert{did_you_mean(e, experts)}")
            if how == "mean" and e not in self.mean_blocks:
                raise UserError(f"ablate.{e}=mean: no mean block of '{e}' was given")
        for t, ws in self.pin_gate.items():
            if t not in tasks:
                raise UserError(f"pin_gate.{t}: no such task{did_you_mean(t, tasks)}")
            for e in ws:
                if e not in experts:
                    raise UserError(f"pin_gate.{t}.{e}: no such expert{did_you_mean(e, experts)}")
        for t in self.gate_temperature if isinstance(self.gate_temperature, Mapping) else ():
            if t not in tasks:
                raise UserError(f"gate_temperature.{t}: no such task{did_you_mean(t, tasks)}")
        for edge in self.edge_scale:
            if edge not in edges:
                raise UserError(f"edge.{edge}: no such transfer edge{did_you_mean(edge, edges)}")
        if (self.clamp_latent or self.replace_shared) and n_latents == 0:
            raise UserError("latent and replace_shared need a model with an SAE: sae.enabled is false in this one")
        for i in self.clamp_latent:
            if not 0 <= i < n_latents:
                raise UserError(f"latent.{i}: no such latent, valid: 0 to {n_latents - 1}")
        edits.check(self.feature_edits, schema)

    @staticmethod
    def parse(items: Iterable[str], mean_blocks: Mapping[str, Tensor] | None = None) -> Intervention:
        """From the text form; `UserError` names the item that is not understood."""
        ablate: dict[str, str] = {}
        pin: dict[str, dict[str, float]] = {}
        temperature: float | dict[str, float] = 1.0
        edges: dict[str, float] = {}
        hmm: dict[str, str] = {}
        latents: dict[int, float] = {}
        replace_shared = False
        features: dict[str, FeatureEdit] = {}
        for item in items:
            name, eq, value = (part.strip() for part in item.partition("="))
            kind, _, rest = name.partition(".")
            if kind not in KINDS:
                raise UserError(f"intervention {item!r}: unknown kind '{kind}'{did_you_mean(kind, KINDS)}")
            if not eq or not value or (not rest and kind not in ("gate_temperature", "replace_shared")):
                raise UserError(f"intervention {item!r}: expected for example ablate.temporal=zero or edge.ctr:cvr=0")
            if kind == "ablate":
                ablate[rest] = value
            elif kind == "hmm":
                hmm[rest] = value
            elif kind == "replace_shared":
                if value not in ("true", "false"):
                    raise UserError(f"intervention {item!r}: {value!r} is not valid{did_you_mean(value, ('true', 'false'))}")
                replace_shared = value == "true"
            elif kind == "feature":
                features[rest] = FeatureEdit.of(value, f"intervention {item!r}")
            elif kind == "pin_gate":
                task, dot, expert = rest.partition(".")
                if not dot:
                    raise UserError(f"intervention {item!r}: expected pin_gate.<task>.<expert>=<weight>")
                pin.setdefault(task, {})[expert] = _number(item, value)
            elif kind == "edge":
                edges[rest] = _number(item, value)
            elif kind == "latent":
                if not rest.isdigit():
                    raise UserError(f"intervention {item!r}: {rest!r} is not a latent's number")
                latents[int(rest)] = _number(item, value)
            elif not rest:
                temperature = _number(item, value)
            else:
                temperature = {**(temperature if isinstance(temperature, dict) else {}), rest: _number(item, value)}
        return Intervention(ablate, mean_blocks or {}, pin, temperature, edges, hmm, latents, replace_shared, features)


def _number(item: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as e:
        raise UserError(f"intervention {item!r}: {text!r} is not a number") from e
    if not math.isfinite(value):
        raise UserError(f"intervention {item!r}: {text!r} is not a finite number")
    return value
