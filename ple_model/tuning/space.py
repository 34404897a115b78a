"""What a study varies: dimensions that the config's fields declare (`searchable`), narrowed or added to by `KEY=RANGE`.

A range is `LOW..HIGH`, `LOW..HIGH:log` or `A|B|C`; a key alone takes what its field declares. Both ends of every range are held
against the configuration, so that a wrong key or an impossible value is told before anything is trained.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ple_model.arguments import shown
from ple_model.config import Config, apply_overrides, config_from_dict
from ple_model.config_values import config_values
from ple_model.errors import UserError, did_you_mean
from ple_model.searchable import SEARCH, Between, OneOf
from ple_model.tuning.dimension import Dimension, Value, setting, text_of
from ple_model.yaml_text import parse_yaml

MAX_CHOICES = 100


def declared(config: Config) -> dict[str, Dimension]:
    """By key, what the fields of this configuration may be searched over, in the order of its sections."""
    return {d.key: d for d in _walk(config, "")}


def first_keys(config: Config) -> tuple[Dimension, ...]:
    """Those that are tried first, in that order."""
    found = [d for d in declared(config).values() if d.first]
    return tuple(sorted(found, key=lambda d: (d.first, d.key)))


def _walk(section: Any, name: str) -> Iterator[Dimension]:
    hints = typing.get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        key = "global" if field.name == "global_" else field.name
        path = f"{name}.{key}" if name else key
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _walk(value, path)
        elif isinstance(value, Mapping):
            for inner, part in value.items():
                if dataclasses.is_dataclass(part) and not isinstance(part, type):
                    yield from _walk(part, f"{path}.{inner}")
        elif (search := field.metadata.get(SEARCH)) is not None:
            yield _dimension(path, search, hints[field.name], str(field.metadata.get("help", "")))


def _dimension(key: str, search: Between | OneOf, hint: Any, text: str) -> Dimension:
    if isinstance(search, OneOf):
        choices = tuple(json.dumps(v) for v in search.values)
        return Dimension(key, "choice", choices=choices, first=search.first, help=text)
    whole = hint is int or int in typing.get_args(hint)
    return Dimension(key, "int" if whole else "float", search.low, search.high, search.log, first=search.first, help=text)


def chosen_space(config: Config, given: Sequence[str] = (), *, only: bool = False) -> tuple[Dimension, ...]:
    """The keys that are tried first, with those of `given` (`KEY` or `KEY=RANGE`) narrowed or added; `only` those.

    `UserError` for an unknown key, a key without a range, a range that the configuration does not allow, or none at all."""
    known = declared(config)
    space = {} if only else {d.key: d for d in first_keys(config)}
    asked = [_given(config, known, text) for text in given]
    twice = next((d.key for i, d in enumerate(asked) if d.key in {e.key for e in asked[:i]}), None)
    if twice:
        raise UserError(f"--key {twice}: given twice")
    space |= {d.key: d for d in asked}
    if not space:
        raise UserError("there is no key to search over: name one with --key, `ple tune --space` lists those that have a range")
    for one in space.values():
        _allowed(config, one)
    return tuple(space.values())


def _given(config: Config, known: Mapping[str, Dimension], text: str) -> Dimension:
    key, equals, wanted = text.partition("=")
    key = key.strip()
    if not equals:
        if key not in known:
            everything = config_values(config)
            if key in everything:
                raise UserError(f"--key {key}: it declares no range, give one, for example {key}=LOW..HIGH or {key}=A|B")
            raise UserError(f"--key {shown(key)}: no such key{did_you_mean(key, [*known, *everything])}")
        return known[key]
    found = _range(key, wanted.strip(), known.get(key))
    if key not in known and key not in config_values(config):
        try:
            with_setting(config, setting(key, found.choices[0] if found.choices else found.low))
        except UserError as e:
            near = did_you_mean(key, [*known, *config_values(config)])
            raise UserError(f"--key {shown(key)}: {e}" if near in str(e) else f"--key {shown(key)}: no such key{near}") from e
    if found.kind == "float" and isinstance(_value(config, found), int):
        found = replace(found, kind="int")
    return found


def _range(key: str, wanted: str, known: Dimension | None) -> Dimension:
    first, text = (known.first, known.help) if known else (0, "")
    if ".." not in wanted:
        choices = tuple(c.strip() for c in wanted.split("|") if c.strip())
        if not 1 <= len(choices) <= MAX_CHOICES or len(set(choices)) < len(choices):
            raise UserError(f"--key {key}: {shown(wanted)} is no range, expected LOW..HIGH, LOW..HIGH:log or A|B|C")
        for choice in choices:
            parse_yaml(choice, f"--key {key}")
        return Dimension(key, "choice", choices=choices, first=first, help=text)
    ends, colon, how = wanted.partition(":")
    if colon and how not in ("log", "linear"):
        raise UserError(f"--key {key}: ':{how}' is not valid{did_you_mean(how, ('log', 'linear'))}")
    low, high = (_end(key, e) for e in ends.split("..", 1))
    log = how == "log" if colon else bool(known and known.log and low > 0)
    if not low < high:
        rule = "its first number must be below its second"
        raise UserError(f"--key {key}: {ends} is no range, {rule}; did you mean '{_swap(ends)}'?")
    if log and low <= 0:
        raise UserError(f"--key {key}: {ends}:log is not valid, a range of factors begins above 0")
    return Dimension(key, "float", low, high, log, first=first, help=text)


def _swap(ends: str) -> str:
    low, high = ends.split("..", 1)
    return f"{high}..{low}"


def _end(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as e:
        raise UserError(f"--key {key}: {shown(text)} is no number, expected LOW..HIGH, for example 1e-4..1e-2:log") from e
    if not math.isfinite(value):
        raise UserError(f"--key {key}: {shown(text)} is not valid, it must be finite")
    return value


def _value(config: Config, one: Dimension) -> Any:
    """What the configuration makes of the lower end of a range."""
    at: Any = config.to_dict()
    low = int(one.low) if one.low == int(one.low) else one.low
    try:
        at = with_setting(config, setting(one.key, low)).to_dict()
    except UserError:
        return None  # told by `_allowed`
    for part in one.key.split("."):
        at = at.get(part) if isinstance(at, Mapping) else None
    return None if isinstance(at, bool) else at


def _allowed(config: Config, one: Dimension) -> None:
    ends: list[Value] = list(one.choices) if one.kind == "choice" else [one.low, one.high]
    if one.kind == "int":
        wrong = next((e for e in ends if float(e) != int(float(e))), None)
        if wrong is not None:
            raise UserError(f"--key {one.key}: {text_of(wrong)} is not valid, it takes whole numbers")
        ends = [int(e) for e in ends]
    for end in ends:
        try:
            with_setting(config, setting(one.key, end))
        except UserError as e:
            raise UserError(f"--key {one.key}={one.range}: {e}") from e


def with_setting(config: Config, *settings: str) -> Config:
    """The configuration with `key=value` settings laid on it."""
    return config_from_dict(apply_overrides(config.to_dict(), settings))
