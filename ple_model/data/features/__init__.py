"""The feature columns: their declarations by part, the relations they aggregate, and the SQL that builds them."""

from ple_model.data.features.compute import compute_features
from ple_model.data.features.market import Market, fit_market

__all__ = ["Market", "compute_features", "fit_market"]
