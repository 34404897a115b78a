"""Errors a person can act on: each names the file, field or key, the value that arrived and the nearest valid one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong use or bad input. The command line prints the message as one line on stderr and exits with 2."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `options`, else the list of them (shortened), ready to append to a sentence."""
    choices = sorted(set(options))
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    shown = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
    return f"; valid: {shown}" if choices else ""
