"""The user's own folder for what the program remembers between calls: jobs of the app, the key that masks customers."""

from __future__ import annotations

import os
from pathlib import Path

from ple_model.errors import UserError


def state_root(*, make: bool = True) -> Path:
    """`$XDG_STATE_HOME/ple-scope` (`~/.local/state/ple-scope`), made where it is not there (unless not `make`); nobody else may
    read or write there. `UserError` if it cannot be had."""
    given = Path(os.environ.get("XDG_STATE_HOME") or "")
    root = (given if given.is_absolute() else Path.home() / ".local" / "state") / "ple-scope"
    if not make and not root.exists():
        return root
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = root.stat()
        if found.st_uid == os.getuid() and found.st_mode & 0o077:
            root.chmod(0o700)
    except OSError as e:
        raise UserError(f"{root}: what the program remembers is kept here, and the folder cannot be made ({e.strerror})") from e
    if found.st_uid != os.getuid():
        raise UserError(f"{root} belongs to another user; set XDG_STATE_HOME to a folder of your own")
    return root
