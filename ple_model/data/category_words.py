"""A guess of the spending category from what a source calls it: English and Korean words, and ISO 18245 merchant codes.

Used only to fill a starter map, where a person reads and corrects every guess; nothing is categorised without one.
"""

from __future__ import annotations

WORDS: dict[str, tuple[str, ...]] = {
    "groceries": (
        "grocer", "supermarket", "convenience store", "food store", "bakery", "butcher", "마트", "슈퍼", "편의점", "식료품",
        "식품", "정육", "농협하나로", "시장",
    ),
    "dining": (
        "dining", "restaurant", "cafe", "coffee", "fast food", "bar", "pub", "food", "eating", "meal", "음식", "식당", "한식",
        "중식", "일식", "양식", "분식", "치킨", "피자", "카페", "커피", "제과", "주점", "외식", "배달", "패스트푸드",
    ),
    "fuel and transport": (
        "fuel", "gas", "petrol", "gasoline", "transport", "taxi", "bus", "subway", "metro", "train", "parking", "toll",
        "automotive",
        "car", "주유", "충전", "교통", "택시", "버스", "지하철", "철도", "주차", "통행료", "자동차", "정비",
    ),
    "clothing": (
        "clothing", "clothes", "apparel", "fashion", "shoes", "jewel", "accessor", "의류", "의복", "패션", "신발", "잡화",
        "귀금속", "백화점",
    ),
    "home": (
        "home", "furniture", "household", "hardware", "garden", "interior", "diy", "가구", "인테리어", "생활용품", "주방",
        "침구", "철물",
        "다이소",
    ),
    "health": (
        "health", "pharmacy", "drug", "medical", "hospital", "doctor", "dentist", "clinic", "optic", "병원", "병의원", "의원",
        "약국", "의료",
        "치과", "한의원", "안경", "건강",
    ),
    "leisure": (
        "leisure", "entertainment", "cinema", "movie", "theatre", "theater", "sport", "gym", "fitness", "game", "music",
        "hobby",
        "영화", "레저", "스포츠", "헬스", "골프", "게임", "문화", "공연", "노래방", "오락", "취미",
    ),
    "travel": (
        "travel", "airline", "flight", "hotel", "lodging", "accommodation", "tour", "여행", "항공", "숙박", "호텔", "면세",
        "관광", "렌터카",
    ),
    "electronics": (
        "electronic", "computer", "appliance", "phone store", "가전", "전자", "컴퓨터", "통신기기", "휴대폰",
    ),
    "education": (
        "education", "school", "tuition", "book", "course", "university", "교육", "학원", "서점", "도서", "학교", "유치원",
        "문구", "등록금",
    ),
    "services": (
        "service", "utilit", "telecom", "insurance", "tax", "beauty", "hair", "laundry", "government", "통신", "보험", "세금",
        "공과금",
        "미용", "세탁", "서비스", "관리비", "전기", "수도", "용역", "렌탈",
    ),
    "online": (
        "online", "internet", "e-commerce", "ecommerce", "marketplace", "web shop", "온라인", "인터넷", "전자상거래",
        "홈쇼핑", "쇼핑몰",
    ),
}  # fmt: skip
"""Words of each spending category; of several that occur in a name, the longest decides."""

CODES: tuple[tuple[int, int, str], ...] = (
    (3000, 3350, "travel"), (3351, 3500, "travel"), (3501, 3999, "travel"), (4011, 4131, "fuel and transport"),
    (4411, 4582, "travel"), (4722, 4723, "travel"), (4784, 4789, "fuel and transport"), (4812, 4813, "electronics"),
    (4814, 4900, "services"), (5200, 5261, "home"), (5411, 5499, "groceries"), (5511, 5599, "fuel and transport"),
    (5611, 5699, "clothing"), (5712, 5722, "home"), (5732, 5735, "electronics"), (5811, 5814, "dining"),
    (5912, 5912, "health"), (5940, 5941, "leisure"), (5942, 5943, "education"), (5944, 5944, "clothing"),
    (5945, 5947, "leisure"), (5960, 5969, "online"), (5975, 5977, "health"), (6300, 6300, "services"),
    (7011, 7033, "travel"), (7210, 7399, "services"), (7512, 7549, "fuel and transport"), (7829, 7999, "leisure"),
    (8011, 8099, "health"), (8111, 8111, "services"), (8211, 8299, "education"), (8351, 8999, "services"),
    (9211, 9402, "services"),
)  # fmt: skip
"""(first, last, category) of merchant category codes."""


def guess_category(name: str) -> str | None:
    """The spending category a source's category name or four-digit merchant code suggests; None: no guess."""
    text = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    if len(text) == 4 and text.isdigit():
        code = int(text)
        return next((category for first, last, category in CODES if first <= code <= last), None)
    hits = [(len(word), category) for category, words in WORDS.items() for word in words if _occurs(word, text)]
    return max(hits)[1] if hits else None


def _occurs(word: str, text: str) -> bool:
    """Korean words anywhere, English ones at the start of a word: 'car' is not in 'healthcare', 'bar' not in 'haberdasher'."""
    if not word.isascii():
        return word in text
    word = word.replace("-", " ")
    short = len(word) <= 3  # whole words (or their plural) only: 'bar' is not in 'barber', 'car' not in 'card'
    return any(
        (text[at:] in (word, word + "s") or text[at:].startswith((word + " ", word + "s ", word + "/", word + ","))) if short
        else text.startswith(word, at)
        for at in (0, *(k + 1 for k, c in enumerate(text) if not c.isalnum()))
    )  # fmt: skip
