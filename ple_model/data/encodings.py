"""Which encoding a text file is written in: marks, zero bytes, strict UTF-8, then charset-normalizer among what exports use.

The detector weighs how disordered and how like a language each reading is. Left alone it also considers encodings that no
export has used for decades (Mac, DOS) and prefers cp1250 to cp1252 where both say the same, so it is given a list, and of
readings that are equally clean the common one is taken; where another would give other letters, that one is named too.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from ple_model.errors import UserError

CHUNK = 1 << 20
EXPORTS = (
    "cp949", "cp932", "gb18030", "big5", "euc_jp", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8_r",
)  # fmt: skip
LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")
"""These say the same in most letters; the common one first."""
ICELANDIC = frozenset("þðýÞÐÝ")
"""What the Turkish letters of cp1254 are in cp1252: no disorder, yet no language of many card holders."""
SAMPLE_BYTES = 1 << 18
"""Lines with other than ASCII characters that the detector is shown."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True)
class EncodingGuess:
    """The encoding, a word that shows it, and others that read the file as well but with other letters."""

    encoding: str
    example: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f" ('{self.example}')" if self.example else ""
        return self.encoding + shown + (f", or {' or '.join(self.others)}: look at the letters" if self.others else "")


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
    matches = list(from_bytes(sample.getvalue(), cp_isolation=list(EXPORTS)))
    # a match stands for every encoding that gives the same text
    disorder = {name: m.chaos for m in reversed(matches) for name in (*reversed(m.could_be_from_charset), m.encoding)}
    names = [n for n in dict.fromkeys(k for m in matches for k in m.could_be_from_charset) if readable_as(path, n)]
    if not names:
        return None
    equal = [n for n in names if disorder[n] == min(disorder[k] for k in names)]
    like = {name: m.coherence for m in reversed(matches) for name in (*m.could_be_from_charset, m.encoding)}
    best = min(equal, key=lambda n: (-like[n], EXPORTS.index(n)))  # a word or two are like no language: the commoner one
    if best in LATIN:
        best = next(n for n in LATIN if n in equal)
        if "cp1254" in names and ICELANDIC & set(sample.getvalue().decode("cp1252", "replace")):
            best = "cp1254"
    text = sample.getvalue().decode(best, "replace")
    others = [n for n in equal if n != best and sample.getvalue().decode(n, "replace") != text]
    return EncodingGuess(best, _example(text), tuple(others))


def _example(text: str) -> str:
    """The first field with other than ASCII letters."""
    fields = text.replace(";", ",").replace("\t", ",").replace("|", ",").replace("\n", ",").split(",")
    return next((f.strip().strip('"')[:30] for f in fields if not f.isascii() and "�" not in f), "")
