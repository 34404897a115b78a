"""Rows at hand against `preprocess/consistency.npz`: which input no longer goes with the rest of its row, and why.

An input whose skill is lost drags down those that it helps to tell. So the worst one is taken out, the others are told again
without it, until none is suspect: what is left out is what is wrong. Correlations are used, not errors, so that a population
that moved as a whole (which is drift) is not taken for one that was joined wrongly.
"""

from analysis.consistency.rows import measure
from analysis.consistency.silent import silences

__all__ = ["measure", "silences"]
