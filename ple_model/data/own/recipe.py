"""`table.json`: how a row of one's own table becomes feature columns, fitted on the training rows; new rows go the same way.

- numeric: the number; the normaliser decides between a linear and a logarithmic scale.
- raw (heavy-tailed): the number on a logarithmic scale, and once more as it is, for the expert that reads amounts in their own
  scale.
- categorical: an indicator column for each of the `MOST` commonest words of the training rows; where there are more words, one
  column for all others, which a word that training never saw sets too (without such a column, it sets none).
- nothing in a cell: the part of that column is absent in that row.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.own.schema_file import FEATURES, OwnColumn, OwnTable, parse_table
from ple_model.data.own.table import OwnRowsRead
from ple_model.edits import FIELDS
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.files import read_json, write_json
from ple_model.own_schema import own_schema
from ple_model.schema import PARTS, FeatureColumn, FeatureSchema

FILE = "table.json"
VERSION = 1
MOST = 20
"""Words of a categorical column that get an indicator."""
OTHER = "other"
TAKEN = frozenset({*FIELD_SHAPES, *FIELDS, *(p for _, p, _ in PARTS), *(g for g, _, _ in PARTS)})
"""Names of the package's own fields and parts: a column of such a name gets another."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """The schema file's table, and the words of each categorical column that have an indicator."""

    table: OwnTable
    words: dict[str, tuple[str, ...]]
    others: frozenset[str]
    """Categorical columns with a column for all other words."""

    @staticmethod
    def fit(table: OwnTable, rows: OwnRowsRead, train: NDArray[np.int64]) -> Recipe:
        """From the training rows. `UserError` where a categorical column has no word there."""
        words: dict[str, tuple[str, ...]] = {}
        others = set()
        for column in table.of("categorical"):
            counts = Counter(w for w in rows.words[column.name][train] if w is not None)
            if not counts:
                raise UserError(f"column '{column.name}' is empty in all training rows; give it the kind 'ignored'")
            ordered = sorted(counts, key=lambda w: (-counts[w], w))
            words[column.name] = tuple(ordered[:MOST])
            if len(ordered) > MOST:
                others.add(column.name)
        return Recipe(table, words, frozenset(others))

    def schema(self) -> FeatureSchema:
        """The feature columns: the normalised ones in the file's order, then the raw ones."""
        names: set[str] = set(TAKEN)
        plain: list[dict[str, str]] = []
        raw: list[dict[str, str]] = []
        fixed: set[str] = set()
        barred: set[str] = set()
        for column in self.table.of(*FEATURES):
            part = _named(column.name, names)
            sentence = {"en": _sentence(column.sentence_en or column.name.replace("_", " "))}
            sentence["ko"] = _sentence(column.sentence_ko) if column.sentence_ko else sentence["en"]
            common = {"group": column.group, "part": part, "how": f"column: {column.name}"}
            common["empty"] = "absent: the cell is empty"
            if column.kind == "categorical":
                for word in (*self.words[column.name], *((None,) if column.name in self.others else ())):
                    name = _named(f"{part}_is_{OTHER if word is None else word}", names)
                    fixed |= {name} if column.fixed else set()
                    barred |= {name} if column.barred else set()
                    plain.append({**common, "name": name, "unit": "flag", "scale": "linear", **_about(sentence, word)})
                continue
            said = {"sentence_en": sentence["en"], "sentence_ko": sentence["ko"], "unit": column.unit}
            scale = "log" if column.kind == "raw" else "linear"
            plain.append({**common, "name": part, "scale": scale, **said})
            fixed |= {part} if column.fixed else set()
            barred |= {part} if column.barred else set()
            if column.kind == "raw":
                own = _named(f"{part}_raw", names)
                raw.append({**common, "name": own, "part": own, "scale": "raw", **said})
                fixed |= {own} if column.fixed else set()
                barred |= {own} if column.barred else set()
        columns = tuple(FeatureColumn(i, **c) for i, c in enumerate([*plain, *raw]))
        return own_schema(columns, frozenset(fixed), frozenset(barred))

    def values(self, rows: OwnRowsRead, schema: FeatureSchema) -> NDArray[np.float32]:
        """[n, columns] in the columns' own units, NaN for nothing."""
        plain: list[Array] = []
        raw: list[Array] = []
        for column in self.table.of(*FEATURES):
            if column.kind != "categorical":
                plain.append(rows.numbers[column.name])
                raw += [rows.numbers[column.name]] if column.kind == "raw" else []
                continue
            found, known = rows.words[column.name], self.words[column.name]
            there = np.array([w is not None for w in found])
            for word in known:
                plain.append(np.where(there, found == word, np.nan))
            if column.name in self.others:
                plain.append(np.where(there, ~np.isin(found.astype(str), known), np.nan))
        out = np.stack([*plain, *raw], axis=1).astype(np.float32)
        assert out.shape[1] == len(schema.columns)
        return out

    def unseen(self, rows: OwnRowsRead) -> list[str]:
        """Sentences: words of the rows that training never saw."""
        said = []
        for column in self.table.of("categorical"):
            if column.name in self.others:
                continue
            new = Counter(w for w in rows.words[column.name] if w is not None and w not in self.words[column.name])
            if new:
                word, count = new.most_common(1)[0]
                said.append(
                    f"'{column.name}' has {sum(new.values()):,} values that training never saw, for example {word!r} "
                    f"({count:,} times): none of its indicators is set there"
                )
        return said

    def save(self, folder: Path) -> None:
        columns = [_plain(c) for c in self.table.columns]
        write_json(
            folder / FILE,
            {"version": VERSION, "missing": list(self.table.missing), "columns": columns,
             "words": {k: list(v) for k, v in self.words.items()}, "others": sorted(self.others)},
        )  # fmt: skip

    @staticmethod
    def load(folder: Path) -> Recipe:
        """What `save` wrote; `UserError` names a file that is missing or damaged."""
        path = folder / FILE
        stored: Any = read_json(path)
        try:
            table = parse_table({k: stored[k] for k in ("version", "missing", "columns")}, str(path))
            words = {str(k): tuple(v) for k, v in stored["words"].items()}
            if set(words) != {c.name for c in table.of("categorical")}:
                raise ValueError("its words are not those of the categorical columns")
            if not all(isinstance(w, str) for known in words.values() for w in known):
                raise ValueError("a word is no text")
            return Recipe(table, words, frozenset(map(str, stored["others"])) & set(words))
        except (KeyError, TypeError, AttributeError, ValueError) as e:
            raise UserError(f"{path} is damaged: {e}") from e


def _plain(column: OwnColumn) -> dict[str, Any]:
    """The column as the schema file writes it."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(column).items() if v}


def _named(name: str, taken: set[str]) -> str:
    """A name that can stand in a what-if, a link and a table, and that no other column has; it is added to `taken`."""
    plain = re.sub(r"[\s=,:;|`'\"]+", "_", name.strip()).strip("_")[:80] or "column"
    found, k = plain, 2
    while found in taken:
        found, k = (f"{plain}_column" if plain in TAKEN and f"{plain}_column" not in taken else f"{plain}_{k}"), k + 1
    taken.add(found)
    return found


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "다")) else f"{text}."


def _about(sentence: dict[str, str], word: str | None) -> dict[str, str]:
    """Sentences of an indicator column."""
    en, ko = (sentence[k].rstrip(".") for k in ("en", "ko"))
    ko = ko.removesuffix("입니다")
    if word is None:
        return {"sentence_en": f"{en}: another value than the common ones.", "sentence_ko": f"{ko}: 흔하지 않은 다른 값입니다."}
    return {"sentence_en": f"{en}: '{word}'.", "sentence_ko": f"{ko}: '{word}'."}
