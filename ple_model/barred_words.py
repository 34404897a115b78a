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

from ple_model.column_words import column_words, words_called

_REGION_BALL, _REGION_HASH, _OTHER_HASH = slice(16, 20), slice(0, 10), slice(33, 40)
"""Held against those who make these inputs by a test: here nothing heavy is loaded."""


@dataclass(frozen=True)
class BarredKind:
    """`title`: in English and Korean; `name`: what columns of it are called; `other`: what is called alike and is no fact about
    the person, such as the age of an account; `inputs`: where fields of the package hold it."""

    title: tuple[str, str]
    name: re.Pattern[str]
    other: re.Pattern[str]
    inputs: Mapping[str, slice] = field(default_factory=dict)

    def called(self, column: str) -> bool:
        """Whether a column of somebody's own table is called so."""
        return self.name.search(self.other.sub("_", column_words(column))) is not None


_THINGS = (
    "account|acct|card|loan|vehicle|car|auto|house|home|property|building|dwelling|asset|product|policy|contract|device|phone|"
    "membership|relationship|file|record|credit|debt|deposit|mortgage|invoice|balance|bureau|tradeline|line|inquiry|company|"
    "business|firm|payment|order|application|process|session|employment|marital|health|transaction|txn|delinquency"
)
_STATES = (
    "account|acct|card|loan|policy|contract|device|membership|relationship|file|record|credit|debt|deposit|mortgage|invoice|"
    "payment|order|application|process|session|employment|marital|health|transaction|txn|delinquency"
)
_MONEY = (
    r"spend|spending|spent|amount|amt|payments?|purchases?|transactions?|txns?|visits?|trips?|tax|fees?|cards?|merchants?|shops?|"
    r"bank|hall"
)
_DONE = rf"(^|_)[a-z0-9_]*?(city|town|district|county|female|male|women|men)_([a-z0-9]+_)*({_MONEY})(?=_|$)"
"""What was done somewhere, or for somebody: spending in a city, clothes for women."""


BARRED_KINDS: Mapping[str, BarredKind] = {
    "age": BarredKind(
        ("age", "나이"),
        words_called(
            r"ages?|(customer|client|person|applicant|borrower|holder|member|user)age|age(group|band|range|bucket)|birth[a-z]*|"
            r"[a-z]*of_?birth|born|dob|yob|alter|geburt\w*|naissance|edad|nacimiento|wiek",
            "나이(?!키|프|스|트|아가라)|연령|출생|생년|생일",
        ),
        re.compile(
            rf"(^|_)({_THINGS})_?age(?=_|$)|(^|_)age_of_(the_|oldest_|newest_)?({_THINGS})(?!_(holder|owner))(?=_|$)|"
            r"(계좌|카드|차량|자동차|대출|건물|주택|상품|계약)_?(나이|연령)"
        ),
    ),
    "sex": BarredKind(
        ("sex and other attributes of the person", "성별 등 개인 속성"),
        words_called(
            r"sex|gender|(is_?)?(fe)?male|(is_?)?(wo)?man|geschlecht|sexe|sexo|plec|płeć",
            "성별|(^|_)성(?=_|$)|(남|여)(성|자)_?여부|(^|_)(남|여)(성|자)$",
        ),
        re.compile(_DONE),
        {"coldstart_features": _OTHER_HASH},
    ),
    "region": BarredKind(
        ("region", "지역"),
        words_called(
            r"regions?|provinces?|prefecture|county|district|city|town|municipality|zip|zip_?codes?|post_?codes?|postal_?codes?|plz|"
            r"bundesland|ville|address(es)?|state|sido|sigungu|residence",
            "지역|주소|거주지|우편번호|시_?군_?구|^(거주_?지?_?|고객_?|자택_?)?시_?도(_?(명|코드|구분|이름))?$",
        ),
        re.compile(rf"{_DONE}|(^|_)({_STATES})_state(?=_|$)|(^|_)(e_?mail|ip|mac|web|wallet)_?address(es)?(?=_|$)|"
                   r"(^|_)state_of_(the_)?[a-z]+|(이메일|전자우편|ip)_?주소"),
        {
            "coldstart_features": _REGION_HASH, "hierarchy_features": _REGION_BALL,
            "hyperbolic_features": _REGION_BALL,
        },
    ),
}  # fmt: skip
"""By the names that `explanations.barred` may hold beside columns, groups and inputs."""
