"""Text of a source inside YAML: whatever a cell or a header holds, the map that is written can be read again."""

from __future__ import annotations

import yaml

LONGEST_KEY = 100
"""A plain YAML key has at most 1,024 characters; longer ones are written with a question mark."""
LONGEST_LINE = 300


def scalar(text: str) -> str:
    """A text in quotes, by YAML's own writer."""
    written: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return written.rstrip("\n")


def one_line(text: str) -> str:
    """A text for a person, without what would break the line or the terminal."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= LONGEST_LINE else plain[: LONGEST_LINE - 3] + "..."


def comment(text: str) -> str:
    """A comment of one line."""
    return f"# {one_line(text)}"


def key_lines(indent: str, key: str, value: str | None) -> list[str]:
    """`key: value`, where None opens a mapping below; the value is YAML already."""
    quoted = scalar(key)
    if len(quoted) > LONGEST_KEY:
        return [f"{indent}? {quoted}", f"{indent}:" + (f" {value}" if value is not None else "")]
    return [f"{indent}{quoted}:" + (f" {value}" if value is not None else "")]
