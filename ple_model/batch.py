"""`PLEClusterInput`: everything the model reads for a batch of customers (model.md section 2; reference, "PLEClusterInput").

Optional fields may be absent for the whole batch (`None`) or for single rows. `presence` decides; only where a field has no
entry there is an all-zero row taken for absent. Presence keys are field names and, for parts of `features`,
`features:<part>` with the part names of `feature_schema.yaml` (for example `features:overseas`); `task:<task>` says for which
rows a task is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES
from ple_model.presence import task_key
from ple_model.schema import PART_SLICES


@dataclass(frozen=True)
class PLEClusterInput:
    """One batch. Shapes without the leading B are in `FIELD_SHAPES`; masks are bool, ids and segments int64."""

    features: Tensor
    cluster_ids: Tensor
    cluster_probs: Tensor | None = None
    hyperbolic_features: Tensor | None = None
    hierarchy_features: Tensor | None = None
    tda_features: Tensor | None = None
    tda_short_diagrams: Tensor | None = None
    tda_short_mask: Tensor | None = None
    tda_long_diagrams: Tensor | None = None
    tda_long_mask: Tensor | None = None
    tda_global_stats: Tensor | None = None
    tda_phase_transition: Tensor | None = None
    hmm_journey: Tensor | None = None
    hmm_lifecycle: Tensor | None = None
    hmm_behavior: Tensor | None = None
    txn_seq: Tensor | None = None
    session_seq: Tensor | None = None
    collaborative_features: Tensor | None = None
    customer_segment: Tensor | None = None
    coldstart_features: Tensor | None = None
    anonymous_features: Tensor | None = None
    targets: Mapping[str, Tensor] | None = None
    presence: Mapping[str, Tensor] | None = None
    taught: Mapping[str, Tensor] | None = None
    """What a teacher says of these rows (`distill.lessons`), in a training that learns from one."""
    parts: Mapping[str, slice] = field(default_factory=lambda: PART_SLICES, repr=False)
    """Columns of each part of `features`: those of the bundled schema, or of the table that the rows came from."""

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def rows_held(self) -> int:
        """As `len`, for the way through the model: in a graph that is being exported it is no number but that of any batch."""
        return self.features.shape[0]

    @property
    def width(self) -> int:
        """Columns that `features` should have."""
        return max((where.stop for where in self.parts.values()), default=0)

    @property
    def device(self) -> torch.device:
        return self.features.device

    def map(self, fn: Callable[[Tensor], Tensor]) -> PLEClusterInput:
        """The same batch with `fn` applied to every tensor, nested ones included."""
        changed: dict[str, object] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                changed[f.name] = fn(value)
            elif isinstance(value, Mapping) and f.name != "parts":
                changed[f.name] = {k: fn(v) for k, v in value.items()}
        return replace(self, **changed)  # type: ignore[arg-type]

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, *, non_blocking: bool = False
    ) -> PLEClusterInput:
        """Move to `device`; `dtype` applies to floating-point fields only (targets keep theirs)."""

        def move(t: Tensor) -> Tensor:
            target = dtype if dtype is not None and t.is_floating_point() else None
            return t.to(device=device, dtype=target, non_blocking=non_blocking)

        moved = self.map(move)
        if dtype is not None and self.targets is not None:
            moved = replace(moved, targets={k: v.to(device=device) for k, v in self.targets.items()})
        return moved

    def rows(self, index: Tensor | slice) -> PLEClusterInput:
        """The sub-batch of these rows."""
        return self.map(lambda t: t[index])

    def present(self, field: str) -> Tensor:
        """[B] bool: does each row have `field`? It may be `features:<part>`, which is present unless said otherwise."""
        if self.presence is not None and field in self.presence:
            return self.presence[field]
        base = field.split(":", 1)[0]
        if base not in FIELD_SHAPES:
            raise UserError(f"no input field '{field}'{did_you_mean(field, FIELD_SHAPES)}")
        value: Tensor | None = getattr(self, base)
        if value is None:
            return torch.zeros(self.rows_held, dtype=torch.bool, device=self.device)
        if base in ("features", "cluster_ids", "customer_segment"):
            return torch.ones(self.rows_held, dtype=torch.bool, device=self.device)
        return (value != 0).flatten(1).any(dim=1)

    def defined(self, task: str) -> Tensor:
        """[B] bool: is the task defined for each row? For all rows where the source of the rows does not say."""
        said = None if self.presence is None else self.presence.get(task_key(task))
        return torch.ones(self.rows_held, dtype=torch.bool, device=self.device) if said is None else said

    def any_present(self, names: Sequence[str]) -> Tensor:
        """[B] bool: does each row have at least one of these fields?"""
        found = torch.zeros(self.rows_held, dtype=torch.bool, device=self.device)
        for name in names:
            found = found | self.present(name)
        return found

    def validate(self) -> None:
        """Raise `UserError` naming the first field whose shape or type is impossible."""
        n = len(self)
        for name, shape in FIELD_SHAPES.items():
            value: Tensor | None = getattr(self, name)
            if value is None:
                continue
            expected = (n, *shape) if name != "features" else (n, self.width)
            if name == "cluster_probs":
                expected = (n, value.shape[-1])
            if tuple(value.shape) != expected:
                raise UserError(f"input field '{name}' has shape {tuple(value.shape)}, expected {expected}")
            if name in ("cluster_ids", "customer_segment"):
                if value.is_floating_point() or value.dtype == torch.bool:
                    raise UserError(f"input field '{name}' has dtype {value.dtype}, expected an integer type")
            elif not name.endswith("_mask") and not value.is_floating_point():
                raise UserError(f"input field '{name}' has dtype {value.dtype}, expected a floating-point type")
