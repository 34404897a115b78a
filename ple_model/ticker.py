"""How far something is, on stderr, so that stdout stays what a program reads: one changing line in a terminal.

`heard` is a program that runs the command and wants to know too (`ple_model.commands.listener`); it hears of everything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

Heard = Callable[[str, float], None]
WIDTH = 30
"""Characters of a full bar."""


def live() -> bool:
    """Whether a person watches."""
    return sys.stderr.isatty()


def rewrite(text: str, *, last: bool) -> None:
    """Over the line that stands there; the last one stays."""
    print(f"\r\033[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)


def counter(what: str, *, quiet: bool = False, heard: Heard | None = None) -> Callable[[int, int], None]:
    """So many of so many; silent where nobody watches."""

    def show(done: int, total: int) -> None:
        if heard is not None:
            heard(what, done / total)
        if live() and not quiet:
            rewrite(f"{done:,} of {total:,} {what}", last=done >= total)

    return show


def share_of(
    what: str = "", *, lines: bool = False, quiet: bool = False, heard: Heard | None = None
) -> Callable[[float, str], None]:
    """The share that is done and what is being done; where nobody watches a line a finished part if `lines`, else nothing."""

    def show(share: float, doing: str) -> None:
        if heard is not None:
            heard(what, share)
        said = f"{what} {share:4.0%} {doing}" if what else f"{share:4.0%} {doing}"
        if live() and not quiet:
            rewrite(said, last=share >= 1)
        elif lines and not quiet and (doing.endswith(" done") or share == 0):
            print(said, file=sys.stderr, flush=True)

    return show


def bar(*, quiet: bool = False, heard: Heard | None = None) -> Callable[[str, float], None]:
    """The steps of something long: a bar in a terminal, a line a finished step elsewhere."""

    def show(step: str, share: float) -> None:
        if heard is not None:
            heard(step, share)
        if live() and not quiet:
            filled = int(WIDTH * share)
            rewrite(f"{step:<10} [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}", last=share >= 1)
        elif share >= 1 and not quiet:
            print(f"{step} done", file=sys.stderr, flush=True)

    return show
