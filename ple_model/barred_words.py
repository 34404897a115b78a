"""Kinds of facts that may not be given as reasons, by what they are called in other people's tables and by where the package's
own inputs hold them.

`coldstart_features` begin with the hashed region of the customer and end with the hashed other attributes of the person, which
may be a sex (ages are left out when they are built); the last coordinates of `hierarchy_features` and `hyperbolic_features` are
the ball of regions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_REGION_BALL, _REGION_HASH, _OTHER_HASH = slice(16, 20), slice(0, 10), slice(33, 40)
"""Held against those who make these inputs by a test: here nothing heavy is loaded."""


@dataclass(frozen=True)
class BarredKind:
    """`title`: in English and Korean; `name`: what columns of it are called; `inputs`: where fields of the package hold it."""

    title: tuple[str, str]
    name: re.Pattern[str]
    inputs: Mapping[str, slice] = field(default_factory=dict)

    def called(self, column: str) -> bool:
        """Whether a column of somebody's own table is called so."""
        return self.name.search(re.sub(r"[\W_]+", "_", column.strip().lower()).strip("_")) is not None


def _words(latin: str, korean: str) -> re.Pattern[str]:
    return re.compile(rf"(^|_)({latin})(_|$)|{korean}")


BARRED_KINDS: Mapping[str, BarredKind] = {
    "age": BarredKind(
        ("age", "나이"),
        _words(
            r"age|birth|born|dob|yob|birthday|birthdate|alter|geburt\w*|naissance|edad|nacimiento|wiek",
            "나이|연령|출생|생년|생일",
        ),
    ),
    "sex": BarredKind(
        ("sex and other attributes of the person", "성별 등 개인 속성"),
        _words(r"sex|gender|geschlecht|sexe|sexo|plec|płeć", "성별"),
        {"coldstart_features": _OTHER_HASH},
    ),
    "region": BarredKind(
        ("region", "지역"),
        _words(
            r"region|province|prefecture|county|district|city|town|zip|zipcode|postcode|postal_code|plz|bundesland|ville",
            "지역|주소|거주지|우편번호",
        ),
        {
            "coldstart_features": _REGION_HASH, "hierarchy_features": _REGION_BALL,
            "hyperbolic_features": _REGION_BALL,
        },
    ),
}  # fmt: skip
"""By the names that `explanations.barred` may hold beside columns, groups and inputs."""
