"""Letters of the languages that exports are written in, by encoding; and how many characters of a reading no language explains.

A reading in the wrong encoding has letters of several languages in one word, signs between letters, or capitals within words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

WESTERN = {
    "German": "äöüßéà", "French": "àâæçéèêëîïôœùûüÿ", "Spanish": "áéíóúüñºª¡¿", "Portuguese": "áâãàçéêíóôõúüºª",
    "Italian": "àèéìíîòóùú", "Swedish": "åäöé", "Danish": "æøåéèôò", "Icelandic": "áðéíóúýþæö", "Dutch": "éëïóöüè",
    "Catalan": "àçèéíïòóúü",
}  # fmt: skip
CENTRAL = {
    "Polish": "ąćęłńóśźż", "Czech": "áčďéěíňóřšťúůýž", "Slovak": "áäčďéíľňóôšťúýž", "Hungarian": "áéíóöőúüű",
    "Croatian": "čćđšž", "Romanian": "ăâîşţ",
}  # fmt: skip
TURKISH = {"Turkish": "çğıöşüâîûİ"}
BALTIC = {"Lithuanian": "ąčęėįšųūž", "Latvian": "āčēģīķļņšūž", "Estonian": "äõöüšž"}
CYRILLIC = {
    "Russian": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "Ukrainian": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "Serbian": "абвгдђежзијклљмнњопрстћуфхцчџш",
}  # fmt: skip
GREEK = {"Greek": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"}
HEBREW = {"Hebrew": "".join(map(chr, range(0x5D0, 0x5EB)))}
ARABIC = {"Arabic": "".join(map(chr, (*range(0x621, 0x63B), *range(0x641, 0x653)))) + "،؛؟"}
THAI = {"Thai": "".join(map(chr, (*range(0xE01, 0xE3B), *range(0xE40, 0xE5C))))}

ALPHABETS: dict[str, dict[str, str]] = {
    "cp1252": WESTERN, "iso8859_15": WESTERN, "cp850": WESTERN, "mac_roman": WESTERN,
    "cp1250": CENTRAL, "iso8859_2": CENTRAL, "cp852": CENTRAL, "cp1254": TURKISH, "cp1257": BALTIC, "iso8859_13": BALTIC,
    "cp1251": CYRILLIC, "koi8_r": CYRILLIC, "iso8859_5": CYRILLIC, "cp866": CYRILLIC, "mac_cyrillic": CYRILLIC,
    "cp1253": GREEK, "iso8859_7": GREEK, "cp1255": HEBREW, "cp1256": ARABIC, "iso8859_6": ARABIC, "cp874": THAI,
}  # fmt: skip
"""Encodings of one byte a character; of two that give the same text the common one stands first."""
COMMON = {
    "Russian": "оеаинтсрвл", "Ukrainian": "оанивеітрс", "Serbian": "аоиенрстук", "Greek": "αοιετσνηυρά", "Hebrew": "יהולרתבמשא",
    "Arabic": "المينرتوبةس",
}  # fmt: skip
"""Two readings may have letters of a language alone; these are more than half of its text."""
_ANYWHERE = frozenset("’‘“”„«»–—…€£¥°§©®™№·×\u00a0\u00ad²³¹¼½¾±µ")
_APOSTROPHES = frozenset("’'‘-–·\u00ad")


def unexplained(text: str, alphabets: dict[str, str]) -> tuple[int, float]:
    """Of the characters beyond ASCII: how many the language that explains most leaves, and how usual the letters are in it."""
    counts = {name: _strange(text, letters) for name, letters in alphabets.items()}
    best = min(counts, key=lambda name: (counts[name], -_usual(text, name)))
    return counts[best], _usual(text, best)


def _usual(text: str, name: str) -> float:
    letters = [c for c in text.lower() if c.isalpha() and not c.isascii()]
    return sum(c in COMMON.get(name, "") for c in letters) / max(1, len(letters))


def _strange(text: str, letters: str) -> int:
    known = frozenset(letters) | frozenset(letters.upper())
    other_script = letters[0] > "\u0370"
    strange = 0
    for before, c, after in _threes(text):
        if c.isascii():
            continue
        if c in known:
            # no writing: letters of two scripts in one word, a capital within it, a vowel sign without its consonant
            mixed = other_script and (_latin(before) or _latin(after))
            inner = mixed or (c.isupper() and before.islower() and not before.isascii())
            strange += inner or (unicodedata.combining(c) > 0 and not before.isalpha() and not unicodedata.combining(before))
        elif c in _ANYWHERE:
            strange += c not in _APOSTROPHES and before.isalpha() and after.isalpha()
        else:
            strange += 1
    return strange + sum(len(m) for m in _NO_THAI.findall(text)) if "ก" in letters else strange


_NO_THAI = re.compile(r"[ก-ฮ]{6,}|(?<=[ก-ฮ])[๐-๙]|[๐-๙](?=[ก-ฮ])")
"""Six consonants and no vowel, or a digit within a word: Korean bytes, read as Thai, are made of these."""


def _latin(c: str) -> bool:
    return c.isascii() and c.isalpha()


def _threes(text: str) -> Iterable[tuple[str, str, str]]:
    return zip(" " + text, text, text[1:] + " ", strict=False)


def unexplained_east(text: str) -> int:
    """Characters beyond ASCII that are no letters of China, Japan or Korea, or stand alone within a word of Latin letters."""
    strange = 0
    for before, c, after in _threes(text):
        if c.isascii():
            continue
        east = c in _ANYWHERE or any(c >= low and c <= high for low, high in _EAST)
        within = _latin(before) and _latin(after)
        strange += not east or within
    return strange


_EAST = (
    ("\u2460", "\u24ff"), ("\u25a0", "\u25ff"), ("\u3000", "\u30ff"), ("\u3131", "\u318e"), ("\u3200", "\u33ff"),
    ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uac00", "\ud7a3"), ("\uff01", "\uffef"),
)  # fmt: skip
