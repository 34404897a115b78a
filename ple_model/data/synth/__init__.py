"""The synthetic bank: a seeded small economy whose causes act on events only, with the truth written down.

Read `world` (the stage), `people` (traits, life events, regimes), `activity` (visits, purchases, sessions), `bank` (holdings,
campaigns), `side_tables` and `truth`. Customers are made in blocks of `BLOCK`, each from its own generator seeded by (seed,
block number): the first N customers are the same however many are asked for, and memory does not grow with their number.
"""

from __future__ import annotations

from ple_model.data.synth.event_tables import Block
from ple_model.data.synth.generate import BLOCK, generate, simulate_block

__all__ = ["BLOCK", "Block", "generate", "simulate_block"]
