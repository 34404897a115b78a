"""Sparse autoencoder: density of latents on a logarithmic scale, and one latent's page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import plotly.graph_objects as go

from analysis.figures.gates import histogram
from analysis.figures.registry import Drawing, reported
from analysis.figures.style import bars
from analysis.results.latents import LatentPage
from analysis.stats.run import Statistics
from analysis.stats.sae import SaeStats


def density(stats: SaeStats) -> go.Figure:
    """log10 density of the living latents; the dotted line marks dense latents (10 % of rows)."""
    alive = stats.density[stats.density > 0]
    low = -np.log10(max(stats.n, 10)) - 0.1
    counts, edges = np.histogram(np.log10(alive), bins=40, range=(low, 0.0))
    out = histogram(edges, counts, "log10 of the share of rows")
    out.update_yaxes(title_text="latents")
    out.add_vline(x=-1.0, line={"dash": "dot", "width": 1})
    return out


def activation(page: LatentPage) -> go.Figure:
    """Activations of one latent where it is active."""
    return histogram(page.edges, page.histogram.astype(np.float64), "activation")


def effects(page: LatentPage, scale: dict[str, float]) -> go.Figure:
    """Effect of one latent on each task where it is active, in spreads of the task's prediction (`scale`)."""
    found = {t: v / scale[t] for t, v in page.effects.items() if scale.get(t, 0) > 0}
    order = sorted(found, key=lambda t: -abs(found[t]))
    out = bars(order, {"effect": [found[t] for t in order]}, x_title="spreads of the prediction")
    out.update_layout(showlegend=False)
    return out


def lift(values: dict[str, float]) -> go.Figure:
    """How much more often a latent is active in each group than overall; 1 is no difference."""
    known = {k: v for k, v in values.items() if np.isfinite(v)}
    order = sorted(known, key=lambda k: -known[k])[:20]
    out = bars(order, {"lift": [known[k] for k in order]}, x_title="times as often as overall")
    out.update_layout(showlegend=False)
    out.add_vline(x=1.0, line={"dash": "dot", "width": 1})
    out.update_yaxes(type="category")  # clusters are numbers, but names here
    return out


def experts(page: LatentPage) -> go.Figure:
    """Which experts the latent's decoder direction writes to."""
    order = sorted(page.experts, key=lambda e: -page.experts[e])
    out = bars(order, {"share": [page.experts[e] for e in order]}, x_title="share of the decoder direction", percent=True)
    out.update_layout(showlegend=False)
    return out


@reported(50)
def _of_latents(s: Statistics) -> Iterator[Drawing]:
    if s.sae is not None and s.sae.n:
        yield "Density of SAE latents", partial(density, s.sae)
