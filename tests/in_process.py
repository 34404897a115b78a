"""An engine without processes, for tests of what runs on one; that real ones keep their promises is tests/contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ple_model.engine.base import Shard, Value, never
from ple_model.errors import UserError


class InProcess:
    """Works on the last shard first; `fails` ("_collect 000") is lost. `ran` notes what was asked; as if `slots` at a time."""

    def __init__(self, fails: str = "", slots: int = 2) -> None:
        self.ran: list[tuple[str, str]] = []
        self.fails, self.slots = fails, slots

    def at_once(self) -> int:
        return self.slots

    def run(
        self, work: Callable[[Shard], Value], shards: Mapping[str, Shard], stopped: Callable[[], bool] = never
    ) -> Iterator[tuple[str, Value]]:
        for name in reversed(shards):  # no result may depend on the order
            if stopped():
                return
            if f"{work.__name__} {name}" == self.fails:
                raise UserError(f"shard {name}: lost")
            self.ran.append((work.__name__, name))
            yield name, work(shards[name])
