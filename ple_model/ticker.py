"""How far something is, on stderr, so that stdout stays what a program reads: one changing line in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable


def live() -> bool:
    """Whether a person watches."""
    return sys.stderr.isatty()


def rewrite(text: str, *, last: bool) -> None:
    """Over the line that stands there; the last one stays."""
    print(f"\r\033[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)


def counter(what: str, *, quiet: bool = False) -> Callable[[int, int], None]:
    """So many of so many; silent where nobody watches."""

    def show(done: int, total: int) -> None:
        if live() and not quiet:
            rewrite(f"{done:,} of {total:,} {what}", last=done >= total)

    return show


def share_of(what: str = "", *, lines: bool = False) -> Callable[[float, str], None]:
    """The share that is done and what is being done; where nobody watches a line a finished part if `lines`, else nothing."""
    lead = f"{what} " if what else ""

    def show(share: float, doing: str) -> None:
        said = f"{lead}{share:4.0%} {doing}"
        if live():
            rewrite(said, last=share >= 1)
        elif lines and (doing.endswith(" done") or share == 0):
            print(said, file=sys.stderr, flush=True)

    return show
