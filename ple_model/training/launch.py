"""How this process was started: by itself, or as one of several by `torchrun`, which says so in the environment.

Without torch: the command line asks before it loads anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ple_model.errors import UserError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """Process `rank` of `world`, both over all machines; `local_rank` of `local_world` on this one."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def first(self) -> bool:
        """The one that speaks and writes."""
        return self.rank == 0

    @property
    def command(self) -> list[str]:
        """The words that start `ple` as this process was started."""
        if self.world == 1:
            return ["ple"]
        machines = self.world // max(self.local_world, 1)
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "HOST:PORT"]
        nodes = ["--nnodes", str(machines), *meeting] if machines > 1 else []
        return ["torchrun", *nodes, "--nproc-per-node", str(self.local_world), "-m", "ple_model"]


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """As the environment says: one process unless all of `NAMES` are set. `UserError` where they are no numbers that fit."""
    given = os.environ if environment is None else environment
    if any(name not in given for name in NAMES):
        return Launch()
    values = [given[name] for name in NAMES[:4]]
    if not all(v.isascii() and v.isdigit() and len(v) < 7 for v in values):
        raise UserError(f"the environment's {', '.join(NAMES[:4])} are {', '.join(values)[:100]}: whole numbers are expected")
    rank, world, local_rank, local_world = map(int, values)
    if not (rank < world and local_rank < local_world <= world):
        raise UserError(f"the environment says RANK {rank} of WORLD_SIZE {world}: processes are numbered from 0")
    return Launch(rank, world, local_rank, local_world)


def require_alone(command: str, environment: Mapping[str, str] | None = None) -> None:
    """`UserError` where `torchrun` started several processes of a command that is one process's work."""
    given = os.environ if environment is None else environment
    if "TORCHELASTIC_RUN_ID" in given and launched(given).world > 1:
        raise UserError(f"ple {command} is the work of one process: start it without torchrun, which is for `ple train`")
