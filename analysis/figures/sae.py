"""Sparse autoencoder: density of latents on a logarithmic scale."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.figures.gates import histogram
from analysis.stats.sae import SaeStats


def density(stats: SaeStats) -> go.Figure:
    """log10 density of the living latents; the dotted line marks dense latents (10 % of rows)."""
    alive = stats.density[stats.density > 0]
    low = -np.log10(max(stats.n, 10)) - 0.1
    counts, edges = np.histogram(np.log10(alive), bins=40, range=(low, 0.0))
    out = histogram(edges, counts, "log10 of the share of rows where the latent is active")
    out.update_yaxes(title_text="latents")
    out.add_vline(x=-1.0, line={"dash": "dot", "width": 1})
    return out
