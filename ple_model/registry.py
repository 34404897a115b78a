"""Experts by name: a shared expert is one class in one file under `ple_model/experts`, found by the name it declares."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

import ple_model.experts as package
from ple_model.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ple_model.experts.base import Expert


@cache
def expert_classes() -> dict[str, type[Expert]]:
    """Every expert class under `ple_model.experts`, by its `name`."""
    from ple_model.experts.base import Expert  # late: torch

    found: dict[str, type[Expert]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        members = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        for value in members.values():
            if isinstance(value, type) and issubclass(value, Expert) and value is not Expert:
                if value.name in found and found[value.name] is not value:
                    raise RuntimeError(f"two experts are named '{value.name}': {found[value.name]} and {value}")
                found[value.name] = value
    return found


def expert_class(name: str) -> type[Expert]:
    """The expert class of this config name; `UserError` with the nearest name otherwise."""
    classes = expert_classes()
    if name not in classes:
        raise UserError(f"shared_experts.{name}: no such expert{did_you_mean(name, classes)}")
    return classes[name]
