"""npz and Parquet from a folder that may come from a stranger, bounded before they are parsed. Errors as in `safe_text`."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ple_model.errors import UserError
from ple_model.safe_paths import create_file, open_file
from ple_model.staging import staged_file

NPZ_BYTES = 4 << 30
"""Unpacked, all arrays of one file together."""
NPZ_RATIO = 1100
"""Deflate packs at most 1032 to 1, so a member that claims more is not telling the truth."""
NPZ_MEMBERS = 10_000
HEADER_BYTES = 10_000
ROWS_PER_BYTE = 64
"""A Parquet file that claims more rows than this for each of its bytes is not read: a row of ours has hundreds of values."""


def read_npz(path: Path, limit: int = NPZ_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file. Shapes are held against the bytes that are there before anything is allocated; an array of
    objects, which NumPy could only unpickle, is refused."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > NPZ_MEMBERS:
                raise UserError(f"{path} is damaged: {len(members):,} arrays, at most {NPZ_MEMBERS:,} are read")
            total = sum(m.file_size for m in members)
            if total > limit:
                raise UserError(f"{path} unpacks to {total:,} bytes, at most {limit:,} are read")
            found: dict[str, NDArray[Any]] = {}
            for member in members:
                if not member.filename.endswith(".npy"):
                    raise UserError(f"{path} is damaged: it holds '{member.filename[:80]}', which is no array")
                name = member.filename.removesuffix(".npy")
                if member.file_size > NPZ_RATIO * max(member.compress_size, 64):
                    raise UserError(f"{path} is damaged: the array '{name[:80]}' claims {member.file_size:,} bytes")
                with archive.open(member) as stream:
                    found[name] = _array(path, name, cast(BinaryIO, stream), member.file_size)
            return found
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as e:
        if isinstance(e, FileNotFoundError):
            raise
        raise UserError(f"{path} is damaged: {' '.join(str(e).split())[:200] or type(e).__name__}") from e
    except Exception as e:
        if type(e).__module__ == "zlib":
            raise UserError(f"{path} is damaged: {e}") from e
        raise


def _array(path: Path, name: str, stream: BinaryIO, size: int) -> NDArray[Any]:
    """One .npy member of `size` bytes."""
    where = f"{path} is damaged: the array '{name[:80]}'"
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, kind = np.lib.format.read_array_header_1_0(stream, max_header_size=HEADER_BYTES)
        elif version == (2, 0):
            shape, fortran, kind = np.lib.format.read_array_header_2_0(stream, max_header_size=HEADER_BYTES)
        else:
            raise UserError(f"{where} has the unknown format version {version}")
    except UserError:
        raise
    except Exception as e:  # NumPy's own words tell how to read it unsafely; whatever is wrong with a header, this is enough
        raise UserError(f"{where} has no readable header") from e
    if kind.hasobject:
        raise UserError(f"{where} holds Python objects, which are never read")
    if any(n < 0 for n in shape) or math.prod(shape) * kind.itemsize > size:
        raise UserError(f"{where} claims the shape {shape!s:.80}, more than its {size:,} bytes hold")
    needed = math.prod(shape) * kind.itemsize
    data = bytearray()
    while len(data) < needed and (piece := stream.read(min(1 << 24, needed - len(data)))):
        data += piece
    if len(data) < needed:
        raise UserError(f"{where} is cut short")
    stream.read(1)  # to the end, where the checksum is compared
    if kind.itemsize == 0:
        return np.zeros(shape, kind)
    return np.frombuffer(data, dtype=kind, count=math.prod(shape)).reshape(shape, order="F" if fortran else "C")


def write_npz(path: Path, arrays: Mapping[str, Any], *, packed: bool = False) -> None:
    """An npz file, put in place by one rename."""
    with staged_file(path) as temporary, create_file(temporary) as file:
        (np.savez_compressed if packed else np.savez)(file, **dict(arrays))


def take(arrays: dict[str, NDArray[Any]], path: Path, *names: str) -> list[NDArray[Any]]:
    """These arrays in their order; `UserError` names the first that is missing."""
    for name in names:
        if name not in arrays:
            raise UserError(f"{path} is damaged: the array '{name}' is missing")
    return [arrays[name] for name in names]


def fit_shapes(arrays: Mapping[str, NDArray[Any]], path: Path, shapes: Mapping[str, str], **known: int) -> None:
    """Every named array is there, holds finite numbers, and has the shape its letters say: one letter, one length in all of
    them. `known` lengths are those of the program."""
    lengths = dict(known)
    for name, letters in shapes.items():
        if name not in arrays:
            raise UserError(f"{path} is damaged: the array '{name}' is missing")
        found = arrays[name]
        fits = len(found.shape) == len(letters) and found.dtype.kind in "fiu"
        if not fits or any(lengths.setdefault(k, n) != n for k, n in zip(letters, found.shape, strict=True)):
            raise UserError(f"{path} is damaged: the array '{name}' of {found.dtype} has the shape {found.shape}")
        if not np.isfinite(found).all():
            raise UserError(f"{path} is damaged: the array '{name}' holds a value that is no number")


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose footer is plausible for its size. Errors of reading inside the block are a `UserError` too."""
    with open_file(path) as file:
        try:
            with pq.ParquetFile(file) as parquet:
                meta = parquet.metadata
                size = file.seek(0, 2)
                counts = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
                if min(counts, default=0) < 0 or sum(counts) != meta.num_rows or meta.num_rows > ROWS_PER_BYTE * size:
                    raise UserError(f"{path} is damaged: it claims {meta.num_rows:,} rows in {size:,} bytes")
                yield parquet
        except (pa.ArrowException, OSError, OverflowError) as e:
            raise UserError(f"{path} is damaged: {' '.join(str(e).split())[:300]}") from e
        except MemoryError as e:
            raise UserError(f"{path}: its columns do not fit into memory") from e
