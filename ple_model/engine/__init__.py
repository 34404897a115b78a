"""One list of shards, worked on wherever there are processes: those of this machine, or of a Ray cluster.

A stage of the work is a function of one shard (what to read and where to write, by path) that returns a small value. An engine
runs it for every shard, in any order, and gives the values back as they come; what is done with them must not depend on the
order. `--engine local` is the default and needs nothing; `--engine ray` needs the extra `cluster` (docs/scale.md).
"""

from ple_model.engine.base import ENGINES, RETRIES, ShardDied, ShardEngine
from ple_model.engine.choose import WORKERS, engine_if_asked, engine_name, open_engine

__all__ = ["ENGINES", "RETRIES", "WORKERS", "ShardDied", "ShardEngine", "engine_if_asked", "engine_name", "open_engine"]
