"""What a pass found, in a folder of its own: numbers in npz, tensors in safetensors, the rows in Parquet; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.engine.encoded import of_tensors, to_tensors
from analysis.probing import ProbedRows
from analysis.recording.opened import Opened
from analysis.recording.passing import Passed
from analysis.recording.samples import ComparedSample
from analysis.relabelled import Agreement
from analysis.stats.base import unpack
from analysis.stats.run import Statistics
from analysis.store import write_statistics
from analysis.stored_rows import STATISTICS_BYTES
from ple_model.errors import UserError
from ple_model.files import read_json, read_tensors, write_json, write_tensors
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.safe_text import read_text

ROWS = "rows.parquet"
"""Of a pass; not there where it had no rows."""
WHOLE = "passed.json"
"""Written last: the folder is whole."""
ENCODED, TARGET = "encoded", "target"


def save_passed(folder: Path, found: Passed) -> None:
    """Everything but the file of rows, which the pass has written, into a folder that is still private to its writer."""
    if found.added is not None:
        write_statistics(folder, found.added)
    write_npz(folder / "vectors.npz", found.vectors.arrays())
    write_npz(folder / "compared.npz", found.compared.arrays())
    agreements = found.agreements.found
    numbers = {f"{task}.{f.name}": getattr(part, f.name) for task, part in agreements.items() for f in fields(part)}
    write_npz(folder / "agreements.npz", numbers)
    probed = found.effects.rows()
    tensors = {} if probed is None else _tensors(probed)
    if probed is not None:
        write_tensors(folder / "effects.safetensors", tensors)
        people = {"customers": np.array(probed.customers, dtype=str), "split": np.array(probed.split, dtype=str)}
        write_npz(folder / "effects.npz", people | {"row": probed.row})
    about = {"rows": found.added is not None, "effects": list(tensors), "infinite": found.infinite}
    write_json(folder / WHOLE, about | {"agreements": list(agreements)})


def load_passed(folder: Path, opened: Opened) -> Passed:
    """The inverse. `UserError` for a folder that is damaged."""
    try:
        return _load(folder, opened)
    except (KeyError, ValueError, TypeError, AttributeError, FileNotFoundError) as e:
        raise UserError(f"{folder} is damaged ({e}); remove it and measure again") from e


def _load(folder: Path, opened: Opened) -> Passed:
    about = read_json(folder / WHOLE)
    found = Passed.nothing(opened)
    found.vectors.follow(read_npz(folder / "vectors.npz"))
    found.compared = ComparedSample.of_arrays(opened.names, read_npz(folder / "compared.npz"))
    numbers = read_npz(folder / "agreements.npz")
    for task in about["agreements"]:
        found.agreements.join(task, Agreement(**{f.name: numbers[f"{task}.{f.name}"] for f in fields(Agreement)}))
    if about["effects"]:
        people = read_npz(folder / "effects.npz")
        tensors, _ = read_tensors(folder / "effects.safetensors")
        found.effects.follow(_probed({k: tensors[k] for k in about["effects"]}, people))  # in the model's order
    if about["rows"]:
        text, arrays = read_text(folder / "stats.json", STATISTICS_BYTES), read_npz(folder / "stats.npz")
        found.add(_of_run(unpack(Statistics, text, arrays), opened))
    found.infinite = {str(k): float(v) for k, v in about["infinite"].items()}
    return found


def _of_run(added: Statistics, opened: Opened) -> Statistics:
    """With the run's own facts and bins, which are the same for every range: they are then kept once."""
    if opened.profile is None or added.drift is None or added.unseen is None:
        return replace(added, facts=opened.facts)
    edges = opened.profile.edges
    groups = {k: replace(v, edges=edges) for k, v in added.unseen.groups.items()}
    drift = replace(added.drift, edges=edges)
    return replace(added, facts=opened.facts, drift=drift, unseen=replace(added.unseen, groups=groups))


def _tensors(probed: ProbedRows) -> dict[str, Any]:
    targets = {f"{TARGET}:{task}": label for task, label in probed.targets.items()}
    return targets | {f"{ENCODED}:{k}": v for k, v in to_tensors(probed.encoded).items()}


def _probed(tensors: Mapping[str, Any], people: Mapping[str, NDArray[Any]]) -> ProbedRows:
    targets, encoded = (
        {k.removeprefix(f"{kind}:"): v for k, v in tensors.items() if k.startswith(f"{kind}:")} for kind in (TARGET, ENCODED)
    )
    customers, split = people["customers"].tolist(), people["split"].tolist()
    return ProbedRows(of_tensors(encoded), targets, customers, split, people["row"])
