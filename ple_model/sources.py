"""What a stored result was computed with: one digest of all source files that a module imports, directly or through others.

A stored result is reused only while its key is the same, and a key with this digest cannot leave a file out: nobody keeps a
list or raises a number. Imports are followed inside functions too, since most of what is imported late computes something. Of
a package whose modules are found by looking (`pkgutil`) all are taken, and so is a data file that a module names and that lies
beside it (`feature_schema.yaml`). Whole files count, comments included: to measure once too often is cheaper than a wrong
answer.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

BASE = Path(__file__).parent.parent
"""The folder that holds the packages, in a checkout and in an installation."""
STARTED = time.time()
_FOR_TYPES_ONLY = re.compile(r"^([ \t]*)if TYPE_CHECKING:.*\n(?:\1[ \t]+.*\n|[ \t]*\n)*", re.MULTILINE)
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<where>[.\w]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n]*)|import[ \t]+(?P<plain>[^\n]+))",
    re.MULTILINE,
)
_FILE = re.compile(r"""["']([\w-]+\.\w+)["']""")


def source_digest(*modules: str) -> str:
    """20 hex digits over these modules (or packages) and all that they import of this program; computed once a process."""
    return _digest(BASE, modules)


def source_files(*modules: str) -> tuple[Path, ...]:
    """The files that `source_digest` reads, by name."""
    return _files(BASE, modules)


@cache
def package_digest(*packages: str) -> str:
    """12 hex digits over all source files of these packages as they lie there; those that are not installed are left out."""
    files = sorted(p for name in packages for end in ("py", "sql", "yaml") for p in (BASE / name).rglob(f"*.{end}"))
    return _digest_of(BASE, files)[:12]


@cache
def _digest(base: Path, modules: tuple[str, ...]) -> str:
    return _digest_of(base, _files(base, modules))[:20]


def _digest_of(base: Path, files: Iterable[Path]) -> str:
    h = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        h.update(f"{path.relative_to(base).as_posix()}:{len(content)}:".encode() + content)
        if path.stat().st_ctime > STARTED:
            # changed while this process runs: what it computes is not what this file says, so it may be nobody else's answer
            h.update(f"{os.getpid()}:{STARTED}".encode())
    return h.hexdigest()


def _files(base: Path, modules: tuple[str, ...]) -> tuple[Path, ...]:
    found: dict[str, Path] = {}
    beside: set[Path] = set()
    waiting = list(modules)
    own = {"ple_model", *(m.partition(".")[0] for m in modules)}
    while waiting:
        module = waiting.pop()
        path = _file(base, module, own)
        if path is None or module in found:
            continue
        found[module] = path
        text = path.read_text(encoding="utf-8")
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        imports = _imports(base, text, package, own)
        if "pkgutil.iter_modules(" in text:
            imports |= {m for name in (*imports, package) for m in _modules(base, name, own)}
        waiting += imports
        beside.update(p for name in _FILE.findall(text) if not name.endswith(".py") and (p := path.parent / name).is_file())
    missing = [m for m in modules if m not in found]
    if missing:
        raise LookupError(f"no module '{missing[0]}' in {base}")
    return tuple(sorted({*found.values(), *beside}))


def _file(base: Path, module: str, own: set[str]) -> Path | None:
    """The source file of a module or package; None for what is not part of the program."""
    return _there(base, module) if module.partition(".")[0] in own else None


@cache
def _there(base: Path, module: str) -> Path | None:
    path = base.joinpath(*module.split("."))
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def _modules(base: Path, package: str, own: set[str]) -> set[str]:
    """All modules of a package, those of its packages too; none of a plain module."""
    init = _file(base, package, own)
    if init is None or init.name != "__init__.py":
        return set()
    names = (p.relative_to(base).with_suffix("").parts for p in init.parent.rglob("*.py"))
    return {".".join(n[:-1] if n[-1] == "__init__" else n) for n in names}


def _imports(base: Path, text: str, package: str, own: set[str]) -> set[str]:
    """Names of what a source text imports at run time. A line of a docstring that reads like an import does no harm."""
    out: set[str] = set()
    for match in _IMPORT.finditer(_FOR_TYPES_ONLY.sub("", text)):
        if match["plain"]:
            out |= {part.split()[0] for part in match["plain"].split("#")[0].split(",") if part.strip()}
            continue
        where = resolve_name(match["where"], package) if match["where"].startswith(".") else match["where"]
        names = [n for line in match["names"].splitlines() for n in re.findall(r"(\w+)(?:\s+as\s+\w+)?", line.split("#")[0])]
        below = {f"{where}.{n}" for n in names if _file(base, f"{where}.{n}", own) is not None}
        out |= below if len(below) == len(names) else {where, *below}
    return out
