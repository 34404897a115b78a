"""An export of card payments as a person has one: two years, Korean and English shops, a refund now and then, and faulty rows.

Customers differ in how often they buy, where, and when they stop, so that there is something to learn. Every value comes from
the seed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

FIRST, DAYS = datetime(2023, 7, 1), 730
HEAD = ("card number", "approved at", "amount", "store", "business type", "card grade")
SHOPS: tuple[tuple[str, str, int], ...] = (
    ("스타벅스 강남점", "카페", 6_000), ("Blue Bottle Seongsu", "카페", 8_500), ("메가커피 홍대점", "카페", 3_200),
    ("이마트 성수점", "마트", 62_000), ("홈플러스 월드컵점", "마트", 48_000), ("GS25 역삼점", "편의점", 7_400),
    ("CU 서교점", "편의점", 5_900), ("본죽 대전점", "한식", 11_500), ("김밥천국 신촌점", "한식", 8_900),
    ("Shake Shack Gangnam", "패스트푸드", 16_400), ("쿠팡", "온라인쇼핑", 34_000), ("네이버페이", "온라인쇼핑", 27_000),
    ("Amazon Marketplace", "온라인쇼핑", 51_000), ("SK에너지 마포주유소", "주유소", 66_000), ("카카오T 택시", "택시", 12_300),
    ("코레일", "철도", 38_000), ("Marriott Seoul", "호텔", 214_000), ("대한항공", "항공", 326_000),
    ("서울아산병원", "병원", 43_000), ("온누리약국", "약국", 9_700), ("CGV 용산", "영화관", 15_000),
    ("교보문고 광화문점", "서점", 23_000), ("유니클로 명동점", "의류", 57_000), ("Nike Korea", "의류", 119_000),
)  # fmt: skip
FAULTS = (
    ("9410-0000-0000-0001", "2024-13-45 10:00", "12000", "이마트 성수점", "마트", "A"),
    ("9410-0000-0000-0002", "soon", "4500", "CU 서교점", "편의점", "A"),
    ("9410-0000-0000-0003", "2024-05-02 18:30", "12,5x", "쿠팡", "온라인쇼핑", "A"),
    ("Total", "", "81200", "", "", ""),
)
"""Rows that no map can read: a day that there is none of, no date, an amount that is none, a total."""


@dataclass(frozen=True)
class CardFile:
    """What was written."""

    path: Path
    rows: int
    faulty: tuple[int, ...]
    """Rows that cannot be read, counted as a spreadsheet counts: the header is row 1."""


def write_card_file(path: Path, customers: int, seed: int = 0) -> CardFile:
    """Payments of `customers` cards over `DAYS` days, in the order of their time, with `FAULTS` among them."""
    rng = np.random.default_rng(seed)
    weights = np.array([30.0 / np.sqrt(price) for _, _, price in SHOPS])
    found: list[tuple[datetime, tuple[str, ...]]] = []
    for number in range(customers):
        card = f"9410-{1000 + number // 10_000:04d}-{number % 10_000:04d}-{int(rng.integers(10_000)):04d}"
        taste = rng.dirichlet(weights / weights.sum() * 12 + 0.05)
        gap, purse = float(rng.gamma(2.0, 3.0)) + 0.7, float(rng.lognormal(0, 0.5))
        begins = float(rng.integers(0, 240)) if rng.random() < 0.4 else 0.0
        ends = float(rng.uniform(200, DAYS)) if rng.random() < 0.25 else DAYS
        day = begins + float(rng.exponential(gap))
        while day < ends:
            shop, kind, price = SHOPS[int(rng.choice(len(SHOPS), p=taste))]
            amount = max(int(price * purse * rng.lognormal(0, 0.35) / 100) * 100, 500)
            at = FIRST + timedelta(days=int(day), hours=int(rng.normal(14, 4)) % 24, minutes=int(rng.integers(60)))
            sign = -1 if rng.random() < 0.01 else 1
            found.append((at, (card, f"{at:%Y-%m-%d %H:%M}", str(sign * amount), shop, kind, "ABCD"[number % 4])))
            day += float(rng.exponential(gap)) * (0.6 if at.month == 12 else 1.0)
    found.sort(key=lambda item: (item[0], item[1][0]))
    rows = [row for _, row in found]
    places = sorted(int(p) for p in rng.choice(len(rows), len(FAULTS) - 1, replace=False))
    for place, fault in zip(reversed(places), reversed(FAULTS[:-1]), strict=True):
        rows.insert(place, fault)
    rows.append(FAULTS[-1])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        writer.writerows(rows)
    faulty = tuple(n for n, row in enumerate(rows, 2) if row in FAULTS)
    return CardFile(path, len(rows), faulty)
