"""What a stored measurement depends on: the run's files, the rows, how they were chosen, and the source files that measure.

Digests are of contents, so that an analysis may travel with its run; `files_mark` is the quick look (sizes and times) by which
a process knows that what it holds in memory is still of the files on disk. Nothing here loads torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ple_model.baseline_folder import FOLDER
from ple_model.errors import UserError
from ple_model.safe_paths import is_file, is_folder, open_file
from ple_model.sources import source_digest

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

RUN_FILES = (
    "manifest.json", "config.yaml", "model.safetensors", "progress.jsonl", "metrics.json", "fingerprint.json",
    "sample/dataset.json",
)  # fmt: skip
"""The last two say what training wrote; the sample's own manifest holds the checksums of its rows."""
MARKED = ("manifest.json", "config.yaml", "model.safetensors")
"""Of the single files those that an open run is read from: `progress.jsonl` grows with every step of a training."""
MEASURED_BY = "analysis.record"

Why = Literal["first", "reused", "forced", "program", "changed"]
SENTENCES: dict[Why, str] = {
    "first": "measured for the first time",
    "reused": "read back: measured before by this very program, and neither the run nor its data have changed",
    "forced": "measured anew, as asked for",
    "program": "measured anew, since the program has changed",
    "changed": "measured anew, since the run has changed",
}


@dataclass(frozen=True)
class Fingerprint:
    """Digests of 16 hex digits each; `run` of the run's own files, `rows` of the data and which of its rows, `code` of the
    source files."""

    run: str
    rows: str
    code: str

    @property
    def name(self) -> str:
        """One for all: the name of what is stored."""
        return _short("|".join((self.run, self.rows, self.code)))

    def to_dict(self) -> dict[str, str]:
        """As it is kept with what is stored."""
        return {"run": self.run, "rows": self.rows, "code": self.code}

    def why(self, stored: Iterable[dict[str, Any]]) -> Why:
        """Why nothing of what is stored can be read back, from each one's `made_of` (empty: of before it was kept)."""
        found = list(stored)
        if any(not s or (s.get("run"), s.get("rows")) == (self.run, self.rows) for s in found):
            return "program"
        return "changed" if any(s.get("rows") == self.rows for s in found) else "first"


def fingerprint(run: Run, data: Dataset, sample: int | None, seed: int, module: str = MEASURED_BY) -> Fingerprint:
    """Of what `module` makes of `sample` rows of `data` (None: all). `UserError` for a run without weights."""
    if not is_file(run.path / "model.safetensors"):
        raise UserError(f"{run.path} has no weights yet: model.safetensors is written after the first epoch")
    files = [data.path / "dataset.json", *_below(data.path / "artifacts"), *_below(data.path / FOLDER)]
    rows = f"{data.manifest.fingerprint}|{sample}|{seed}|{_contents(data.path, files)}"
    return Fingerprint(run_digest(run.path), _short(rows), code_digest(module))


def code_digest(module: str = MEASURED_BY) -> str:
    """16 hex digits over the source files that `module` computes with."""
    return source_digest(module)[:16]


def run_digest(run: Path) -> str:
    """16 hex digits over the contents of what a run's numbers follow from, the state of its training aside."""
    return _short(_contents(run, [*(run / f for f in RUN_FILES), *_below(run / "preprocess")]))


def files_mark(run: Path) -> str:
    """Changes whenever one of the run's files does, its sample and what it knows of its data included."""
    digest = hashlib.sha256(str(run.resolve()).encode())
    for path in (*(run / f for f in MARKED), *_below(run / "preprocess"), *_below(run / "sample")):
        try:
            stat = path.stat()
            digest.update(f"{path.relative_to(run)}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}".encode())
        except OSError:
            digest.update(f"{path.relative_to(run)}:-".encode())
    return digest.hexdigest()[:16]


def data_mark(data: Path | None) -> str:
    """Changes whenever a dataset's content does, as its manifest tells it, or the baselines that lie with it; "" for none."""
    if data is None:
        return ""
    digest = hashlib.sha256(str(data.resolve()).encode())
    for path in (data / "dataset.json", *_below(data / FOLDER)):
        try:
            stat = path.stat()
            digest.update(f"{path.relative_to(data)}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}".encode())
        except OSError:
            digest.update(f"{path.relative_to(data)}:-".encode())
    return digest.hexdigest()[:16]


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if not is_folder(p)) if is_folder(folder) else []


def _contents(base: Path, files: Iterable[Path]) -> str:
    parts = []
    for path in files:
        found = path.stat() if is_file(path) else None
        content = "-" if found is None else _content(path, found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
        parts.append(f"{path.relative_to(base).as_posix()}:{content}")
    return "\n".join(parts)


@lru_cache(maxsize=4096)
def _content(path: Path, size: int, modified: int, inode: int, changed: int) -> str:
    """Digest of a file of any size; read once while its size and times stay."""
    with open_file(path) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
