"""Checks of the run itself: are these the bytes of its training, and does the program still say the same?

What they find is certain: it needs no threshold but rounding, and explains everything else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from analysis.stats.written import ROUNDING, TensorChange, Written

SHOWN = 6
WHOLE = "model.safetensors"
"""Subject where more than half of the modules changed."""
MANY, LONG = 24, 80
"""Names and characters that are written out at most."""
UNSEEN = ("brands",)
"""Modules that no output on the stored rows shows: the candidates are met only where offers are scored."""
SMALL = 64
"""Values below which a tensor's size says nothing about a fresh start."""


def _written(s: Statistics) -> Written:
    if s.written is None:
        raise NotMeasured("It was not looked at whether the run is what its training wrote.")
    if s.written.reason:
        raise NotMeasured(s.written.reason)
    return s.written


@check("RUN-CHANGED", "Weights, configuration and preprocess/ are the bytes that training wrote.")
def changed(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding a module (or one for all of them), one a file of preprocess/, one for the configuration and the stored
    customers each."""
    if s.written is not None and s.written.reason and (s.written.sizes or s.written.files or s.written.rounded):
        yield from _of_before(s.written)
        return
    w = _written(s)
    by_module: dict[str, dict[str, TensorChange]] = {}
    for name, how in w.tensors.items():
        by_module.setdefault(how.module, {})[name] = how
    if len(by_module) > max(1, len(w.modules) // 2):
        by_module, totals = {WHOLE: w.tensors}, {WHOLE: sum(w.modules.values())}
    else:
        totals = w.modules
    for module, tensors in by_module.items():
        yield _module(w, t, module, tensors, totals.get(module, len(tensors)))
    for file in (*w.files, *w.gone):
        yield _file(w, file)
    for file, by in w.resaved.items():
        yield _resaved(file, by)
    if w.config:
        yield _configuration(w)
    if w.sample == "changed":
        yield _customers(w, t)


def _module(w: Written, t: Thresholds, module: str, tensors: dict[str, TensorChange], total: int) -> Finding:
    """Of one module (or all of them) whose tensors are not those that training wrote."""
    apart = max(w.effect, key=lambda k: w.effect[k], default="")
    return Finding(
        "RUN-CHANGED",
        "warning" if w.effect and w.effect[apart] <= t.run_differs_prediction and not _unseen(module, tensors) else "error",
        module,
        _how(module, tensors, total),
        (
            Evidence("tensors that changed", float(len(tensors)), 0.0, total, ", ".join(list(tensors)[:SHOWN])),
            *(
                Evidence("root mean square of its values", c.size_now, c.size_then, c.values, k)
                for k, c in list(tensors.items())[:SHOWN]
                if not math.isnan(c.size_now)
            ),
            *(
                Evidence("largest difference of an output", min(w.effect[k], 1e9), t.run_differs_prediction, w.rows, k)
                for k in ([apart] if w.effect else [])
            ),
            *(
                Evidence("tasks it reaches", float(len(tasks)), n=w.rows, text=", ".join(tasks))
                for tasks in ([] if not w.effect or _unseen(module, tensors) else [w.tasks_apart(t.run_differs_prediction)])
                if tasks
            ),
        ),
        None,
        "The file of the weights was edited, partly loaded, merged or damaged after the training.",
        Fix("", None, None, "Take model.safetensors from where it was trained, or train again."),
    )  # fmt: skip


def _file(w: Written, file: str) -> Finding:
    """Of one file of preprocess/ that is gone or another one."""
    parts = w.files.get(file, ())
    return Finding(
        "RUN-CHANGED",
        "error",
        f"preprocess/{file}",
        f"`preprocess/{file}` is gone, although training wrote it."
        if file in w.gone
        else f"In `preprocess/{file}` these entries hold each other's values: {_pairs(w.exchanged[file])}."
        if file in w.exchanged
        else f"`preprocess/{file}` is not the file that training wrote; what changed: {_listed(parts)}."
        if parts
        else f"`preprocess/{file}` is not the file that training wrote.",
        (Evidence("parts that changed", float(len(parts)), 0.0, text=_all(parts)),),
        None,
        "The file was edited, replaced by another run's, or damaged after the training.",
        Fix("", None, None, "Take preprocess/ from where the run was trained, or train again."),
    )


def _resaved(file: str, by: float) -> Finding:
    """Of one file of preprocess/ whose numbers were rounded."""
    return Finding(
        "RUN-CHANGED", "info", f"preprocess/{file}",
        f"`preprocess/{file}` was saved again at lower precision: its numbers are those of training, up to {by:.1g} of "
        "their size.",
        (Evidence("largest relative difference of a number", by, ROUNDING),), None,
        "A tool read the file and wrote it again in 32 bits.",
        Fix("", None, None, "Nothing to do: rounding of this size moves no prediction that is shown."),
    )  # fmt: skip


def _unseen(module: str, tensors: dict[str, TensorChange]) -> bool:
    """Whether more than rounding changed where no output tells what follows."""
    return module in UNSEEN and any(c.how != "rounded" for c in tensors.values())


def _customers(w: Written, t: Thresholds) -> Finding:
    """The stored customers that are others, by the columns that changed. What moves no prediction and no label is a note."""
    inputs = [p for p in w.sample_parts if not p.startswith(("y_", "raw:", "months:")) and p != "empty"]
    labels = [p for p in w.sample_parts if p.startswith("y_")]
    named = _listed((*inputs, *labels) or w.sample_parts)
    told = [v for k, v in w.sample_effect.items() if k.startswith("predictions.")]
    moved = bool(labels) or not w.sample_parts or (bool(inputs) and max(told, default=math.inf) > t.run_differs_prediction)
    largest = min(max(told, default=0.0), 1e9)
    effect = (Evidence("largest difference of a prediction", largest, t.run_differs_prediction, w.rows),)
    return Finding(
        "RUN-CHANGED",
        "warning" if moved else "info",
        "sample",
        f"The stored customers are those of training, but not all of their values; what changed: {named}."
        if w.sample_parts
        else "The stored customers are not those that training stored.",
        (
            Evidence(
                "columns that changed", float(max(len(w.sample_parts), 1)), 0.0, text=", ".join(w.sample_parts) or "sample"
            ),
            *(effect if told else ()),
        ),
        None,
        "Rows of sample/ were edited or replaced after the training: what is measured on them is of other rows.",
        Fix("", None, None, "Take sample/ from where the run was trained, or name the dataset to measure on."),
    )


def _listed(parts: Sequence[str]) -> str:
    """The parts by name where they are few, else grouped by what stands before the first point; `a` (7), `b` (2), +3."""
    groups: dict[str, int] = dict.fromkeys(parts, 1)
    if len(parts) > SHOWN:
        groups = {}
        for part in parts:
            groups[part.split(".")[0]] = groups.get(part.split(".")[0], 0) + 1
    names = [" ".join((f"`{k}`", f"({n})")) if n > 1 else f"`{k}`" for k, n in groups.items()]
    return ", ".join([*names[:SHOWN], *([f"+{len(names) - SHOWN}"] if len(names) > SHOWN else [])])


def _all(parts: Sequence[str]) -> str:
    """As evidence: all of them, or their groups where they are very many."""
    return ", ".join(parts if len(parts) <= MANY else dict.fromkeys(p.split(".")[0] for p in parts))


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(" / ".join((f"`{a}`", f"`{b}`")) for a, b in pairs[:SHOWN])


def _of_before(w: Written) -> Iterator[Finding]:
    """Of a run without fingerprint.json, by the norms in its log and by what its stored customers were made with."""
    for file, parts in w.files.items():
        yield Finding(
            "RUN-CHANGED", "error", f"preprocess/{file}",
            f"`preprocess/{file}` is not the file that the stored customers were made with"
            + (f"; what differs: {_listed(parts)}." if parts else "."),
            (Evidence("parts that changed", float(len(parts)), 0.0, text=_all(parts)),), None,
            "The file was edited, replaced by another run's, or damaged after the training.",
            Fix("", None, None, "Take preprocess/ from where the run was trained, or train again."),
        )  # fmt: skip
    if w.rounded:
        yield Finding(
            "RUN-CHANGED", "warning", WHOLE, "All weights hold values rounded to 16 bits, which no training in 32 leaves.",
            (Evidence("modules that changed", float(len(w.sizes)), 0.0, len(w.modules), ", ".join([*w.sizes][:SHOWN])),), None,
            "The file of the weights was edited, partly loaded, merged or damaged after the training.",
            Fix("", None, None, "Take model.safetensors from where it was trained, or train again."),
        )  # fmt: skip
        return
    changed = list(w.sizes)
    modules = w.sizes
    if len(changed) > max(1, len(w.modules) // 2):
        then, now = (math.sqrt(math.fsum(v[i] ** 2 for v in w.sizes.values())) for i in (0, 1))
        modules = {WHOLE: (then, now)}
    for module, (then, now) in modules.items():
        yield Finding(
            "RUN-CHANGED",
            "error",
            module,
            f"The weights of `{module}` are not those that training kept: in its log their norm is {then:.7g}, here {now:.7g}.",
            (
                Evidence("norm of the weights", now, then),
                Evidence("modules that changed", float(len(changed)), 0.0, len(w.modules), ", ".join(changed[:SHOWN])),
            ),
            None,
            "The file of the weights was edited, partly loaded, merged or damaged after the training.",
            Fix("", None, None, "Take model.safetensors from where it was trained, or train again."),
        )


def _configuration(w: Written) -> Finding:
    """Which keys are others, where the values of training were kept."""
    moved = w.moved_settings
    first = next(iter(w.settings), "")
    others = list(w.settings)[1:]
    then, now = w.settings.get(first, ("", ""))
    verdict = (
        (
            f"`{first}` in `config.yaml` lists the same as in training in another order"
            if _reordered(then, now)
            else f"`{first}` in `config.yaml` was {_cut(then)} in training and is {_cut(now)}"
        )
        + (f"; what else changed: {_listed(others)}." if others else ".")
        if first
        else "`config.yaml` is not the file that training wrote; which key changed is unknown, since this run is of before its "
        "values were kept."
    )
    return Finding(
        "RUN-CHANGED", "error", "config.yaml", verdict,
        (
            Evidence("keys that changed", float(len(moved)), 0.0, text=", ".join(map(_cut, moved[:MANY])))
            if moved
            else Evidence("files that changed", 1.0, 0.0, text="config.yaml"),
        ), None,
        "The configuration was edited after the training; the weights were trained with another.",
        Fix("", None, None, "Put the training's own config.yaml back; a change of it needs another training."),
    )  # fmt: skip


def _reordered(then: str, now: str) -> bool:
    """Two lists, as JSON, of the same values."""
    lists = []
    for text in (then, now):
        try:
            lists.append(json.loads(text))
        except ValueError:
            return False
    one, other = lists
    return isinstance(one, list) and isinstance(other, list) and sorted(map(str, one)) == sorted(map(str, other))


def _cut(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."


def _how(module: str, tensors: dict[str, TensorChange], total: int) -> str:
    """What happened to a module, as far as its bytes prove it."""
    n = len(tensors)
    name, first = next(iter(tensors.items()))
    if n == 1 and first.how == "value":
        return f"One value of `{name}` in `{module}` is another than training wrote: {first.was:.6g} became {first.now:.6g}."
    if all(c.how == "factor" and math.isclose(c.factor, first.factor, rel_tol=1e-3) for c in tensors.values()):
        return (
            f"{n} of {total} tensors of `{module}` were multiplied by {first.factor:.4g} after the training, `{name}` for one."
        )
    if all(c.start == "same" for c in tensors.values()):
        return f"{n} of {total} tensors of `{module}` are this configuration's untrained start: the module was re-initialised."
    if all(c.how == "rounded" for c in tensors.values()):
        return f"{n} of {total} tensors of `{module}` hold the values of training rounded to 16 bits, `{name}` for one."
    if all(c.how == "order" for c in tensors.values()):
        return f"{n} of {total} tensors of `{module}` hold their values in another order than training wrote, `{name}` for one."
    fresh = [c for c in tensors.values() if c.start]
    if fresh and all(c.start or c.values < SMALL for c in tensors.values()):
        return (
            f"{n} of {total} tensors of `{module}` are others, in size those of a fresh start: the module was re-initialised."
        )
    return f"{n} of {total} tensors of `{module}` are not those that training wrote, `{name}` for one."


@check(
    "RUN-DIFFERS", "The program says the same of the stored customers as at the end of training.",
    unplantable="the program itself would have to be another one than the one that trained",
)  # fmt: skip
def differs(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The first part along the way of the data whose output is another, although weights and rows are the same."""
    w = _written(s)
    if w.changed:
        raise NotMeasured("The run's own files have changed: what its parts say follows from that.")
    if w.sample != "same" or not w.outputs:
        raise NotMeasured("The stored customers are not those of the training: outputs cannot be compared.")
    apart = {k: v for k, v in w.outputs.items() if v > t.run_differs}
    if not apart:
        return
    first = next(iter(apart))
    told = [v for k, v in apart.items() if k.startswith("predictions.")]
    largest = max(told, default=0.0)
    yield Finding(
        "RUN-DIFFERS",
        "error" if largest > t.run_differs_prediction else "warning",
        first,
        f"The bytes are those of training, yet `{first}` is another for the same customers, by {apart[first]:.2g} of its size.",
        (
            Evidence("difference as a share of its size", min(apart[first], 1e9), t.run_differs, w.rows),
            Evidence("parts that differ", float(len(apart)), 0.0, len(w.outputs), ", ".join(list(apart)[:SHOWN])),
            Evidence("largest difference of a prediction", min(largest, 1e9), t.run_differs_prediction, w.rows),
            Evidence("differs from the end of training", float(len(w.environment)), None, text=w.moved),
        ),
        None,
        "The source of the program is another than at the end of training, and computes something else."
        if "code" in w.environment
        else "The library that computes is another version than at the end of training."
        if {"torch", "numpy"} & set(w.environment)
        else "The same program computes something else here: look at the device, its drivers and its precision.",
        Fix("", None, None, "Open the run with the release that trained it, or train it again with this one."),
    )
