"""Checks of the sparse autoencoder: does the dictionary describe the model at all?"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from analysis.stats.sae import SaeStats


def _sae(s: Statistics, t: Thresholds) -> SaeStats:
    if s.sae is None:
        raise NotMeasured("The model has no sparse autoencoder, or it was not measured.")
    need_rows(s.sae.n, t)
    return s.sae


@check("SAE-DEAD", "Most latents are alive.", "sae.density")
def dead(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Latents that never fire."""
    x = _sae(s, t)
    if x.dead_share >= t.sae_dead:
        old = float(s.facts.get("sae.l1_lambda", 0.001))
        yield Finding(
            "SAE-DEAD",
            "warning",
            "sae",
            f"{x.dead_share:.0%} of the {len(x.active)} latents never fire.",
            (Evidence("dead latents", x.dead_share, t.sae_dead, x.n), Evidence("L0", x.l0, None, x.n)),
            "sae.density",
            "Too much sparsity pressure, or latents that lost the competition early.",
            Fix(
                "sae.activation",
                s.facts.get("sae.activation", "relu"),
                "topk",
                "Use TopK with its auxiliary loss for dead latents.",
            )
            if s.facts.get("sae.activation", "relu") == "relu" and old <= 0.001
            else Fix("sae.l1_lambda", old, old / 2, "Lower the L1 coefficient."),
        )


@check("SAE-DENSE", "Most latents are sparse.", "sae.density")
def dense(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Latents that fire in more than a tenth of the rows. Under ReLU with the reference's small L1 this is the usual state."""
    x = _sae(s, t)
    share = x.dense_share()
    if share >= t.sae_dense:
        relu = s.facts.get("sae.activation", "relu") == "relu"
        old = float(s.facts.get("sae.l1_lambda", 0.001))
        yield Finding(
            "SAE-DENSE",
            "info" if relu else "warning",
            "sae",
            f"{share:.0%} of the latents fire in more than 10 % of rows: they name no concept.",
            (Evidence("dense latents", share, t.sae_dense, x.n), Evidence("L0", x.l0, None, x.n)),
            "sae.density",
            "The L1 coefficient is small beside the reconstruction term."
            if relu
            else "k is large beside the number of latents.",
            Fix("sae.l1_lambda", old, 10 * old, "Raise the L1 coefficient, or use TopK.")
            if relu
            else Fix("sae.k", s.facts.get("sae.k", 32), max(1, int(s.facts.get("sae.k", 32)) // 2), "Lower k."),
        )


@check("SAE-LOW-FVE", "The autoencoder explains most of the shared representation.", "sae.density")
def low_fve(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Fraction of variance explained (the mean predictor scores 0)."""
    x = _sae(s, t)
    if not x.fve >= t.sae_fve:
        yield Finding(
            "SAE-LOW-FVE",
            "warning",
            "sae",
            f"The autoencoder explains {x.fve:.0%} of the variance: its latents do not describe this model.",
            (
                Evidence("fraction of variance explained", x.fve, t.sae_fve, x.n),
                Evidence("mean squared error", x.mse, None, x.n),
            ),
            "sae.density",
            "It is too sparse, too small, or not trained long enough.",
            Fix(
                "sae.learning_rate",
                s.facts.get("sae.learning_rate", 1e-3),
                3 * float(s.facts.get("sae.learning_rate", 1e-3)),
                "Train it faster or longer.",
            ),
            ("replace_shared=true",),
        )
