"""What a shared expert is: it declares the input fields it reads and maps them to [B, output_dim], row by row.

Fallback (reference, "Zero Fallback"): a row for which **all** fields of `reads` are absent gets a zero output; with some
absent, `encode` works on the rest (an absent field is `None` for the batch, or zero in that row).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.reads import read_in


@dataclass(frozen=True)
class ExpertAux:
    """Beside an expert's output: scalar losses (already multiplied by their coefficients) and named internals [B, ...]."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    internals: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpertParams:
    """Base of an expert's own config section; each field carries its help text in `metadata["help"]`."""

    output_dim: int = field(default=64, metadata={"help": "Width of the expert's output block in shared_concat."})


class Expert(nn.Module, ABC):
    """A shared expert. Subclasses set `name`, `reads`, `Params`, build layers in `__init__` and implement `encode`."""

    name: ClassVar[str]
    reads: tuple[str, ...]
    """Input fields, `features:<part>` for parts of `features`. A class declares it for the package's columns; an instance reads
    the same of its context's (`reads.read_in`)."""
    title: ClassVar[str]
    reference_parameters: ClassVar[int]
    """The reference's estimate of the parameter count at the default preset."""
    Params: ClassVar[type[ExpertParams]] = ExpertParams

    def __init__(self, params: Any, context: ModelContext, dropout: float) -> None:
        super().__init__()
        self.params = params
        self.reads = read_in(type(self).reads, context)
        self.n_normalized = context.n_normalized
        self.output_dim: int = params.output_dim

    @abstractmethod
    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        """Output [B, output_dim] for every row, before the fallback, and what goes with it.

        Auxiliary losses must leave out rows for which nothing is present (`self.present(inputs)`)."""

    @abstractmethod
    def last_layer(self) -> nn.Linear:
        """The last trained linear layer: adaTT takes task gradients at its parameters."""

    def present(self, inputs: PLEClusterInput) -> Tensor:
        """[B] bool: rows for which at least one field of `reads` is there."""
        return inputs.any_present(self.reads)

    def forward(self, inputs: PLEClusterInput) -> tuple[Tensor, Tensor, ExpertAux]:
        """(output [B, output_dim] with zeros on fallback rows, present [B] bool, aux)."""
        present = self.present(inputs)
        out, aux = self.encode(inputs)
        # where, not a product: a NaN produced for an absent row must not leak into the output or its gradient
        return torch.where(present[:, None], out, torch.zeros_like(out)), present, aux
