"""Steps of a build that can be repeated: each is keyed by the content of what it reads, and kept until the build is done.

A step writes arrays into a folder of its own which is renamed when it is complete. A build that was killed finds the finished
steps again; one with other events, settings or program code has other keys.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ple_model.data.dataset.manifest import sha256_file
from ple_model.disk import preallocate, writing
from ple_model.staging import staged_folder

Array = NDArray[Any]
Progress = Callable[[str, float], None]
"""Called with the step's name and the share done (0 to 1)."""
Tell = Callable[[str], None]
"""Called with a sentence on what is reused, or why it is not."""


def digest(value: object) -> str:
    """Short content hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]


def digest_files(paths: Iterable[Path]) -> str:
    """Content hash of files, by name and checksum."""
    return digest([(p.name, sha256_file(p)) for p in sorted(paths)])


@dataclass(frozen=True)
class Work:
    """The folder of a build's steps."""

    folder: Path
    progress: Progress
    tell: Tell = field(default=lambda sentence: None)

    def step(self, name: str, key: str, run: Callable[[Path], None]) -> Path:
        """Folder of a finished step; `run(folder)` fills it unless a finished one with this key is there."""
        done = self.folder / f"{name}-{key}"
        if done.is_dir():
            self.tell(f"step '{name}' is kept from the build that was stopped")
        else:
            with staged_folder(done) as fresh:
                self.progress(name, 0.0)
                run(fresh)
        self.progress(name, 1.0)
        return done

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_part(folder: Path, name: str, rows: int, first: int, values: Array) -> None:
    """Rows `first` and on of the `.npy` [rows, ...] of this name; the first part to come makes the file. It is mapped for this
    alone, so that what was written is the disk's and not this process's. `DiskFull` if the disk cannot hold all of it."""
    path = folder / f"{name}.npy"
    if not path.is_file():
        new_map(path, (rows, *values.shape[1:]), values.dtype)
    np.load(path, mmap_mode="r+", allow_pickle=False)[first : first + len(values)] = values


def new_map(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """A memory-mapped `.npy` of zeros to fill. `DiskFull` if the disk cannot hold it."""
    with writing(path, int(np.prod(shape)) * np.dtype(dtype).itemsize):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    preallocate(path)  # a page that cannot be had when it is filled would kill the process
    return array


def read_array(folder: Path, name: str) -> Array:
    """A memory-mapped `.npy`, read only."""
    return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
