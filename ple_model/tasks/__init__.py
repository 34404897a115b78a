"""The tasks: what each predicts, from which label, with which loss, fed by which HMM mode (reference, "Task Tower").

A task is one `TaskSpec` in one module here, its label's SQL included (`record` says what it reads): nothing else lists tasks. A
config switches it on or off (`task_experts.enabled_tasks`, `task_experts.tasks.<name>.enabled`) and may override `weight`,
`focal_alpha` and `domain_experts`; a run keeps the list that it was trained with.
"""

from ple_model.tasks.consumption import CYCLE_GAPS, CYCLES, IRREGULAR_CV, OFFERS, SPENDING_CATEGORIES
from ple_model.tasks.lifecycle import LIFE_STAGES
from ple_model.tasks.record import (
    ACTIVE_28,
    ACTIVE_84,
    ACTIVE_365,
    CREDIT_LINE,
    EVERYONE,
    HMM_MODES,
    SHOWN_84,
    Condition,
    HmmMode,
    Kind,
    LossName,
    TaskSpec,
)  # fmt: skip
from ple_model.tasks.registry import GROUP_STRENGTH, LOGIT_TRANSFERS, TASKS
from ple_model.tasks.value import CHANNELS

__all__ = [
    "ACTIVE_28", "ACTIVE_84", "ACTIVE_365", "CHANNELS", "CREDIT_LINE", "CYCLES", "CYCLE_GAPS", "EVERYONE", "GROUP_STRENGTH",
    "HMM_MODES", "IRREGULAR_CV", "LIFE_STAGES", "LOGIT_TRANSFERS", "OFFERS", "SHOWN_84", "SPENDING_CATEGORIES", "TASKS",
    "Condition", "HmmMode", "Kind", "LossName", "TaskSpec",
]  # fmt: skip
