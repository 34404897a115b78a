"""`Series`: a batch of multivariate series with what of them was seen, and how it is read out of a batch of customers.

A step without events is a value (zero); a step that is absent (before the customer's first day, a day without a delivery, the
rest of a shorter series) is none, and `seen` says so. Nothing downstream reads the values of absent steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ple_model.batch import PLEClusterInput
from ple_model.errors import UserError, did_you_mean
from ple_model.layers.liquid import running_max

SEQUENCE_FIELDS: tuple[str, ...] = ("txn_seq", "session_seq")
"""Input fields of a dataset that are series."""


@dataclass(frozen=True)
class Series:
    """values [B, L, C] float, oldest step first, 0 where not seen; seen [B, L] bool."""

    values: Tensor
    seen: Tensor

    def __post_init__(self) -> None:
        if self.values.dim() != 3 or self.seen.shape != self.values.shape[:2]:
            shapes = f"values {tuple(self.values.shape)}, seen {tuple(self.seen.shape)}"
            raise UserError(f"a series has values [B, L, C] and seen [B, L]; these are {shapes}")

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @staticmethod
    def whole(values: Tensor) -> Series:
        """Every step of `values` [B, L, C] was seen."""
        return Series(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    @staticmethod
    def ragged(values: list[Tensor]) -> Series:
        """Series [L_i, C] of different lengths, aligned at their last step."""
        longest = max(v.shape[0] for v in values)
        padded = torch.stack([functional.pad(v, (0, 0, longest - v.shape[0], 0)) for v in values])
        lengths = torch.tensor([v.shape[0] for v in values], device=padded.device)
        steps = torch.arange(longest, device=padded.device)
        return Series(padded, steps >= longest - lengths[:, None])

    def rows(self, index: Tensor | slice) -> Series:
        return Series(self.values[index], self.seen[index])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Series:
        return Series(self.values.to(device=device, dtype=dtype), self.seen.to(device=device))

    def fitted(self, length: int) -> Series:
        """The last `length` steps; a shorter series is preceded by absent ones."""
        missing = length - self.values.shape[1]
        if missing > 0:
            return Series(functional.pad(self.values, (0, 0, missing, 0)), functional.pad(self.seen, (missing, 0)))
        return Series(self.values[:, -length:], self.seen[:, -length:]) if missing else self


def series_of(inputs: PLEClusterInput, field: str) -> Series:
    """The series in a batch's `txn_seq` or `session_seq`.

    A row's steps are seen from the first one with an event in the window on. What comes before it counts as absent: the field
    does not tell a customer who was not there yet from a known one who was quiet at the window's start. A row without the
    field, or without any event in it, has no seen step. `UserError` where the batch has no such field.
    """
    if field not in SEQUENCE_FIELDS:
        raise UserError(f"no sequence field '{field}'{did_you_mean(field, SEQUENCE_FIELDS)}")
    values: Tensor | None = getattr(inputs, field)
    if values is None:
        raise UserError(f"the dataset has no field '{field}': there is no series to read")
    here = inputs.present(field)
    begun = running_max((values != 0).any(dim=2).long()).bool()
    seen = begun & here[:, None]
    return Series(torch.where(seen[..., None], values, torch.zeros_like(values)), seen)
