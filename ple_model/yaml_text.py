"""YAML that a person or a stranger wrote, read within bounds: any text gives plain values or one sentence.

PyYAML's safe loader runs no code, but its constructors raise whatever the text provokes (a date of month 99, `!!float x`, an
integer of 5,000 digits), its composer is recursive, and aliases of aliases stand for more nodes than any memory holds. Size,
depth and number of nodes are therefore counted on the stream of events first, which needs neither recursion nor memory.
"""

from __future__ import annotations

from typing import Any

import yaml

from ple_model.errors import UserError

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Plain values only, whichever of the two."""
MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 40
"""Nesting; a config has six levels."""
MAX_NODES = 100_000
"""Values, aliases followed; a config has some hundreds."""

BROKEN = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What PyYAML raises on a text that is no YAML, or whose tag does not fit its value."""


def parse_yaml(text: str, where: str) -> Any:
    """The plain value of `text`; `UserError` that begins with `where` if it is not valid YAML or beyond the bounds."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{where}: {len(text):,} characters of YAML, at most {MAX_CHARACTERS:,} are read")
    try:
        _bounded(text, where)
        return yaml.load(text, Loader=LOADER)
    except BROKEN as e:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(e).split())[:300] or type(e).__name__}") from e


def _bounded(text: str, where: str) -> None:
    """Depth, and nodes with each alias counted as the nodes it stands for."""
    total, open_, sizes = 0, [], {}  # type: int, list[tuple[str | None, int]], dict[str, int]
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise UserError(f"{where}: the alias '*{event.anchor}' stands for nothing that is complete before it")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.ScalarEvent):
                if event.anchor is not None:
                    sizes[event.anchor] = 1
            else:
                open_.append((event.anchor, total - 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        if len(open_) > MAX_DEPTH:
            raise UserError(f"{where}: nested more than {MAX_DEPTH} deep")
        if total > MAX_NODES:
            raise UserError(f"{where}: more than {MAX_NODES:,} values")
