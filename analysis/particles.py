"""Korean particles that fit the word before them: `이(가)` after a name that is filled in becomes `이` or `가`.

A word that ends in a digit or a percent sign is read as Korean does (`3` 삼, `%` 퍼센트), an amount of money by its sign, which
is read last (`₩1,234` 원); a Latin letter by its name. Where the
ending is none of these, both forms stay.
"""

from __future__ import annotations

import re

FIRST_SYLLABLE, LAST_SYLLABLE, FINALS = 0xAC00, 0xD7A3, 28
"""Hangul syllables in Unicode: every 28th has no final consonant."""
RIEUL = 8
"""Number of the final consonant ㄹ, after which `으로` is `로`."""
DIGITS = "영일이삼사오육칠팔구"
LATIN_FINAL = {**dict.fromkeys("lr", "엘"), **dict.fromkeys("mn", "엠")}
"""Letters whose Korean name ends in a consonant."""
_PAIRS = {
    "이(가)": ("이", "가"), "을(를)": ("을", "를"), "은(는)": ("은", "는"), "과(와)": ("과", "와"), "와(과)": ("과", "와"),
    "(으)로": ("으로", "로"), "(이)라면": ("이라면", "라면"), "(이)며": ("이며", "며"), "(이)고": ("이고", "고"),
}  # fmt: skip
MONEY = {"₩": "원", "$": "달러", "€": "유로", "¥": "엔", "£": "파운드"}
"""Signs that stand before a number and are read after it."""
_LOOSE = re.compile(
    r"(?:(?P<money>[₩$€¥£])[\d,.]*)?(?P<word>[0-9A-Za-z가-힣%])(?P<shut>[\"'”’)\]」』]*) ?(?P<pair>"
    + "|".join(map(re.escape, _PAIRS))
    + ")"
)


def particle(word: str, with_final: str, without: str) -> str:
    """The particle that fits the last syllable of `word`."""
    final = _final(word[-1:])
    if final is None:
        return f"{with_final}({without})"
    if (with_final, without) == ("으로", "로") and final == RIEUL:
        return without
    return with_final if final else without


def with_particles(text: str) -> str:
    """The text with each `이(가)`, `(으)로` and so on as it is said after the word before it, to which it is joined."""

    def said(found: re.Match[str]) -> str:
        read = MONEY[found["money"]] if found["money"] and found["word"].isdigit() else found["word"]
        before = found.string[found.start() : found.start("pair")].removesuffix(" ")
        return before + particle(read, *_PAIRS[found["pair"]])

    return _LOOSE.sub(said, text)


def _final(sign: str) -> int | None:
    """Number of the final consonant with which a sign is read, 0 for none; None where it is not known."""
    if sign == "%":
        sign = "트"
    elif sign.isdigit() and sign.isascii():
        sign = DIGITS[int(sign)]
    elif sign.isalpha() and sign.isascii():
        sign = LATIN_FINAL.get(sign.lower(), "이")
    if sign and FIRST_SYLLABLE <= ord(sign) <= LAST_SYLLABLE:
        return (ord(sign) - FIRST_SYLLABLE) % FINALS
    return None
