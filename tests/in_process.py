"""An engine without processes, for tests of what runs on one; that real ones keep their promises is tests/contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ple_model.engine.base import Shard, Value
from ple_model.errors import UserError


class InProcess:
    """Works on the last shard first; `fails` ("_collect 000") is lost. `ran` notes what was asked."""

    def __init__(self, fails: str = "") -> None:
        self.ran: list[tuple[str, str]] = []
        self.fails = fails

    def run(self, work: Callable[[Shard], Value], shards: Mapping[str, Shard]) -> Iterator[tuple[str, Value]]:
        for name in reversed(shards):  # no result may depend on the order
            if f"{work.__name__} {name}" == self.fails:
                raise UserError(f"shard {name}: lost")
            self.ran.append((work.__name__, name))
            yield name, work(shards[name])
