"""Which rows the tasks are defined for, from the events before the cut-off (`tasks.Condition`).

A task whose labels come from the source's own table is defined for whoever that table says, so it has no condition of ours;
`artifacts/conditions.json` keeps the names of those tasks, so that new customers are scored by the same definition.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ple_model.data.events.connect import EventStore
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.tasks import EVERYONE, TASKS

FILE = "conditions.json"
PURCHASE = "coalesce(kind, 'card') <> 'deposit' AND amount > 0"
"""SQL: a row of `transactions` is a purchase. A refund (a negative card amount) is none: it only takes off what was spent."""
ACTIVITY = f"""(SELECT customer_id, ts::DATE AS day FROM transactions WHERE kind = 'deposit' OR ({PURCHASE})
                UNION SELECT customer_id, ts::DATE FROM sessions)"""
"""SQL: the days on which a customer was active: a purchase, a deposit or a session."""
Defined = dict[str, NDArray[np.bool_]]


def defined(store: EventStore, own: Iterable[str] = ()) -> Defined:
    """task -> [rows of `spine`] bool, of the tasks that have a condition and are not among `own`."""
    tasks = {t: s for t, s in TASKS.items() if s.condition is not EVERYONE and t not in set(own)}
    if not tasks:
        return {}
    found = store.con.execute(f"""
        WITH last AS (SELECT s.row_id, max(a.day) AS day FROM spine s JOIN {ACTIVITY} a
                       ON a.customer_id = s.customer_id AND a.day < s.cutoff GROUP BY 1),
        line AS (SELECT DISTINCT s.row_id FROM spine s JOIN holdings h ON h.customer_id = s.customer_id
                  AND h.as_of < s.cutoff AND (h.opened_on IS NULL OR h.opened_on < s.cutoff)
                  AND (h.closed_on IS NULL OR h.closed_on >= s.cutoff) AND h.credit_limit > 0),
        shown AS (SELECT s.row_id, max(c.exposed_at)::DATE AS day FROM spine s JOIN campaigns c
                   ON c.customer_id = s.customer_id AND c.exposed_at < s.cutoff GROUP BY 1)
        SELECT (s.cutoff - last.day)::DOUBLE AS idle, line.row_id IS NOT NULL AS line, (s.cutoff - shown.day)::DOUBLE AS shown
        FROM spine s LEFT JOIN last USING (row_id) LEFT JOIN line USING (row_id) LEFT JOIN shown USING (row_id)
        ORDER BY s.row_id""").fetchnumpy()
    idle, shown = (np.ma.filled(np.ma.asarray(found[k]).astype(np.float64), np.nan) for k in ("idle", "shown"))
    line = np.asarray(np.ma.filled(found["line"], False), dtype=np.bool_)
    return {t: s.condition.holds(idle, line, shown) for t, s in tasks.items()}


def save_own(folder: Path, own: Iterable[str]) -> None:
    write_json(folder / FILE, {"own_labels": sorted(own)})


def load_own(folder: Path) -> tuple[str, ...]:
    """The tasks whose labels came from the source's own table; none in artifacts from before this was kept."""
    path = folder / FILE
    if not path.exists():
        return ()
    try:
        return tuple(str(t) for t in read_json(path)["own_labels"])
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{path} is damaged: {e!r}") from e
