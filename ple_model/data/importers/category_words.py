"""A guess of the spending category from what a source calls it: English and Korean words, and ISO 18245 merchant codes.

Used only to fill a starter map, where a person reads and corrects every guess, and only where it is sure: what could be two
categories, or is no whole word, is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WORDS: dict[str, tuple[str, ...]] = {
    "groceries": (
        "grocery",
        "grocer",
        "greengrocer",
        "supermarket",
        "hypermarket",
        "convenience store",
        "food store",
        "bakery",
        "butcher",
        "마트",
        "슈퍼",
        "편의점",
        "식료품",
        "식품",
        "정육",
        "농협하나로",
        "시장",
    ),
    "dining": (
        "dining",
        "restaurant",
        "cafe",
        "coffee",
        "fast food",
        "bar",
        "pub",
        "food & drink",
        "food and drink",
        "eating out",
        "takeaway",
        "meal",
        "음식",
        "식당",
        "한식",
        "중식",
        "일식",
        "양식",
        "분식",
        "치킨",
        "피자",
        "카페",
        "커피",
        "제과",
        "주점",
        "외식",
        "배달",
        "패스트푸드",
    ),
    "fuel and transport": (
        "fuel",
        "gas station",
        "petrol",
        "gasoline",
        "transport",
        "transportation",
        "public transport",
        "taxi",
        "bus",
        "subway",
        "metro",
        "train ticket",
        "railway",
        "parking",
        "toll",
        "automotive",
        "car repair",
        "car wash",
        "주유",
        "충전",
        "교통",
        "택시",
        "버스",
        "지하철",
        "철도",
        "주차",
        "통행료",
        "자동차",
        "정비",
    ),
    "clothing": (
        "clothing",
        "clothes",
        "apparel",
        "fashion",
        "shoe",
        "shoes",
        "jewelry",
        "jewellery",
        "jeweler",
        "jeweller",
        "의류",
        "의복",
        "패션",
        "신발",
        "잡화",
        "귀금속",
        "백화점",
    ),
    "home": (
        "home improvement",
        "home furnishing",
        "furniture",
        "household",
        "hardware",
        "garden",
        "interior",
        "diy",
        "가구",
        "인테리어",
        "생활용품",
        "주방",
        "침구",
        "철물",
        "다이소",
    ),
    "health": (
        "health",
        "healthcare",
        "health care",
        "pharmacy",
        "drugstore",
        "drug store",
        "medical",
        "hospital",
        "doctor",
        "dentist",
        "clinic",
        "optician",
        "optics",
        "병원",
        "병의원",
        "의원",
        "약국",
        "의료",
        "치과",
        "한의원",
        "안경",
        "건강",
    ),
    "leisure": (
        "leisure",
        "entertainment",
        "cinema",
        "movie",
        "theatre",
        "theater",
        "sport",
        "gym",
        "fitness",
        "game",
        "music",
        "hobby",
        "영화",
        "레저",
        "스포츠",
        "헬스",
        "골프",
        "게임",
        "문화",
        "공연",
        "노래방",
        "오락",
        "취미",
    ),
    "travel": (
        "travel",
        "airline",
        "flight",
        "hotel",
        "lodging",
        "accommodation",
        "hotel accommodation",
        "tour",
        "여행",
        "항공",
        "숙박",
        "호텔",
        "면세",
        "관광",
        "렌터카",
    ),
    "electronics": (
        "electronic",
        "electronics",
        "computer",
        "appliance",
        "phone store",
        "가전",
        "전자",
        "컴퓨터",
        "통신기기",
        "휴대폰",
    ),
    "education": (
        "education",
        "school",
        "tuition",
        "bookstore",
        "book store",
        "university",
        "교육",
        "학원",
        "서점",
        "도서",
        "학교",
        "유치원",
        "문구",
        "등록금",
    ),
    "services": (
        "utility",
        "telecom",
        "telecommunication",
        "insurance",
        "tax",
        "taxes",
        "beauty",
        "barber",
        "hair",
        "laundry",
        "government",
        "통신",
        "보험",
        "세금",
        "공과금",
        "미용",
        "세탁",
        "서비스",
        "관리비",
        "전기",
        "수도",
        "용역",
        "렌탈",
    ),
    "online": (
        "online",
        "internet",
        "e-commerce",
        "ecommerce",
        "marketplace",
        "web shop",
        "온라인",
        "인터넷",
        "전자상거래",
        "홈쇼핑",
        "쇼핑몰",
    ),
}
"""Words of each spending category; of several that occur in a name, the longest decides."""

CODES: tuple[tuple[int, int, str], ...] = (
    (3000, 3350, "travel"),
    (3351, 3500, "travel"),
    (3501, 3999, "travel"),
    (4011, 4131, "fuel and transport"),
    (4411, 4582, "travel"),
    (4722, 4723, "travel"),
    (4784, 4789, "fuel and transport"),
    (4812, 4813, "electronics"),
    (4814, 4900, "services"),
    (5200, 5261, "home"),
    (5411, 5499, "groceries"),
    (5511, 5599, "fuel and transport"),
    (5611, 5699, "clothing"),
    (5712, 5722, "home"),
    (5732, 5735, "electronics"),
    (5811, 5814, "dining"),
    (5912, 5912, "health"),
    (5940, 5941, "leisure"),
    (5942, 5943, "education"),
    (5944, 5944, "clothing"),
    (5945, 5947, "leisure"),
    (5960, 5969, "online"),
    (5975, 5977, "health"),
    (6300, 6300, "services"),
    (7011, 7033, "travel"),
    (7210, 7399, "services"),
    (7512, 7549, "fuel and transport"),
    (7829, 7999, "leisure"),
    (8011, 8099, "health"),
    (8111, 8111, "services"),
    (8211, 8299, "education"),
    (8351, 8999, "services"),
    (9211, 9402, "services"),
)
"""(first, last, category) of merchant category codes."""


OTHER = frozenset(
    [
        "other",
        "others",
        "misc",
        "miscellaneous",
        "uncategorized",
        "uncategorised",
        "unknown",
        "none",
        "n/a",
        "general",
        "various",
        "sonstiges",
        "sonstige",
        "andere",
        "autre",
        "autres",
        "divers",
        "otros",
        "otro",
        "varios",
        "altro",
        "기타",
        "기타업종",
        "미분류",
        "その他",
        "未分類",
        "其他",
    ]
)
"""Names by which a source says that it does not know the category either."""


@dataclass(frozen=True)
class CategoryGuess:
    """A spending category (None: the source itself says that it is none) and what suggests it."""

    category: str | None
    word: str


def guess_category(name: str) -> CategoryGuess | None:
    """What a source's category name or four-digit merchant code surely means; None: it is for a person to say.

    Sure is a merchant code, and a name in which whole words are words of one category and no other: 'Hospitality' is no
    'hospital', 'Health & Beauty' is two.
    """
    text = " ".join(re.sub(r"[_\-/,.()]+", " ", name.lower()).split())
    if text in OTHER or not text:
        return CategoryGuess(None, text)
    if len(text) == 4 and text.isdigit():
        code = int(text)
        found = next((category for first, last, category in CODES if first <= code <= last), None)
        return None if found is None else CategoryGuess(found, f"merchant code {text}")
    if text in WORDS:
        return CategoryGuess(text, text)
    spans = [
        (at, at + len(word), category, word)
        for category, words in WORDS.items()
        for word in words
        for at in _places(word.replace("-", " "), text)
    ]
    # a word within a longer one says nothing: "food store" is no "food"
    kept = [s for s in spans if not any(o[0] <= s[0] and s[1] <= o[1] and o[1] - o[0] > s[1] - s[0] for o in spans)]
    categories = {s[2] for s in kept}
    return CategoryGuess(kept[0][2], kept[0][3]) if len(categories) == 1 else None


def _places(word: str, text: str) -> list[int]:
    """Where a word stands in a text: Korean ones anywhere, others as whole words or their plural."""
    if not word.isascii():
        return [m.start() for m in re.finditer(re.escape(word), text)]
    if word.removesuffix("y") not in text:
        return []  # nearly always: no pattern is made
    stem = re.escape(word[:-1]) + "(?:y|ies)" if word.endswith("y") else re.escape(word) + "(?:s|es)?"
    return [m.start() for m in re.finditer(rf"(?<![^\W_]){stem}(?![^\W_])", text)]
