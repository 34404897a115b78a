"""The examples of CONTRIBUTING.md: files by the path that their first line names, and the commands that prove them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FIRST = re.compile(r"# (\S+\.\w+)(?: \((at the end|under ([^)]+))\))?\n")


@dataclass(frozen=True)
class Example:
    """One block: `where` is empty for a new file, a line of an existing one for what goes under it, or `at the end`."""

    path: str
    where: str
    text: str

    def write(self, project: Path) -> None:
        """Into this copy of the project. A new file must not be there, the line to go under must."""
        file = project / self.path
        if not self.where:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as out:
                out.write(self.text)
            return
        old = file.read_text(encoding="utf-8")
        if self.where == "at the end":
            file.write_text(old + self.text, encoding="utf-8")
            return
        assert f"\n{self.where}\n" in old, f"{self.path} has no line '{self.where}'"
        file.write_text(old.replace(f"\n{self.where}\n", f"\n{self.where}\n{self.text}", 1), encoding="utf-8")


def examples() -> list[Example]:
    found = []
    for language, text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if language != "bash":
            first = FIRST.match(text)
            assert first, f"this block does not say which file it is:\n{text[:200]}"
            found.append(Example(first[1], first[3] or first[2] or "", text[first.end() :]))
    return found


def commands() -> list[tuple[list[str], str]]:
    """(files of tests, the `-k` expression or nothing) of each command that runs tests."""
    found = []
    for language, text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        for line in text.splitlines() if language == "bash" else ():
            if line.startswith("python -m pytest "):
                words = shlex.split(line, comments=True)[3:]
                found.append(([w for w in words if w.endswith(".py")], words[words.index("-k") + 1] if "-k" in words else ""))
    return found
