"""JSON and text from a folder that may come from a stranger, bounded before and after they are parsed.

Every error is a `UserError` that begins with the file's own path; a file that is not there is a `FileNotFoundError`, for the
caller knows whether it had to be. Free of heavy imports, since the workers of jobs use it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ple_model.errors import UserError
from ple_model.safe_paths import read_bytes
from ple_model.yaml_text import parse_yaml

JSON_BYTES = 16 << 20
JSON_DEPTH = 32
"""The deepest file of ours has six levels."""
YAML_BYTES = 1 << 20


def read_json(path: Path, limit: int = JSON_BYTES) -> Any:
    """The value of a JSON file."""
    data = read_bytes(path, limit)
    try:
        value = json.loads(data)
    except RecursionError as e:
        raise UserError(f"{path} is damaged: nested more than {JSON_DEPTH} deep") from e
    except ValueError as e:
        raise UserError(f"{path} is damaged: {' '.join(str(e).split())[:300]}") from e
    _shallow(path, value)
    return value


def _shallow(path: Path, value: Any) -> None:
    level = [value]
    for _ in range(JSON_DEPTH):
        level = [
            inner
            for v in level
            for inner in (v.values() if isinstance(v, dict) else v if isinstance(v, list) else ())
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise UserError(f"{path} is damaged: nested more than {JSON_DEPTH} deep")


def read_object(path: Path, limit: int = JSON_BYTES) -> dict[str, Any]:
    """The same for a file whose value must be a mapping."""
    value = read_json(path, limit)
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: it is not a mapping")
    return value


def read_text(path: Path, limit: int) -> str:
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as e:
        raise UserError(f"{path} is damaged: it is not UTF-8 text (byte {e.start})") from e


def read_yaml(path: Path) -> Any:
    """The value of a YAML file."""
    return parse_yaml(read_text(path, YAML_BYTES), str(path))
