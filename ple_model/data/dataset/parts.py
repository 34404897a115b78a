"""One Parquet part of a dataset: what dataset.json says of it against the file, and reading it with its columns as declared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ple_model.data.dataset.columns import column_type
from ple_model.data.dataset.manifest import PartFile
from ple_model.errors import UserError, did_you_mean
from ple_model.safe_arrays import open_parquet
from ple_model.safe_paths import check_file


def check_size(folder: Path, part: PartFile) -> None:
    path = folder / part.name
    try:
        size = check_file(path)
    except FileNotFoundError as e:
        raise UserError(f"{path} is missing, dataset.json lists it") from e
    if size != part.bytes:
        word = "truncated" if size < part.bytes else "altered"
        raise UserError(f"{path} is {word}: {size} bytes, dataset.json says {part.bytes}")


def check_rows(folder: Path, part: PartFile) -> None:
    """What dataset.json says of a part against the part's own footer, before anything of that size is allocated."""
    with open_parquet(folder / part.name) as f:
        groups = tuple(f.metadata.row_group(i).num_rows for i in range(f.metadata.num_row_groups))
    if groups != part.group_rows:
        raise UserError(
            f"{folder / 'dataset.json'} does not fit {part.name}: it says {part.rows} rows in {len(part.group_rows)} row "
            f"groups, the file has {sum(groups)} in {len(groups)}"
        )


def read_parquet(path: Path, names: Sequence[str] | None, group: int | None, width: int) -> pa.Table:
    with open_parquet(path) as f:
        for name in names or ():
            if name not in f.schema_arrow.names:
                raise UserError(f"{path}: column '{name}' is missing{did_you_mean(name, f.schema_arrow.names)}")
            kind = column_type(name, width)
            found = f.schema_arrow.field(name).type
            if kind is not None and found != kind:
                raise UserError(f"{path}: column '{name}' is {found}, expected {kind}")
        columns = list(names) if names is not None else None
        return f.read(columns) if group is None else f.read_row_group(group, columns)
