"""The input fields of a batch by name and shape, for readers of files that never load torch."""

from __future__ import annotations

N_FEATURES = 734
N_NORMALIZED = 644
SEGMENTS = ("anonymous", "cold_start", "warm_start", "dormant")
"""By id. A model has parameters for the first two alone; runs from before there was a dormant segment have ids 0 to 2."""

NO_CUTOFF = "1970-01-01"
"""Cut-off of the rows of a table that has none."""

FIELD_SHAPES: dict[str, tuple[int, ...]] = {
    "features": (N_FEATURES,),
    "cluster_ids": (),
    "cluster_probs": (20,),
    "hyperbolic_features": (20,),
    "hierarchy_features": (20,),
    "tda_features": (70,),
    "tda_short_diagrams": (200, 3),
    "tda_short_mask": (200,),
    "tda_long_diagrams": (150, 3),
    "tda_long_mask": (150,),
    "tda_global_stats": (30,),
    "tda_phase_transition": (10,),
    "hmm_journey": (16,),
    "hmm_lifecycle": (16,),
    "hmm_behavior": (16,),
    "txn_seq": (180, 16),
    "session_seq": (90, 8),
    "collaborative_features": (64,),
    "customer_segment": (),
    "coldstart_features": (40,),
    "anonymous_features": (15,),
}
"""Shape of one row of each field. `cluster_probs` follows the number of GMM clusters."""

OPTIONAL_FIELDS: tuple[str, ...] = tuple(f for f in FIELD_SHAPES if f not in ("features", "cluster_ids"))
