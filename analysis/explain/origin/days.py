"""A customer's own days and visits, read back from the sequences that the model reads: what happened on which date.

Amounts of a day are net of its refunds. A visit's date is known to the second it was counted by, less the rounding of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from ple_model.data.derived.sequences import SESSION_STEPS, TXN_STEPS

Array = NDArray[np.float64]
SPEND, PURCHASES, MONEY_IN, MONEY_OUT = 0, 1, 8, 9
DURATION, EVENTS, AGE, APP, WEB = 0, 1, 3, 6, 7
SECOND = 1 / 86_400


@dataclass(frozen=True, eq=False)
class Days:
    """txn [180, 16] and visits [90, 8] in their own units before the logarithm is taken off, the newest last."""

    cutoff: date
    txn: Array
    visits: Array

    def date(self, step: int) -> date:
        return self.cutoff - timedelta(days=TXN_STEPS - step)

    @property
    def active(self) -> NDArray[np.bool_]:
        """[180] days with a purchase or a movement of a deposit account."""
        return np.asarray((self.txn != 0).any(axis=1))

    def spend(self, step: int) -> float:
        return float(np.expm1(self.txn[step, SPEND]))

    def purchases(self, step: int) -> int:
        return round(float(np.expm1(self.txn[step, PURCHASES])))

    def moved(self, step: int, channel: int) -> float:
        """Money into (or out of) deposit accounts on a day."""
        return float(np.expm1(self.txn[step, channel]))

    @property
    def there(self) -> NDArray[np.bool_]:
        """[90] steps that hold a visit."""
        return np.asarray((self.visits != 0).any(axis=1))

    def visit_back(self) -> NDArray[np.int64]:
        """[90] days from a visit's date to the cut-off."""
        return np.ceil(np.expm1(self.visits[:, AGE]) - SECOND).astype(np.int64)

    def visits_known(self, days: int) -> bool:
        """Whether the last 90 visits reach back so many days."""
        there = self.there
        return bool(there.sum() < SESSION_STEPS or self.visit_back()[there].max() > days)

    def journey(self, days: int) -> Array | None:
        """[days, 4] log of spend, purchases, visits and money in, a day a row; None where visits do not reach back so far."""
        if not self.visits_known(days):
            return None
        count = np.bincount(np.clip(self.visit_back()[self.there], 1, TXN_STEPS + 1), minlength=TXN_STEPS + 2)
        visits = np.log1p(count[1 : days + 1][::-1].astype(np.float64))
        last = self.txn[-days:]
        return np.stack([last[:, SPEND], last[:, PURCHASES], visits, last[:, MONEY_IN]], axis=1)
