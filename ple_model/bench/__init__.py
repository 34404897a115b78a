"""Benchmarks: each keeps the slow, plain form beside the fast one, checks that both say the same, then measures the ratio.

`ple bench` runs them. Machines differ and are noisy, so no number stands alone: a ratio is the median of rounds in which both
forms ran in turn, in one process, with the same threads. Nothing fails for being slow; a difference in the results does fail.
"""
