"""What a dataset keeps of its rows beside the inputs, for whoever explains them: found by customer and cut-off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ple_model.data.dataset.columns import decode_column
from ple_model.errors import UserError

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset


def beside_rows(data: Dataset, column: str, customers: Sequence[str], cutoffs: Sequence[str]) -> NDArray[Any] | None:
    """[n, ...] `column` of these rows; None where the dataset does not hold it (an older one) or one of the rows."""
    try:
        parts = data.tables(["customer_id", "cutoff", column])
    except UserError:
        return None
    place = {key: i for i, key in enumerate(zip(customers, cutoffs, strict=True))}
    found: dict[int, NDArray[Any]] = {}
    names = pa.array(list(dict.fromkeys(customers)), pa.string())
    for part in parts:
        mine = part.filter(pc.is_in(part.column("customer_id"), value_set=names))
        values = decode_column(mine.column(column), column, data.path, data.width)
        keys = zip(*(mine.column(c).to_pylist() for c in ("customer_id", "cutoff")), strict=True)
        found |= {place[key]: values[i] for i, key in enumerate(keys) if key in place}
    return np.stack([found[i] for i in range(len(place))]) if found and len(found) == len(place) else None
