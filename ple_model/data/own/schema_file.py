"""The schema file of a table of one's own: which column is what, in which unit, and which task a label feeds.

    version: 1
    missing: ["?"]                         # words that mean nothing, beside the usual ones
    currency: USD                          # of the columns whose unit is currency
    columns:
    - name: person_id
      kind: id
    - name: age
      kind: numeric                        # or raw: a heavy-tailed amount, also given in its own scale
      unit: years
      fixed: true                          # nobody can change it: no counterfactual moves it
      barred: true                         # it may not be given as a reason
      sentence_en: Age at the interview.
      sentence_ko: 조사 당시 나이입니다.    # default: the English sentence
    - name: workclass
      kind: categorical
      sentence_en: Type of employer.
    - name: income
      kind: label
      task: churn
      positive: ">50K"                     # of a yes-or-no task: what counts as 1 (a list for several)
      sentence_en: Income above 50,000.
    - name: comment
      kind: ignored

A column of a table that the file does not name is ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ple_model.data.dataset.columns import is_wide_task
from ple_model.errors import UserError, did_you_mean
from ple_model.money import require_currency
from ple_model.tasks import TASKS
from ple_model.yaml_text import parse_yaml

KINDS = ("id", "cutoff", "split", "numeric", "raw", "categorical", "label", "ignored")
FEATURES = ("numeric", "raw", "categorical")
TOP = ("version", "missing", "currency", "columns")
KEYS = ("name", "kind", "unit", "sentence_en", "sentence_ko", "group", "fixed", "barred", "task", "positive", "classes")
LONGEST = 1000
"""Characters of a text in the file."""


def label_tasks() -> tuple[str, ...]:
    """Tasks that a column can feed: those whose label is one value, and no brand."""
    return tuple(n for n, spec in TASKS.items() if spec.kind != "contrastive" and not is_wide_task(n))


@dataclass(frozen=True)
class OwnColumn:
    """One column of the table. `positive` and `classes` say how a label's values are read."""

    name: str
    kind: str
    unit: str = ""
    sentence_en: str = ""
    sentence_ko: str = ""
    group: str = "own"
    task: str = ""
    positive: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    fixed: bool = False
    """Nobody can change it, such as an age."""
    barred: bool = False
    """It may not be given as a reason."""


@dataclass(frozen=True)
class OwnTable:
    """What the schema file says."""

    columns: tuple[OwnColumn, ...]
    missing: tuple[str, ...] = ()
    currency: str = ""
    """ISO 4217 code of the columns whose unit is `currency`; empty where it is not known."""

    def of(self, *kinds: str) -> tuple[OwnColumn, ...]:
        return tuple(c for c in self.columns if c.kind in kinds)

    def one(self, kind: str) -> str | None:
        """The name of the only column of this kind."""
        return next((c.name for c in self.columns if c.kind == kind), None)


def load_table(path: Path) -> OwnTable:
    """The schema file; `UserError` with every fault in one sentence."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"'{path}' cannot be read: {e}") from e
    plain: Any = parse_yaml(text, str(path))
    return parse_table(plain, str(path))


def parse_table(plain: Any, where: str) -> OwnTable:
    """From plain data; `where` names its source in the error."""
    if not isinstance(plain, Mapping) or not isinstance(plain.get("columns"), list) or not plain["columns"]:
        raise UserError(f"'{where}' has no list 'columns'")
    faults = [f"'{k}' is no key{did_you_mean(str(k), TOP)}" for k in plain if k not in TOP]
    if plain.get("version", 1) != 1:
        faults.append(f"version {plain['version']!r} is not read here, expected 1")
    columns = []
    for i, entry in enumerate(plain["columns"]):
        found = _column(entry, i, faults)
        if found is not None:
            columns.append(found)
    faults += _together(columns)
    missing = plain.get("missing") or []
    if not isinstance(missing, list) or not all(isinstance(w, (str, int, float)) for w in missing):
        faults.append("'missing' is not a list of words")
        missing = []
    if faults:
        raise UserError(f"'{where}' cannot be used: {'; '.join(faults)}")
    currency = require_currency(f"'{where}': currency", plain.get("currency"))
    return OwnTable(tuple(columns), tuple(str(w) for w in missing), currency)


def _column(entry: Any, i: int, faults: list[str]) -> OwnColumn | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        faults.append(f"entry {i + 1} of 'columns' has no text 'name'")
        return None
    name, kind = entry["name"], entry.get("kind")
    for key in entry:
        if key not in KEYS:
            faults.append(f"column '{name}': '{key}' is no key{did_you_mean(str(key), KEYS)}")
    if kind not in KINDS:
        faults.append(f"column '{name}' has the unknown kind {kind!r}{did_you_mean(str(kind), KINDS)}")
        return None
    texts: dict[str, str] = {}
    for key in ("unit", "sentence_en", "sentence_ko", "group"):
        value = entry.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > LONGEST):
            faults.append(f"column '{name}': {key} is not a text of at most {LONGEST} characters")
        elif value is not None and value.strip():
            texts[key] = value.strip()
    positive, classes = (_words(entry.get(k), name, k, faults) for k in ("positive", "classes"))
    marks = {key: entry.get(key, False) for key in ("fixed", "barred")}
    for (key, marked), why in zip(marks.items(), ("moved by a counterfactual", "a reason"), strict=True):
        if not isinstance(marked, bool):
            faults.append(f"column '{name}': {key} is {str(marked)[:40]!r}; give true or false")
        elif marked and kind not in FEATURES:
            faults.append(f"column '{name}' is {key}, but its kind is '{kind}'; only a feature is {why}")
    task = entry.get("task") or ""
    if kind == "label":
        if task not in label_tasks():
            faults.append(f"column '{name}' is a label of no task ({task!r}){did_you_mean(str(task), label_tasks())}")
            return None
        spec = TASKS[task]
        if spec.kind == "multiclass" and len(classes) > spec.out_dim:
            faults.append(f"column '{name}' has {len(classes)} classes, task '{task}' takes {spec.out_dim} at most")
    elif task:
        faults.append(f"column '{name}' names a task, but its kind is '{kind}'; only a label feeds a task")
    return OwnColumn(
        name,
        kind,
        task=str(task),
        positive=positive,
        classes=classes,
        fixed=marks["fixed"] is True,
        barred=marks["barred"] is True,
        **texts,
    )


def _words(value: Any, name: str, key: str, faults: list[str]) -> tuple[str, ...]:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(v, (str, int, float)) for v in listed):
        faults.append(f"column '{name}': {key} is no text and no list of texts; write it in quotes")
        return ()
    return tuple(_word(v) for v in listed)


def _word(value: Any) -> str:
    """A value of the table as text; YAML reads an unquoted yes as true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _together(columns: list[OwnColumn]) -> list[str]:
    """Faults that need all columns."""
    counts = Counter(c.name for c in columns)
    faults = [f"the name '{n}' stands {k} times in 'columns'" for n, k in counts.items() if k > 1]
    for kind in ("id", "cutoff", "split"):
        named = [c.name for c in columns if c.kind == kind]
        if len(named) > 1:
            faults.append(f"{len(named)} columns have the kind '{kind}': {', '.join(named)}; one at most")
    tasks = Counter(c.task for c in columns if c.kind == "label")
    faults += [f"{k} labels feed the task '{t}'; one at most" for t, k in tasks.items() if k > 1]
    if not any(c.kind in FEATURES for c in columns):
        faults.append("no column is a feature: give one the kind numeric, raw or categorical")
    return faults
