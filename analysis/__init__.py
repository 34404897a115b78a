"""What can be said of a run: measure (`diagnose`), test a cause (`whatif`), query by cohort (`AnalysisStore`),
say why (`explain`), name latents (`latents`), judge uncertainty (`uncertainty`).

Importing this package loads neither torch nor plotly.
"""

from analysis.checks import Evidence, Finding, Fix, Thresholds
from analysis.cohort import CohortFilter
from analysis.cohort_statistics import CohortStatistics
from analysis.diagnose import Diagnosis, diagnose, load_diagnosis
from analysis.explain.customer import explain
from analysis.latents import latents
from analysis.results.explanation import Explanation
from analysis.results.latents import Latents
from analysis.results.uncertainty import TaskUncertainty
from analysis.results.whatif import CustomerWhatIf, TaskEffect, WhatIfResult
from analysis.store import AnalysisStore
from analysis.uncertainty import uncertainty
from analysis.whatif import whatif, whatif_customer

__all__ = [
    "AnalysisStore", "CohortFilter", "CohortStatistics", "CustomerWhatIf", "Diagnosis", "Evidence", "Explanation", "Finding",
    "Fix", "Latents", "TaskEffect", "TaskUncertainty", "Thresholds", "WhatIfResult", "diagnose", "explain", "latents",
    "load_diagnosis", "uncertainty", "whatif", "whatif_customer",
]  # fmt: skip
