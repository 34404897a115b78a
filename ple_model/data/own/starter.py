"""A starter schema for a table of one's own: what each column is, guessed from its values; every guess is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ple_model.data.dataset.columns import SPLITS
from ple_model.data.own.schema_file import FEATURES, OwnColumn
from ple_model.data.own.table import OwnFile, opened
from ple_model.errors import UserError
from ple_model.safe_paths import write_bytes
from ple_model.sql_text import quote, sql_list
from ple_model.tasks import TASKS

IDS = ("customer_id", "customerid", "id", "person_id", "client_id", "user_id", "account_id", "member_id", "uid", "key")
CUTOFFS = ("cutoff", "cut_off", "as_of", "as_of_date", "snapshot", "snapshot_date", "reference_date")
TARGETS = (
    "target", "label", "class", "outcome", "response", "churn", "churned", "income", "exited", "default", "defaulted", "y",
)  # fmt: skip
POSITIVE = ("1", "yes", "y", "true", "t", "positive", ">50k", ">50k.", "churned", "good")
NOTHING = ("?", "-", "--")
"""Marks that mean an empty cell beside the usual words."""
BINARY = ("churn", "cvr", "ctr", "retention")
CLASSES = ("channel", "life_stage", "consumption_cycle", "nba", "spending_category", "timing")
AMOUNTS = ("balance_util", "spending_bucket", "merchant_affinity")
MOST_WORDS = 200
"""More different texts than this: free text, not a category."""
UNITS = (("age", "years"), ("year", "years"), ("weeks", "weeks"), ("days", "days"), ("hours", "hours"), ("percent", "%"),
         ("wage", "currency"), ("income", "currency"), ("amount", "currency"), ("balance", "currency"), ("price", "currency"),
         ("salary", "currency"), ("gain", "currency"), ("loss", "currency"), ("num", "count"), ("count", "count"))  # fmt: skip
"""A word of the name -> a unit."""


FIXED = re.compile(
    r"(^|_)(age|birth|born|dob|yob|sex|gender|race|ethnicity|nationality|native|country_of_birth|native_country|alter|geburt\w*|"
    r"geschlecht|naissance|sexe|edad|nacimiento|sexo|wiek|plec|płeć|tenure|customer_since|joined)(_|$)|나이|연령|출생|생년|성별|국적"
)
"""Names of what nobody can change about themselves."""


@dataclass(frozen=True)
class ColumnFacts:
    """What the values of one column say."""

    name: str
    type: str
    rows: int
    filled: int
    distinct: int
    numbers: int
    whole: int
    dates: int
    low: float
    high: float
    heavy: bool
    words: tuple[str, ...]
    """The commonest, at most 30."""
    counts: tuple[int, ...]

    @property
    def numeric(self) -> bool:
        return self.filled > 0 and self.numbers == self.filled


@dataclass
class StarterSchema:
    """What was written, for people to read."""

    path: Path
    columns: list[OwnColumn]
    missing: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    """A line a column: what it was taken for, and why."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


def write_starter(file: Path, out: Path) -> StarterSchema:
    """Write the starter schema of `file` to `out`, a new file."""
    if out.exists():
        raise UserError(f"'{out}' exists already; give a new place")
    if not out.parent.is_dir():
        raise UserError(f"'{out.parent}' is not a folder; '{out.name}' cannot be written there")
    with opened(Path(file)) as plain:
        missing = _nothing(plain)
        source = OwnFile(plain.con, plain.file, plain.types, missing)
        facts = [_facts(source, name) for name in source.types]
    found = StarterSchema(out, [], missing)
    if missing:
        words = ", ".join(missing)
        found.lines.append(f"{'missing':<28}{words}: taken for an empty cell; if it is a word, remove it from 'missing'")
    _guess(facts, found)
    write_bytes(out, _text(Path(file), found).encode())
    return found


def _nothing(source: OwnFile) -> tuple[str, ...]:
    """Of `NOTHING`, the words that are the whole of some cell."""
    seen: set[str] = set()
    for name, kind in source.types.items():
        if kind == "VARCHAR":
            text = f"trim({quote(name)})"
            found = source.con.execute(f"SELECT DISTINCT {text} FROM file WHERE {text} IN ({sql_list(NOTHING)})").fetchall()
            seen.update(str(r[0]) for r in found)
    return tuple(w for w in NOTHING if w in seen)


def _facts(source: OwnFile, name: str) -> ColumnFacts:
    text = source.text(name)
    value = source.number(name) if source.types[name].split("(")[0] not in ("DATE", "TIMESTAMP") else "NULL::DOUBLE"
    plain = source.con.execute(
        f"WITH c AS (SELECT {text} AS t, {value} AS v FROM file) SELECT count(*), count(t), count(DISTINCT t), count(v), "
        "count(*) FILTER (v = round(v)), "
        "count(*) FILTER (TRY_CAST(t AS DATE) IS NOT NULL OR TRY_CAST(t AS TIMESTAMP) IS NOT NULL), min(v), max(v), "
        "quantile_cont(abs(v), 0.99) FILTER (v != 0), median(abs(v)) FILTER (v != 0) FROM c"
    ).fetchall()[0]
    common = source.con.execute(
        f"SELECT t, count(*) AS k FROM (SELECT {text} AS t FROM file) WHERE t IS NOT NULL GROUP BY t "
        "ORDER BY k DESC, t LIMIT 30"
    ).fetchall()
    rows, filled, distinct, numbers, whole, dates, low, high, tail, middle = plain
    heavy = low is not None and low >= 0 and tail is not None and middle and tail > 10 * middle
    return ColumnFacts(
        name, source.types[name], rows, filled, distinct, numbers, whole, dates, float(low or 0), float(high or 0), bool(heavy),
        tuple(str(t) for t, _ in common), tuple(int(k) for _, k in common),
    )  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


def _guess(facts: list[ColumnFacts], found: StarterSchema) -> None:
    key = next((f.name for w in IDS for f in facts if _plain(f.name) == w and f.filled == f.rows), None)
    if key is None:
        key = next((f.name for f in facts if f.distinct == f.rows == f.filled and f.type == "VARCHAR" and not f.numeric), None)
    left = dict.fromkeys((*BINARY, *CLASSES, *AMOUNTS))
    for f in facts:
        column, why = _kind(f, key, left)
        if column.kind in FEATURES and FIXED.search(_plain(f.name)):
            column, why = replace(column, fixed=True), f"{why}; fixed: by its name nobody can change it"
        if column.task:
            left.pop(column.task)
        found.columns.append(column)
        found.lines.append(f"{f.name[:27]:<28}{column.kind}{f' of {column.task}' if column.task else ''}: {why}")
    if key is None:
        found.lines.append("no column looks like an id: rows are customers by their number in the file")
    if not any(c.kind == "label" for c in found.columns):
        found.lines.append("no column looks like a label: give one the kind label and a task before the import")


def _kind(f: ColumnFacts, key: str | None, tasks: Iterable[str]) -> tuple[OwnColumn, str]:
    name = _plain(f.name)
    if f.name == key:
        return OwnColumn(f.name, "id"), f"{f.distinct:,} different values in {f.rows:,} rows"
    if not f.filled:
        return OwnColumn(f.name, "ignored"), "empty"
    if name in CUTOFFS and f.dates == f.filled:
        return OwnColumn(f.name, "cutoff"), "dates, by its name those as of which the row holds"
    if name == "split" and set(f.words) <= set(SPLITS):
        return OwnColumn(f.name, "split"), "train, validation and test"
    if f.distinct == 1:
        return OwnColumn(f.name, "ignored"), f"{f.words[0]!r} in every row"
    if name in TARGETS or f.name in TASKS or name.startswith(("target_", "label_")) or name.endswith(("_target", "_label")):
        label = _label(f, tuple(tasks))
        if label is not None:
            return label, _label_words(label, f)
    if f.dates == f.filled and not f.numeric:
        return OwnColumn(f.name, "ignored"), "dates; give their distance to the cut-off in days as a number instead"
    if f.numeric:
        return _number(f)
    if f.distinct <= MOST_WORDS and f.distinct <= max(20, f.filled // 5):
        some = ", ".join(repr(w) for w in f.words[:3])
        return OwnColumn(f.name, "categorical", sentence_en=_sentence(f.name)), f"{f.distinct} different texts, such as {some}"
    return OwnColumn(f.name, "ignored"), f"{f.distinct:,} different texts, too many for a category, such as {f.words[0][:40]!r}"


def _number(f: ColumnFacts) -> tuple[OwnColumn, str]:
    words = set(_plain(f.name).split("_"))
    unit = next((u for w, u in UNITS if w in words), "")
    span = f"numbers from {f.low:,.6g} to {f.high:,.6g}"
    if f.distinct == 2 and (f.low, f.high) == (0.0, 1.0):
        return OwnColumn(f.name, "numeric", unit="flag", sentence_en=_sentence(f.name)), "0 and 1"
    said = f"{span}, heavy-tailed" if f.heavy else span
    if f.whole == f.numbers and f.distinct <= 12 and not f.heavy:
        said += f", {f.distinct} different whole numbers: if they are codes, make it categorical"
    guess = f"unit '{unit}' by its name" if unit else "no unit: its name says none"
    return OwnColumn(f.name, "raw" if f.heavy else "numeric", unit=unit, sentence_en=_sentence(f.name)), f"{said}; {guess}"


def _label(f: ColumnFacts, tasks: tuple[str, ...]) -> OwnColumn | None:
    said = _sentence(f.name)
    known = f.name if f.name in tasks else None
    if f.distinct == 2 and (task := known or next((t for t in BINARY if t in tasks), None)) is not None:
        if f.numeric and (f.low, f.high) == (0.0, 1.0):
            return OwnColumn(f.name, "label", task=task, sentence_en=said)
        yes = next((w for w in f.words if w.lower() in POSITIVE), f.words[-1])
        return OwnColumn(f.name, "label", task=task, positive=(yes,), sentence_en=said)
    if f.numeric and f.distinct > 28 and (task := known or next((t for t in AMOUNTS if t in tasks), None)) is not None:
        return OwnColumn(f.name, "label", task=task, sentence_en=said)
    fits = next((t for t in CLASSES if t in tasks and 2 < f.distinct <= TASKS[t].out_dim), None)
    if fits is not None:
        return OwnColumn(f.name, "label", task=fits, classes=tuple(sorted(f.words)), sentence_en=said)
    return None


def _label_words(label: OwnColumn, f: ColumnFacts) -> str:
    kind = TASKS[label.task].kind
    if kind == "regression":
        return f"by its name a label; numbers from {f.low:,.6g} to {f.high:,.6g}"
    if kind == "binary":
        yes = label.positive[0] if label.positive else "1"
        share = f.counts[f.words.index(yes)] / f.filled if yes in f.words else 0.0
        return f"by its name a label; {yes!r} counts as 1 ({share:.1%} of the rows)"
    return f"by its name a label of {f.distinct} classes"


def _sentence(name: str) -> str:
    text = re.sub(r"[\s_]+", " ", name).strip() or name
    return f"{text[:1].upper()}{text[1:]}."


def _text(file: Path, found: StarterSchema) -> str:
    """The schema file: JSON's quotes keep any name or value what it is."""
    lines = [
        f"# A starter schema for {json.dumps(file.name, ensure_ascii=False)}: every line is a guess. Read it and correct it.",
        "# kind: id, cutoff, split, numeric, raw (a heavy-tailed amount), categorical, label or ignored.",
        "# fixed: true where nobody can change it: what would have to differ for another decision never names it.",
        "# unit and sentence_en (sentence_ko) are what explanations say; task: what a label feeds; positive: what counts as 1.",
        "version: 1",
        f"missing: {json.dumps(list(found.missing), ensure_ascii=False)}",
        "columns:",
    ]
    for column in found.columns:
        lines.append(f"- name: {json.dumps(column.name, ensure_ascii=False)}")
        lines.append(f"  kind: {column.kind}")
        if column.kind == "label":
            lines.append(f"  task: {column.task}")
            if column.positive:
                lines.append(f"  positive: {json.dumps(list(column.positive), ensure_ascii=False)}")
            if column.classes:
                lines.append(f"  classes: {json.dumps(list(column.classes), ensure_ascii=False)}")
        if column.kind in FEATURES and column.unit:
            lines.append(f"  unit: {json.dumps(column.unit, ensure_ascii=False)}")
        if column.fixed:
            lines.append("  fixed: true")
        if column.sentence_en:
            lines.append(f"  sentence_en: {json.dumps(column.sentence_en, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
