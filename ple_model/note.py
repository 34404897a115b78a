"""What people wrote about a run: `note.txt` in its folder, beside what training wrote and read by nothing that measures."""

from __future__ import annotations

from pathlib import Path

from ple_model.errors import UserError
from ple_model.safe_paths import is_file, write_bytes
from ple_model.safe_text import read_text

NOTE = "note.txt"
NOTE_CHARACTERS = 2000


def read_note(run: Path) -> str:
    """The note of the run in this folder; empty where there is none."""
    path = run / NOTE
    text = read_text(path, 4 * NOTE_CHARACTERS) if is_file(path) else ""
    return "".join(c for c in text if c.isprintable() or c == "\n").strip()


def write_note(run: Path, text: str) -> None:
    """Keep a note; an empty one removes it. `UserError` where it is longer than `NOTE_CHARACTERS`."""
    text = text.strip()
    if len(text) > NOTE_CHARACTERS:
        raise UserError(f"{run / NOTE}: a note of {len(text):,} characters; at most {NOTE_CHARACTERS:,} are kept")
    if not text:
        (run / NOTE).unlink(missing_ok=True)
        return
    write_bytes(run / NOTE, text.encode())
