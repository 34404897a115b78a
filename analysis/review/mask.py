"""Customers' ids as masks in what leaves the program: keyed pseudonyms (HMAC-SHA256, RFC 2104), one for one customer.

The key is the user's own file, never beside the reports: who has only the reports cannot try ids. That is a pseudonym, not
anonymity: who holds the key and a list of ids can find a customer again, and what a report says may itself tell who it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ple_model.errors import UserError
from ple_model.safe_paths import read_bytes
from ple_model.state_folder import state_root

FILE = "mask.key"
LEAST = 16
"""Bytes of a key: fewer could be tried."""
LARGEST = 4096
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""32 signs that are not taken for one another (Crockford's base 32)."""
LENGTH = 12
"""Signs of a mask, 60 bits: two of a million customers share one with a chance of less than one in a million."""


@dataclass(frozen=True)
class Mask:
    """Masks of one set of customers."""

    key: bytes = field(repr=False)

    @staticmethod
    def of(scope: str, key_file: Path | None = None, *, keep: bool = True) -> Mask:
        """For the customers of `scope` (a data fingerprint), with the user's key or the one in `key_file`. `UserError` for a
        key that is too short or cannot be read. Not `keep`: no key is made where the user has none, and one is used that
        is gone with the process."""
        return Mask(hmac.digest(_key(key_file, keep), f"customers of {scope}".encode(), hashlib.sha256))

    def __call__(self, customer: str) -> str:
        """`7QK2-M0XA-94TD`"""
        number = int.from_bytes(hmac.digest(self.key, customer.encode(), hashlib.sha256)[:8], "big")
        signs = "".join(LETTERS[(number >> 5 * i) & 31] for i in range(LENGTH))
        return "-".join(signs[i : i + 4] for i in range(0, LENGTH, 4))


@cache
def _passing() -> bytes:
    return secrets.token_bytes(32)


def _key(file: Path | None, keep: bool) -> bytes:
    path = state_root(make=keep) / FILE if file is None else file
    if file is None and not path.exists():
        if not keep:
            return _passing()
        _make(path)
    try:
        found = read_bytes(path, LARGEST).strip()
    except FileNotFoundError as e:
        raise UserError(f"{path}: there is no such key file") from e
    if len(found) < LEAST:
        raise UserError(f"{path}: a key has at least {LEAST} bytes, this one has {len(found)}")
    return found


def _make(path: Path) -> None:
    """A fresh key that the user alone can read; another process that was first keeps its own. It appears whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_hex(32).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with contextlib.suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink(missing_ok=True)
