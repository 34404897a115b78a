"""Customers' ids as masks in what leaves the program: keyed pseudonyms (HMAC-SHA256, RFC 2104), one for one customer.

The key is the file of one account, never beside the reports: who has reports alone cannot try ids. That is a pseudonym, not
anonymity: who holds the key and a list of ids finds a customer again, and so may, without any key, who holds the rows that a
report speaks of: its numbers, dates and facts can be looked up there.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ple_model.errors import UserError
from ple_model.safe_paths import read_bytes
from ple_model.staging import first_file
from ple_model.state_folder import state_root

FILE = "mask.key"
LEAST = 16
"""Bytes of a key: fewer could be tried."""
LARGEST = 4096
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""32 signs that are not taken for one another (Crockford's base 32)."""
NAMED = 8
"""Bytes of a key's fingerprint."""
LENGTH = 12
"""Signs of a mask, 60 bits: two of a million customers share one with a chance of less than one in a million."""


@dataclass(frozen=True)
class Mask:
    """Masks of one set of customers."""

    key: bytes = field(repr=False)
    named: str = ""
    """Fingerprint of the user's key, by which it is found again among several; nothing of the key can be read from it."""

    @staticmethod
    def of(scope: str, key_file: Path | None = None, *, keep: bool = True) -> Mask:
        """For the customers of `scope` (a data fingerprint), with the user's key or the one in `key_file`. `UserError` for a
        key that is too short or cannot be read. Not `keep`: no key is made where the user has none or can have none, and one
        is used that is gone with the process."""
        key = _key(key_file, keep)
        named = hmac.digest(key, b"fingerprint of this key", hashlib.sha256)[:NAMED].hex()
        return Mask(hmac.digest(key, f"customers of {scope}".encode(), hashlib.sha256), named)

    def __call__(self, customer: str) -> str:
        """`7QK2-M0XA-94TD`"""
        number = int.from_bytes(hmac.digest(self.key, customer.encode(), hashlib.sha256)[:8], "big")
        signs = "".join(LETTERS[(number >> 5 * i) & 31] for i in range(LENGTH))
        return "-".join(signs[i : i + 4] for i in range(0, LENGTH, 4))


@cache
def _passing() -> bytes:
    return secrets.token_bytes(32)


def _key(file: Path | None, keep: bool) -> bytes:
    if file is None and not keep:
        try:
            return _read(state_root(make=False) / FILE)
        except (UserError, OSError):
            return _passing()
    path = state_root() / FILE if file is None else file
    if file is None and not path.exists():
        _make(path)
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        found = read_bytes(path, LARGEST).strip()
    except FileNotFoundError as e:
        raise UserError(f"{path}: there is no such key file") from e
    if len(found) < LEAST:
        raise UserError(f"{path}: a key has at least {LEAST} bytes, this one has {len(found)}")
    return found


def _make(path: Path) -> None:
    """A fresh key that the user alone can read; the first to make one keeps it. It appears whole, or `UserError`."""
    try:
        first_file(path, secrets.token_hex(32).encode())
    except OSError as e:
        raise UserError(
            f"{path}: the key of the masks cannot be made ({e.strerror or e}); --mask-key FILE names another"
        ) from e
