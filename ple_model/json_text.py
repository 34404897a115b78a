"""Values as strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: a number that is not finite becomes null, tuples lists, NumPy and 0-D tensors numbers."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def dump(value: Any) -> str:
    """Indented, as files hold it and `--json` prints it."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
