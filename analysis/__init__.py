"""What can be said of a run: measure (`diagnose`), test a cause (`whatif`), query by cohort (`AnalysisStore`).

Importing this package loads neither torch nor plotly.
"""

from analysis.checks import Evidence, Finding, Fix, Thresholds
from analysis.cohort import CohortFilter
from analysis.diagnose import Diagnosis, diagnose, load_diagnosis
from analysis.store import AnalysisStore, CohortStatistics
from analysis.whatif import TaskEffect, WhatIfResult, whatif

__all__ = [
    "AnalysisStore", "CohortFilter", "CohortStatistics", "Diagnosis", "Evidence", "Finding", "Fix", "TaskEffect", "Thresholds",
    "WhatIfResult", "diagnose", "load_diagnosis", "whatif",
]  # fmt: skip
