"""What an engine promises; both keep the same contract test (tests/contracts/test_engines.py).

* Every shard is worked on once, or again where its process died: at most `RETRIES` times more. A function that writes its
  result whole or not at all gives the same bytes whichever attempt ended.
* A shard that raises is not tried again: the same input raises again. No further shard is begun, those in progress come to
  their end (their results are kept), then `UserError` names the shard; what is no `UserError` keeps its own type and is given
  the shard's name as a note.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from ple_model.errors import UserError

Shard = TypeVar("Shard")
Value = TypeVar("Value")

ENGINES = ("local", "ray")
RETRIES = 3
"""How often a shard is begun again whose process died."""


class ShardDied(UserError):
    """Every process that worked on a shard died."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


class ShardEngine(Protocol):
    """Works on shards."""

    def run(
        self, work: Callable[[Shard], Value], shards: Mapping[str, Shard], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Value]]:
        """(name, `work(shard)`) of each shard as it ends. `work` is a function of a module: another process imports it. Once
        `stopped()` no further shard is begun; those in progress come to their end."""
        ...

    def at_once(self) -> int:
        """Shards that are worked on at a time."""
        ...


def said(name: str, error: BaseException) -> BaseException:
    """The error of a shard, with its name."""
    if isinstance(error, UserError):
        told = copy.copy(error)  # of its own kind: a full disk stays one
        told.args = (f"shard {name}: {error}",)
        return told
    error.add_note(f"in shard {name}")
    return error


def portable(error: BaseException) -> BaseException:
    """The error as it can be sent to another process, where it came from as a note (a traceback is not sent)."""
    where = "".join(traceback.format_exception(error))
    try:
        sent: BaseException = copy.copy(error)  # made anew of what is sent of it
    except Exception:
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(where)
    return sent


def died(name: str) -> ShardDied:
    """A shard whose every process died; a stage that goes on otherwise than by the same command says so in its place."""
    return ShardDied(
        f"shard {name}: the process that worked on it died {RETRIES + 1} times; it may need more memory than there is: give"
        " fewer workers or smaller shards. Finished shards are kept: the same command goes on with the rest"
    )
