"""The analysis store: what one diagnose pass left in a run's `analysis/<fingerprint>/`, queried by cohort.

A folder is written under a temporary name and then renamed, so that a reader never sees half of it; it is never changed, only
replaced by a whole new one when it is measured again on purpose (`AnalysisStore.mark` tells the two apart). `rows.parquet`
holds the scalars of every row (`stored_rows` lists them); a cohort is a DuckDB query over it, whatever their number.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.cohort import CohortFilter
from analysis.cohort_statistics import CohortStatistics, cohort_statistics, keep_cells, uncertainty_of
from analysis.stats.base import pack
from analysis.stats.run import Statistics
from analysis.stored_rows import FORMAT, StoredRows
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.safe_arrays import write_npz
from ple_model.safe_paths import make_folder, write_bytes
from ple_model.staging import alone, private_folder, put


class AnalysisStore(StoredRows):
    """Read access to one stored analysis, and to the statistics of any cohort of it."""

    def cohort(self, filters: Sequence[CohortFilter] = ()) -> CohortStatistics:
        """Statistics of a cohort; zero rows is a valid answer (NaN everywhere). No filter reads what was recorded, at once."""
        return cohort_statistics(self, filters)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """stats.json + stats.npz in a folder that is still private to its writer."""
    text, arrays = pack(statistics)
    write_bytes(folder / "stats.json", text.encode())
    write_npz(folder / "stats.npz", arrays, packed=True)


class StoreWriter:
    """A private folder; `publish` writes meta.json and renames it into place."""

    def __init__(self, run: Path, fingerprint: str) -> None:
        self.final = run / "analysis" / fingerprint
        self.fingerprint = fingerprint
        make_folder(self.final.parent)
        self._open = contextlib.ExitStack()
        self.folder = self._open.enter_context(private_folder(self.final, sweep="*"))

    def publish(self, rows: int, extra: dict[str, Any], *, replace: bool = False) -> AnalysisStore:
        """The store in its place. Where one is there already, the other process that measured the same was quicker, and this
        one is dropped; with `replace`, and where what is there is damaged, it takes its place."""
        meta = {"format": FORMAT, "fingerprint": self.fingerprint, "rows": rows, "created": time.time(), **extra}
        write_json(self.folder / "meta.json", meta)
        made = AnalysisStore(self.folder)
        meta["uncertainty"] = uncertainty_of(made)  # once here, so that no page waits for it
        keep_cells(made)
        write_json(self.folder / "meta.json", meta)
        with alone(self.final.parent):
            if not replace:
                with contextlib.suppress(UserError):
                    return AnalysisStore(self.final)
            put(self.folder, self.final, replace=True)
            return AnalysisStore(self.final)

    def discard(self) -> None:
        """Close the writer; what it did not publish is gone."""
        self._open.close()


def stored(run: Path) -> list[AnalysisStore]:
    """The readable analyses of a run folder, newest first."""
    found = []
    for meta in (run / "analysis").glob("*/meta.json"):
        if meta.parent.name.startswith("."):
            continue
        try:
            found.append(AnalysisStore(meta.parent))
        except UserError:
            continue  # an older format or a damaged folder counts as not there: diagnose rebuilds it
    return sorted(found, key=lambda s: float(s.meta.get("created") or 0), reverse=True)
