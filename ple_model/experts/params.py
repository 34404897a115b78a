"""An expert's own section of the configuration; read without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ple_model.arguments import shown
from ple_model.errors import UserError
from ple_model.searchable import SEARCH, OneOf


@dataclass(frozen=True)
class ExpertParams:
    """Base of an expert's own config section. A field's `metadata` holds its help text (`help`) and, where they are not those
    of its kind (`config.BOUNDS`), its least and largest value (`low`, `high`) and what it may be searched over (`search`); a
    rule that needs more than bounds goes into `wrong`."""

    output_dim: int = field(
        default=64, metadata={"help": "Width of the expert's output block in shared_concat.", SEARCH: OneOf((16, 32, 64))}
    )

    def wrong(self) -> Iterator[tuple[str, str]]:
        """(field, what it must be) for each value that gives no expert: `yield "patch", "it must be at most txn_days (30)"`.

        The one hook for rules beyond bounds. Whoever reads a configuration or builds an expert calls it through
        `require_valid`, which names the key and the value."""
        yield from ()


def require_valid(expert: str, params: ExpertParams) -> None:
    """`UserError` with the key, the value and the rule for the first wrong parameter of this expert."""
    for name, rule in params.wrong():
        raise UserError(f"shared_experts.{expert}.{name}: {shown(getattr(params, name))} is not valid, {rule}")
