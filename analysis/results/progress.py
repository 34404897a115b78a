"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""(share done in [0, 1], what is being done); raise from it to stop."""
