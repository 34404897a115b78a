"""Which encoding a text file is written in: marks, zero bytes, strict UTF-8, then the letters.

charset-normalizer tells the encodings of two bytes a character apart; among those of one byte it took 400 rows of Portuguese
for cp1250, Hungarian for cp1252 and Hebrew for koi8-r, so these are told by alphabets: a reading in which one language
explains every letter is right. Where two readings with different letters are as good, nothing is chosen: both are named.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from ple_model.data.importers.alphabets import ALPHABETS, unexplained, unexplained_east
from ple_model.errors import UserError

CHUNK = 1 << 20
EAST = ("cp949", "cp932", "gb18030", "big5", "euc_jp")
"""Of two bytes a character; charset-normalizer tells them apart."""
OLD = ("cp850", "cp852", "cp866", "mac_roman", "mac_cyrillic")
"""Of DOS and the first Macintosh: taken where the letters say so, never on an equal footing with those of today."""
SAMPLE_BYTES = 1 << 18
"""Lines with other than ASCII characters that are looked at."""
MUCH = 0.2
"""A share of usual letters that is so much higher decides between two readings of the same letters."""
UNSURE = 0.3
"""Above this share of letters that no language explains, no reading is sure."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


_SHIFTS = (b"\x1b$B", b"\x1b$@")
"""Where Japanese begins in the seven bits of iso2022_jp."""


@dataclass(frozen=True)
class EncodingGuess:
    """The encoding, a word that shows it, and others that read the file as well but with other letters."""

    encoding: str
    example: str = ""
    others: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """The same word in each of the others."""

    def __str__(self) -> str:
        ways = [
            f"{name} ('{word}')" if word else name
            for name, word in zip((self.encoding, *self.others), (self.example, *self.beside), strict=True)
        ]
        return " or ".join(ways)


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked where its name ends with .gz."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        while block := stream.read(CHUNK):
            yield block


def readable_as(path: Path, encoding: str) -> bool:
    """Whether every byte of the file is valid in this encoding; `UserError` for an encoding that does not exist."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as e:
        raise UserError(f"'{encoding}' is no encoding; for example utf-8, cp949 (Korean Windows) or utf-16") from e
    try:
        for block in blocks(path):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    except (OSError, EOFError) as e:
        raise UserError(f"{path.name} cannot be read: {e}") from e
    return True


def guess_encoding(path: Path) -> EncodingGuess | None:
    """How the whole file can be read; None: not as text."""
    head = next(blocks(path), b"")
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is not None:
        return EncodingGuess(marked) if readable_as(path, marked) else None
    if any(mark in head for mark in _SHIFTS) and readable_as(path, "iso2022_jp"):
        return EncodingGuess("iso2022_jp")
    wide = _wide(head)
    if wide is not None:
        return EncodingGuess(wide) if readable_as(path, wide) else None
    if readable_as(path, "utf-8"):
        return EncodingGuess("utf-8")
    return _detected(path)


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without its mark: a line's end is a character of two or four bytes, the rest of them zero."""
    head = head[: len(head) // 4 * 4]
    if b"\0" not in head:
        return None
    ends = {
        "utf-32-le": _at(head, b"\n\0\0\0", 4), "utf-32-be": _at(head, b"\0\0\0\n", 4),
        "utf-16-le": _at(head, b"\n\0", 2), "utf-16-be": _at(head, b"\0\n", 2),
    }  # fmt: skip
    narrow = {"utf-16-le": "utf-32-le", "utf-16-be": "utf-32-be"}
    found = {name: n for name, n in ends.items() if n}
    if not found:
        return None
    best = max(found, key=lambda name: found[name])
    return narrow[best] if best in narrow and ends[narrow[best]] == ends[best] else best


def _at(data: bytes, pattern: bytes, width: int) -> int:
    return sum(data[k : k + width] == pattern for k in range(0, min(len(data), 1 << 16), width))


def _detected(path: Path) -> EncodingGuess | None:
    sample, ascii_only = io.BytesIO(), bytes(range(128))
    rest = b""
    for block in blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.translate(None, ascii_only):
                sample.write(line + b"\n")
        if sample.tell() > SAMPLE_BYTES:
            break
    else:
        sample.write(rest)
    found = sorted(_readings(sample.getvalue()), key=lambda r: (r.strange, r.encoding in OLD, -r.usual))
    best = next((r for r in found if readable_as(path, r.encoding)), None)
    if best is None:
        return None
    beyond = sum(not c.isascii() for c in best.text)
    others = [
        r
        for r in found
        if r.text != best.text
        and (best.encoding in OLD or r.encoding not in OLD)
        # as good, or nothing is good
        and ((r.strange <= best.strange and r.usual > best.usual - MUCH) or best.strange > UNSURE * beyond)
        and readable_as(path, r.encoding)
    ]
    names = dict.fromkeys(r.text for r in others)
    first = [next(r for r in others if r.text == text) for text in names][:3]
    return EncodingGuess(
        best.encoding, _example(best.text, [r.text for r in first]), tuple(r.encoding for r in first),
        tuple(_beside(best.text, r.text) for r in first),
    )  # fmt: skip


@dataclass(frozen=True)
class _Reading:
    encoding: str
    text: str
    strange: int
    usual: float


def _readings(sample: bytes) -> Iterator[_Reading]:
    """The sample in every encoding that can read it, those of one byte first."""
    for name, alphabets in ALPHABETS.items():
        text = _decoded(sample, name)
        if text is not None:
            yield _Reading(name, text, *unexplained(text, alphabets))
    matches = list(from_bytes(sample, cp_isolation=list(EAST)))
    like = {name: m.coherence for m in reversed(matches) for name in (*m.could_be_from_charset, m.encoding)}
    clean = [n for n in like if _decoded(sample, n) is not None]
    least = min((m.chaos for m in matches), default=0.0)
    equal = [n for m in matches if m.chaos == least for n in (m.encoding, *m.could_be_from_charset) if n in clean]
    if equal:
        best = min(equal, key=lambda n: (-like[n], EAST.index(n)))  # a word or two are like no language: the commoner one
        text = sample.decode(best)
        yield _Reading(best, text, unexplained_east(text), 0.0)


def _decoded(sample: bytes, encoding: str) -> str | None:
    try:
        return sample.decode(encoding)
    except UnicodeError:
        return None


def _beside(text: str, other: str) -> str:
    """The first field that reads otherwise, as the other encoding has it."""
    return next((b for a, b in zip(_fields(text), _fields(other), strict=False) if a != b), "")[:30]


def _fields(text: str) -> list[str]:
    for mark in ";\t|\n\r":
        text = text.replace(mark, ",")
    return [f.strip().strip('"') for f in text.split(",")]


def _example(text: str, others: list[str]) -> str:
    """The first field with other than ASCII letters; of those that read otherwise in another encoding where there is one."""
    fields = _fields(text)
    if others:
        return next((a for a, b in zip(fields, _fields(others[0]), strict=False) if a != b), "")[:30]
    return next((f[:30] for f in fields if not f.isascii()), "")
