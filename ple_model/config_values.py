"""Each key of a configuration with its value, so that two of them can be told apart key by key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping

from ple_model.config import Config

NOT_SET = "not set"


def config_values(config: Config) -> dict[str, str]:
    """`training.learning_rate` -> "0.0005": every key with its value as JSON, defaults included."""
    return {key: value for key, value, _ in _walk(config, "")}


def changed_values(then: Mapping[str, str], config: Config) -> dict[str, tuple[str, str]]:
    """By key: (value then, value now). A key that `then` does not know (a later release's) counts where it is not at its
    default; the order of the keys counts nowhere."""
    now = {key: (value, default) for key, value, default in _walk(config, "")}
    gone = {key: (value, NOT_SET) for key, value in then.items() if key not in now and value != "null"}
    new = {key: (NOT_SET, v) for key, (v, default) in now.items() if key not in then and v not in (default, "null")}
    moved = {key: (value, now[key][0]) for key, value in then.items() if key in now and now[key][0] != value}
    return {**moved, **new, **gone}


def _walk(value: object, name: str, default: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, value, default as far as there is one) of every leaf."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for f in dataclasses.fields(value):
            key = "global" if f.name == "global_" else f.name
            made = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
            standard = "" if made is dataclasses.MISSING else _text(made)
            yield from _walk(getattr(value, f.name), f"{name}.{key}" if name else key, standard)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{name}.{key}")
    else:
        yield name, _text(value), default


def _text(value: object) -> str:
    plain = [dataclasses.asdict(v) if dataclasses.is_dataclass(v) and not isinstance(v, type) else v for v in _list(value)]
    return json.dumps(plain if isinstance(value, list | tuple) else plain[0], ensure_ascii=False, sort_keys=True, default=str)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]
