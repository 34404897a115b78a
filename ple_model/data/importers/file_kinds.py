"""What a file is by its first bytes, whatever its name says, and one sentence for what cannot be read as a table."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ple_model.errors import UserError

PARQUET, EXCEL, TEXT = "parquet", "excel", "text"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_EXPORT = "export the list as CSV or Excel (.xlsx)"
_STATEMENTS = (
    (r"OFXHEADER|<OFX>|<\?OFX|<\?xml[^>]*>\s*<\??OFX", "an OFX bank file, made for accounting programs"),
    (r"!(Type|Account|Option|Clear):", "a QIF file, made for accounting programs"),
    (r":20:[^\n]*\s+:25:", "an MT940 bank statement"),
    (r"<\?xml[^>]*>\s*<Document[^>]*camt\.05", "a CAMT bank statement in XML"),
    (r"\s*<(!doctype html|html|table|head|meta)\b", "a web page, perhaps saved under the name of a spreadsheet"),
    (r"<\?xml[^>]*>.{0,300}schemas-microsoft-com:office:spreadsheet", "a spreadsheet in the XML form of Excel 2003"),
    (r"\s*<\?xml", "an XML file"),
    (r"\s*[\[{]\s*[\"\[{]", "a JSON file"),
    (r"\{\\rtf", "a text document (RTF)"),
)  # fmt: skip
_BINARY = (
    (b"%PDF", "a PDF: its pages hold drawn text and no table that could be read without error"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first, then give the file in it"),
    (b"Rar!", "a RAR archive: unpack it first, then give the file in it"),
    (b"BZh", "a bzip2 archive: unpack it first, then give the file in it"),
    (b"\xfd7zXZ", "an xz archive: unpack it first, then give the file in it"),
    (b"SQLite format 3", "an SQLite database: export its table as CSV"),
    (b"\x89PNG", "a picture"), (b"\xff\xd8\xff", "a picture"), (b"GIF8", "a picture"),
)  # fmt: skip


def file_kind(path: Path) -> str:
    """`PARQUET`, `EXCEL` or `TEXT`; `UserError` says what the file is where it is none of these, and what to export instead."""
    try:
        if path.stat().st_size == 0:
            raise UserError(f"'{path}' is empty (0 bytes)")
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as e:
        raise UserError(f"'{path}' cannot be read: {e.strerror}") from e
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.startswith(_OLE):
        return EXCEL
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _packed(path)
    if head.startswith(b"\x1f\x8b"):
        if path.suffix != ".gz":
            raise UserError(f"'{path}' is packed with gzip; call it '{path.name}.gz', or unpack it first")
        return TEXT
    what = next((w for mark, w in _BINARY if head.startswith(mark)), None)
    if what is not None:
        raise UserError(f"'{path}' is {what}; {_EXPORT}")
    if path.suffix == ".parquet":
        raise UserError(f"'{path}' is no Parquet file, whatever its name says")
    if path.suffix.lower() == ".gz":
        raise UserError(f"'{path}' is not packed with gzip, whatever its name says")
    text = head.replace(b"\0", b"").decode("latin-1").removeprefix("ï»¿")
    what = next((w for pattern, w in _STATEMENTS if re.match(pattern, text, re.IGNORECASE | re.DOTALL)), None)
    if what is not None:
        raise UserError(f"'{path}' is {what}; {_EXPORT}")
    if not text.strip():
        raise UserError(f"'{path}' holds nothing but blanks")
    return TEXT


def _packed(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as e:
        raise UserError(f"'{path}' is a damaged archive or spreadsheet; download or export it again") from e
    if any(n.startswith("xl/") for n in names) or "content.xml" in names:
        return EXCEL
    if any(n.startswith("word/") for n in names):
        raise UserError(f"'{path}' is a Word document; {_EXPORT}")
    inside = ", ".join(names[:3]) or "nothing"
    raise UserError(f"'{path}' is a zip archive (in it: {inside}); unpack it first, then give the file or the folder")


def is_binary(path: Path) -> bool:
    """Whether the first bytes are no text in any encoding that an export would have: many control characters."""
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    control = len(head) - len(head.translate(None, bytes((*range(1, 9), *range(14, 32), 127))))
    return bool(head) and control > len(head) / 50
