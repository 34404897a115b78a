"""PLE-Cluster-adaTT: a multi-task recommender for bank customers, its training and its run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ple_model.model import PLEClusterAdaTT
    from ple_model.run import load_run

__all__ = ["PLEClusterAdaTT", "load_run"]


def __getattr__(name: str) -> Any:
    """Imports on first use: `import ple_model` alone loads neither the model nor the run folder's code."""
    if name == "PLEClusterAdaTT":
        from ple_model.model import PLEClusterAdaTT  # late: torch, for what is asked for

        return PLEClusterAdaTT
    if name == "load_run":
        from ple_model.run import load_run  # late: torch, for what is asked for

        return load_run
    raise AttributeError(f"module 'ple_model' has no attribute '{name}'")
