"""What a run was made by: the versions of what can change a number, and the commit of the program."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def library_versions() -> dict[str, str]:
    """Versions of what can change a number."""
    out = {"python": platform.python_version()}
    for name in ("ple-scope", "torch", "numpy", "scipy", "scikit-learn", "safetensors", "pyarrow", "duckdb"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def code_commit() -> str | None:
    """Commit of the checkout that this package runs from, read from `.git` without starting git; None outside one."""
    git = Path(__file__).resolve().parents[1] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head if re.fullmatch(r"[0-9a-f]{40}", head) else None
        ref = head.removeprefix("ref: ")
        if (git / ref).exists():
            return (git / ref).read_text().strip()
        lines = (git / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in lines if line.endswith(" " + ref)), None)
    except (OSError, IndexError):
        return None
