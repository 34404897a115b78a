"""What a shared expert is: it declares the input fields it reads and maps them to [B, output_dim], row by row.

Fallback (reference, "Zero Fallback"): a row for which **all** fields of `reads` are absent gets a zero output; with some
absent, `encode` works on the rest (an absent field is `None` for the batch, or zero in that row).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.params import ExpertParams, require_valid
from ple_model.experts.reads import read_in

__all__ = ["Expert", "ExpertAux", "ExpertParams", "ReferenceSize", "require_valid"]


@dataclass(frozen=True)
class ExpertAux:
    """Beside an expert's output: scalar losses (already multiplied by their coefficients) and named internals [B, ...].

    means: for each loss that is a mean over rows their number; a loss that is not in it depends on weights alone."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    internals: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ReferenceSize:
    """What the technical reference says of an expert's size at its default widths."""

    parameters: int
    """Its estimate of the parameter count."""
    why: str = ""
    """Why ours is more than a third away from it, as a sentence; empty where it is not."""


class Expert(nn.Module, ABC):
    """A shared expert, all of it in one file: what it is called and reads, its parameters and their rules, its layers.

    A subclass sets `name`, `title`, `reads` and `Params`, builds its layers in `__init__`, and implements `encode` and
    `last_layer`. Its file stands in `ple_model/experts`, where `registry` finds it; `shared_experts.<name>: {}` in a
    configuration switches it on. Summaries, explanations, statistics, checks and pages know it by what the class says."""

    name: ClassVar[str]
    title: ClassVar[tuple[str, str]]
    """What it stands for in a few words, for a reviewer who reads an explanation: English, Korean."""
    reads: tuple[str, ...]
    """Input fields, `features:<part>` for parts of `features`. A class declares it for the package's columns; an instance reads
    the same of its context's (`reads.read_in`)."""
    stands_in: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """A field that is read only in rows where these others are absent."""
    reference: ClassVar[ReferenceSize | None] = None
    """The reference's estimate; None for an expert that it does not know."""
    Params: ClassVar[type[ExpertParams]] = ExpertParams

    def __init__(self, params: Any, context: ModelContext, dropout: float) -> None:
        super().__init__()
        require_valid(self.name, params)
        self.params = params
        self.reads = read_in(type(self).reads, context)
        self.n_normalized = context.n_normalized
        self.output_dim: int = params.output_dim

    @abstractmethod
    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        """Output [B, output_dim] for every row, before the fallback, and what goes with it.

        Auxiliary losses must leave out rows for which nothing is present (`self.present(inputs)`), and those that are means
        over rows stand in `ExpertAux.means`: a batch may be shared out among processes."""

    @abstractmethod
    def last_layer(self) -> nn.Linear:
        """The last trained linear layer: adaTT takes task gradients at its parameters."""

    def set_trainable(self, on: bool) -> None:
        """Whether the expert's parameters train; a part that never does stays as it is."""
        for p in self.parameters():
            p.requires_grad_(on)

    def present(self, inputs: PLEClusterInput) -> Tensor:
        """[B] bool: rows for which at least one field of `reads` is there."""
        return inputs.any_present(self.reads)

    def forward(self, inputs: PLEClusterInput) -> tuple[Tensor, Tensor, ExpertAux]:
        """(output [B, output_dim] with zeros on fallback rows, present [B] bool, aux)."""
        present = self.present(inputs)
        out, aux = self.encode(inputs)
        # where, not a product: a NaN produced for an absent row must not leak into the output or its gradient
        return torch.where(present[:, None], out, torch.zeros_like(out)), present, aux
