"""Whether a worker of a cluster runs what the command runs: else the same work would not come to the same bytes.

Each shard brings the versions of the command's own process and is refused by a worker that has others, before any work; of a
cluster that was there already every machine is asked first, so that one which differs is known before a shard is given out.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from ple_model.errors import UserError
from ple_model.provenance import library_versions
from ple_model.sources import package_digest

SOURCES = "source files of ple-scope"
ALSO = ("pandas", "hmmlearn", "gudhi", "captum")
"""Libraries that shards call besides those that a run is stored with."""


class OtherVersions(UserError):
    """A worker does not run what the command runs."""


@cache
def own_versions() -> dict[str, str]:
    """Of this process: Python, the libraries that shards call by name, this package and its source files (an unreleased version
    has many)."""
    found = {**library_versions(), SOURCES: package_digest("ple_model", "analysis")}
    for name in ALSO:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # of an extra
            continue
    return found


def require_same(commands: Mapping[str, str]) -> None:
    """In a worker: `OtherVersions` that names the first that differs, the command's and the worker's."""
    found = other_versions(commands, own_versions())
    if found is not None:
        raise OtherVersions(f"{found} on {platform.node()}; install the same on every machine of the cluster")


def other_versions(commands: Mapping[str, str], workers: Mapping[str, str]) -> str | None:
    """What differs, as the beginning of a sentence; None where nothing does."""
    for name in dict.fromkeys((*commands, *workers)):
        mine, theirs = commands.get(name, "not installed"), workers.get(name, "not installed")
        if mine != theirs:
            return f"another version: {name} is {mine} where the command runs and {theirs}"
    return None
