"""Whether a sentence of a reason is true of the raw event rows: each kind of sentence is read back, in both languages, and
every number, date and name in it is worked out anew from the events (`raw_facts`). A kind that nobody can read is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.explain.ranks import quality, ranked
from tests.analysis.explain import raw_columns  # noqa: F401 (writes the facts down)
from tests.analysis.explain.raw_facts import Raw, RawBank, net, value

Array = NDArray[Any]
WITHIN = 1e-3
"""Of a number beside its rounding: models keep columns in single precision, many of them as logarithms."""
HALF = 0.02
"""By how much more than half may lie on one side of what is called "
    "a median: customers with nothing to tell stand in its middle."""
EFFECT = {
    "en": r"; (?:with the other facts on [^;]*, )?this (?:raises|lowers) .*\.$",
    "ko": r"[.] (?:[^.]*(?:\d\.\d+)?[^.]*) (?:높입니다|낮춥니다|늘립니다|줄입니다)\.$",
}
MARK = {"en": " [may be sensitive: health]", "ko": " [민감정보일 수 있음: 건강]"}
PLAIN = {
    "en": {
        "sub-industry": "kind of shop",
        "sub-industries": "kinds of shop",
        "Sub-industries": "Kinds of shop",
        "of silences of": "of pauses of",
    },
    "ko": {"업종 중분류": "세부 업종", "주 전 한 주의 비중": "주 전 한 주에 쓴 비중"},
}
"""Terms of columns' sentences in the words of reasons."""
HEALTH = re.compile(r"health|pharmac|claim", re.IGNORECASE)
"""What marks a sentence as one that may be sensitive."""
ENOUGH = 13
"""Fewer similar customers have no median to be set beside."""
AGAINST = re.compile(r"_ratio_\d+d_to_previous_\d+d$|_trend_\w*\d+d$|^income_growth_84d$")
"""Columns from -1 (nothing later) to 1 (nothing earlier), told as how many times."""


RANK = {
    "en": re.compile(r"(?P<way>more|less) than for (?:(?P<share>\d+)% of|nearly all) customers"),
    "ko": re.compile(r"(?:전체 고객의 (?P<share>\d+)%|거의 모든 고객)보다 (?P<way>큼|작음)"),
}


NOTHING = {
    "en": re.compile(r"none on record \(customers who have any: (.*)\)"),
    "ko": re.compile(r"기록 없음\(값이 있는 고객 (.*)\)"),
}


HAVING: dict[str, Callable[[Raw], bool]] = {
    "insurance_": lambda r: len(r.table("insurance")) > 0, "raw_insurance": lambda r: len(r.table("insurance")) > 0,
    "investment_": lambda r: len(r.table("investment")) > 0, "raw_investment": lambda r: len(r.table("investment")) > 0,
    "credit_": lambda r: len(r.lines) > 0, "raw_credit": lambda r: len(r.lines) > 0,
    "product_": lambda r: len(r.held) > 0, "raw_balance": lambda r: len(r.open) > 0,
    "session": lambda r: len(r.sessions) > 0, "raw_session": lambda r: len(r.sessions) > 0,
    "deposit_": lambda r: len(r.deposit) > 0, "raw_deposit": lambda r: len(r.deposit) > 0,
    "income_": lambda r: len(r.deposit) > 0, "campaign_": lambda r: len(r.shown) > 0, "bandit_": lambda r: len(r.shown) > 0,
    "raw_campaign": lambda r: len(r.shown) > 0, "lnn_": lambda r: len(r.bought.last(90)) > 1,
    "membership_": lambda r: r.joined is not None, "consultation_": lambda r: True, "overseas_": lambda r: True,
    "raw_overseas": lambda r: len(r.table("overseas")) > 0, "channel_": lambda r: len(r.touches[0]) > 0,
}  # fmt: skip
"""By how a column's name begins; of all others, who bought something in the year."""


@dataclass(frozen=True)
class Told:
    """One shown sentence in both languages, of whom, and what it was made of."""

    customer: str
    cutoff: str
    en: str
    ko: str
    sources: tuple[str, ...]
    task: str = ""
    target: int | None = None


class Unreadable(Exception):
    """A kind of sentence that nothing here can judge."""


@dataclass
class Witness:
    """The raw rows of everybody in the sample, and the fitted figures that sentences quote. `states`: mode -> arrays of a
    fitted hidden Markov model; `labels`: task -> by row of the sample; `train_clusters`: of all training rows."""

    bank: RawBank
    rows: list[tuple[str, str]]
    cluster: Array
    train_clusters: Array
    sentences: Mapping[str, tuple[str, str, str, str]]
    """column -> (English, Korean, unit, part)"""
    states: Mapping[str, Mapping[str, Array]]
    traits: Mapping[tuple[str, str], tuple[str, bool]]
    """(language, phrase) -> (column, more of it)"""
    graph: Array
    labels: Mapping[str, Array]
    stored: Mapping[str, Array]
    """column -> by row of the sample, NaN where there is none: figures of topology, which other tests hold against ripser, and
    figures beside the whole market at an earlier date"""
    centres: Array
    """[groups, 64] directions of those who buy at similar merchants"""
    held_graph: Array
    held_labels: Mapping[str, Array]
    """of every customer that was not learned from, at the latest"""
    kinds: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.raws = [self.bank.of(c, d) for c, d in self.rows]
        self._known: dict[str, Array] = {}
        latest: dict[str, int] = {}
        for i, (c, d) in enumerate(self.rows):
            if c not in latest or d > self.rows[latest[c]][1]:
                latest[c] = i
        self.latest = np.array(sorted(latest.values()))

    def of(self, told: Told) -> Raw:
        return self.bank.of(told.customer, told.cutoff)

    def all(self, column: str) -> Array:
        """[rows] NaN where there is nothing to tell."""
        if column not in self._known:
            found = [self._of_row(column, i) for i in range(len(self.raws))]
            self._known[column] = np.array([np.nan if v is None else v for v in found])
        return self._known[column]

    def _of_row(self, column: str, row: int) -> float | None:
        if column in self.stored:
            found = float(self.stored[column][row])
            return None if np.isnan(found) else found
        if (m := re.fullmatch(r"hmm_(journey|lifecycle|behavior)_(top_probability|entropy|exit_rate)", column)) is not None:
            seen = self.seen(m[1], self.raws[row])
            return self._clearness(m[1], m[2], seen) if seen.any() else None
        return value(column, self.raws[row]) if self._has(column, self.raws[row]) else None

    def _has(self, column: str, raw: Raw) -> bool:
        """Whether the customer has such a thing at all: medians are of those who have."""
        for start, has in HAVING.items():
            if column.startswith(start):
                return has(raw)
        return len(raw.bought) > 0

    def _clearness(self, mode: str, what: str, seen: Array) -> float:
        """How sure the state of the last step is, and how soon it is left."""
        p = self.filtered(mode, seen)[-1]
        if what == "exit_rate":
            return float((p * (1 - np.diag(self.states[mode]["transition"]))).sum())
        return float(p.max() if what == "top_probability" else -(p * np.log(np.maximum(p, 1e-12))).sum())

    def own(self, told: Told, column: str) -> float | None:
        """What is so of the customer."""
        return self._of_row(column, self.rows.index((told.customer, told.cutoff)))

    def others(self, told: Told) -> Array:
        """Rows of the other customers of the customer's cluster, each at the latest."""
        mine = self.cluster[self.rows.index((told.customer, told.cutoff))]
        return np.array([i for i in self.latest if self.cluster[i] == mine and self.rows[i][0] != told.customer], dtype=int)

    # --- one sentence

    def problems(self, told: Told) -> list[str]:
        """What is not so; `Unreadable` for a kind of sentence that nothing here can judge."""
        found = []
        for language in ("en", "ko"):
            text = told.en if language == "en" else told.ko
            marked, text = text.endswith(MARK[language]), text.removesuffix(MARK[language])
            body = re.sub(EFFECT[language], "", text)
            plain = re.sub(EFFECT["en"], "", told.en.removesuffix(MARK["en"]))
            if told.sources != ("compared",) and marked != bool(
                HEALTH.search(plain.replace("transport, health, education", ""))
            ):
                found.append(f"{language}: marked as sensitive: {marked}")
            assert body != text or told.sources == ("compared",), f"no effect is told: {text}"
            found += [f"{language}: {p}" for p in self._judge(told, body, language)]
        return found

    def _judge(self, told: Told, body: str, language: str) -> list[str]:
        for kind, (pattern, judge) in KINDS[language].items():
            if (m := re.fullmatch(pattern, body)) is not None:
                if language == "en":
                    self.kinds[kind] = self.kinds.get(kind, 0) + 1
                return judge(self, told, m.groupdict(), language)
        parted = "; " if language == "en" else ", "
        for at in (m.start() for m in re.finditer(parted, body)):  # two facts of one matter
            second = body[at + len(parted) :]
            try:
                return self._judge(told, body[:at], language) + self._judge(told, second[:1].upper() + second[1:], language)
            except Unreadable:
                continue
        found = self._column_sentence(told, body, language)
        if found is None:
            raise Unreadable(f"{language}: {body} {told.sources}")
        return found

    def _column_sentence(self, told: Told, body: str, language: str) -> list[str] | None:
        """Problems of a sentence on a column. Where columns of the reason are told in the same words, it may be any of them."""
        body, problems = self._biggest(told, body, language)
        found: list[list[str]] = []
        for column in told.sources:
            if column not in self.sentences:
                continue
            said = self.column_said(column, language)
            if body.startswith(f"{said}: ") and RANK[language].fullmatch(body[len(said) + 2 :]) is None:
                if language == "en":
                    self.kinds["column"] = self.kinds.get("column", 0) + 1
                found.append(problems + self.column_holds(told, column, body[len(said) + 2 :], language))
            elif ranked(column) and body.startswith(f"{quality(column, language)}: "):
                if language == "en":
                    self.kinds["rank"] = self.kinds.get("rank", 0) + 1
                found.append(self.rank_holds(told, column, body.rpartition(": ")[2], language))
        return min(found, key=len) if found else None

    def rank_holds(self, told: Told, column: str, said: str, language: str) -> list[str]:
        """`more than for 84% of customers`: so many of the other rows of the sample lie below (above) the customer's."""
        m = RANK[language].fullmatch(said)
        if m is None:
            raise Unreadable(f"{language}: {column}: {said}")
        own, others = self.own(told, column), self.all(column)
        others = others[np.isfinite(others) & np.array([c != told.customer for c, _ in self.rows])]
        if own is None:
            return [f"{column}: '{said}', where there is nothing to tell"]
        room = WITHIN * abs(own) + 1e-9
        ends = [
            float((others < own + r).mean() if m["way"] in ("more", "큼") else (others > own - r).mean()) for r in (-room, room)
        ]
        least, most = ends[0] - HALF - 0.005, ends[1] + HALF + 0.005
        share = 1.0 if m["share"] is None else float(m["share"]) / 100
        return [] if least <= share <= most else _wrong(f"{column}, {m['way']} than", share, ends)

    def _biggest(self, told: Told, body: str, language: str) -> tuple[str, list[str]]:
        """The sentence on the biggest category without its name, and whether that name is the one."""
        form = {
            "en": r"(Share of the biggest category), ([^,]*),( in the spend)",
            "ko": r"(지출에서 가장 큰 업종)\((.*?)\)(의 비중)",
        }
        if (m := re.search(form[language], body)) is None:
            return body, []
        shares = {n: self.own(told, n) or 0.0 for n in self.sentences if re.match(r"category_share_\w+_90d$", n)}
        best = max(shares, key=lambda n: shares[n])
        known = re.search(r"on (.*) in the|지출 중 (.*) 비중", self.column_said(best, language))
        name = "" if known is None else known[1] or known[2]
        return body.replace(m[0], m[1] + m[3]), [] if m[2] == name else _wrong("biggest category", m[2], name)

    def column_said(self, column: str, language: str) -> str:
        en, ko, *_ = self.sentences[column]
        text = (en if language == "en" else ko).strip().rstrip(".")
        for term, plain in PLAIN[language].items():
            text = text.replace(term, plain)
        if language == "ko":
            text = text.removesuffix("입니다").rstrip()
            text = text.removesuffix("(원래 척도)").replace(", 원래 척도)", ")").rstrip(" ,")
            return text.removesuffix("이며, 1년간 없으면 365").removesuffix("으로, -1(중단)에서 1(신규)까지")
        text = text.removesuffix("in its own scale").rstrip(" ,").removesuffix(", 365 when there was none in a year")
        return text.removesuffix(", from -1 (stopped) to 1 (new)")

    def column_holds(self, told: Told, column: str, said: str, language: str) -> list[str]:
        """`12 days (all customers: 34 days; similar customers: 20 days)`, `12 days`, `none on record (...)`."""
        unit = self.sentences[column][2]
        own = self.own(told, column)
        if (nothing := NOTHING[language].fullmatch(said)) is not None:
            return ([] if not own else [f"{column}: '{said}', is {own}"]) + self._median(column, nothing[1], unit)
        forms = {
            "en": r"(?P<own>.*?)(?: \((?P<who>all customers|customers who have any): (?P<all>.*?)"
            r"(?:; similar customers: (?P<similar>.*))?\))?",
            "ko": r"(?P<own>.*?)(?:\((?P<who>전체 고객|값이 있는 고객) (?P<all>.*?)(?: / 유사 고객 (?P<similar>.*))?\))?",
        }
        m = re.fullmatch(forms[language], said)
        if m is None:
            raise Unreadable(f"{language}: {column}: {said}")
        if own is None:
            return [f"{column}: '{said}', where there is nothing to tell"]
        problems = [] if reads(m["own"], own, unit, column) else [f"{column}: said {m['own']}, is {own}"]
        if m["all"]:
            problems += self._median(column, m["all"], unit)
            there = float(np.isfinite(self.all(column)).mean())  # called so where nearly all have a value, and only there
            if m["who"] in ("all customers", "전체 고객") and there < 0.97:
                problems.append(f"{column}: {there:.0%} have a value, called all customers")
        if m["similar"]:
            problems += self._of_similar(told, column, m["similar"], unit)
        return problems

    def _of_similar(self, told: Told, column: str, said: str, unit: str) -> list[str]:
        """The median of the group's others, which are enough."""
        others = self.all(column)[self.others(told)]
        others = others[np.isfinite(others)]
        problems = [] if len(others) >= ENOUGH else [f"{column}: {len(others)} similar customers are too few"]
        return problems + self._middle(column, others, *said_of(said, unit, column), said)

    def _median(self, column: str, said: str, unit: str) -> list[str]:
        others = self.all(column)
        middle, room = said_of(said, unit, column)
        return self._middle(column, others[np.isfinite(others)], middle, room, said)

    def _middle(self, column: str, others: Array, middle: float, room: float, said: str) -> list[str]:
        room += WITHIN * max(abs(middle), 0.1 if AGAINST.search(column) else 0.0)
        below, above = float((others < middle - room).mean()), float((others > middle + room).mean())
        if max(below, above) <= 0.5 + HALF:
            return []
        return [f"{column}: median said to be {said}, is {np.median(others):.4g} ({below:.0%} below, {above:.0%} above)"]

    def facts(self, told: Told, text: str, language: str) -> list[str]:
        """`number of purchases in the last 28 days: 2 (all customers: 1); ...`, each of them."""
        parted = "; " if language == "en" else ", "
        starts = [i for i in range(len(text)) if i == 0 or text[:i].endswith(parted)]
        named = [(i, c) for i in starts if (c := self._fact_column(text[i:], language)) is not None]
        if not named or named[0][0] != 0:
            raise Unreadable(f"{language}: facts {text}")
        ends = [i - len(parted) for i, _ in named[1:]] + [len(text)]
        problems = []
        for (i, column), end in zip(named, ends, strict=True):
            said = text[i + len(self.column_said(column, language)) + 2 : end]
            problems += self.column_holds(told, column, said, language)
        return problems

    def _fact_column(self, text: str, language: str) -> str | None:
        found = [c for c in self.sentences if text.lower().startswith(f"{self.column_said(c, language).lower()}: ")]
        plain = [c for c in found if not c.startswith("raw_")]
        return (plain or found or [None])[0]

    # --- series of one customer

    def daily(self, raw: Raw, days: int) -> Array:
        """[days, 4] net spend, purchases, visits and money in, the newest last."""
        out = np.zeros((days, 4))
        for events, kind in ((raw.card, 0), (raw.bought, 1), (raw.sessions, 2), (raw.deposit, 3)):
            for d in np.unique(events.d[events.d <= days]):
                here = events.where(events.d == d)
                amount = {0: lambda e: net(e), 1: len, 2: len, 3: lambda e: e.amount[e.amount > 0].sum()}[kind](here)
                out[days - int(d), kind] = amount
        return out

    def monthly(self, raw: Raw, mode: str) -> Array:
        """[12, 6] what the lifecycle or the behaviour of months is told from, the newest last."""
        out = np.zeros((12, 6))
        for m in range(12):
            card, bought, paid, seen = (
                e.where((e.d - 1) // 30 == m) for e in (raw.card, raw.bought, raw.deposit, raw.sessions)
            )
            if mode == "lifecycle":
                days = len(set(bought.d) | set(paid.d))
                places = len({str(x) for x in bought.merchant_id})
                money = paid.amount[paid.amount > 0].sum()
                out[11 - m] = (
                    np.log1p(net(card)),
                    np.log1p(len(bought)),
                    days,
                    np.log1p(len(seen)),
                    np.log1p(money),
                    np.log1p(places),
                )
            elif len(bought):
                by = np.array([net(card.where(card.mcc_l1.astype(str) == c)) for c in np.unique(card.mcc_l1.astype(str))])
                p = by[by > 0] / by.sum() if by.sum() > 0 else np.zeros(0)
                hour = np.nan_to_num(
                    (bought.ts - bought.ts.astype("datetime64[D]")).astype("timedelta64[s]").astype(float) / 3600
                )
                weekday = (bought.ts.astype("datetime64[D]").astype(int) + 3) % 7
                out[11 - m] = (
                    -(p * np.log(p)).sum() if len(p) else 0.0, np.mean([c in ("app", "web") for c in bought.channel]),
                    (weekday >= 5).mean(), ((hour >= 21) | (hour < 6)).mean(), np.log1p(bought.amount.mean()),
                    p.max() if len(p) else 0.0,
                )  # fmt: skip
        return out

    def filtered(self, mode: str, seen: Array) -> Array:
        """[steps, 10] what is believed of the state after each step."""
        s, p, out = self.states[mode], None, []
        emission = self._emission(mode, seen)
        for row in emission:
            p = (s["start"] if p is None else p @ s["transition"]) * np.exp(row - row.max())
            p = p / p.sum()
            out.append(p)
        return np.array(out)

    def best(self, mode: str, seen: Array) -> list[int]:
        """The most probable states of all steps, by trying every way to each state."""
        s, emission = self.states[mode], self._emission(mode, seen)
        with np.errstate(divide="ignore"):
            ways: list[tuple[float, list[int]]] = [(float(np.log(s["start"][k]) + emission[0, k]), [k]) for k in range(10)]
            for row in emission[1:]:
                ways = [
                    max((score + float(np.log(s["transition"][path[-1], k]) + row[k]), [*path, k]) for score, path in ways)
                    for k in range(10)
                ]
        return max(ways)[1]

    def _emission(self, mode: str, seen: Array) -> Array:
        s = self.states[mode]
        x = (seen - s["centre"]) / s["scale"]
        apart = (x[:, None, :] - s["mean"]) ** 2 / s["var"] + np.log(s["var"])
        return np.asarray(-0.5 * apart.sum(2))

    @cached_property
    def state_shares(self) -> dict[str, Array]:
        """mode -> share of the sample's customers by state, each at the latest."""
        out = {}
        for mode in self.states:
            ends = []
            for i in self.latest:
                seen = self.seen(mode, self.raws[i])
                if seen.any():
                    ends.append(int(self.filtered(mode, seen)[-1].argmax()))
            out[mode] = np.bincount(ends, minlength=10) / max(len(ends), 1)
        return out

    def seen(self, mode: str, raw: Raw) -> Array:
        return np.log1p(self.daily(raw, 90)) if mode == "journey" else self.monthly(raw, mode)


# --- numbers as they are written


def read(text: str, unit: str) -> tuple[float, float]:
    """(number, how far the true one may be from it) of what a reader sees."""
    if text in ("none in a year", "1년간 없음"):
        return 365.0, 0.5
    if text in ("none", "없음"):
        return 0.0, 0.005
    if text in ("yes", "예", "no", "아니요"):
        return float(text in ("yes", "예")), 0.5
    m = re.search(r"-?[\d,]*\.?\d+", text.replace("−", "-"))
    if m is None:
        raise Unreadable(f"no number in '{text}' ({unit})")
    plain = m[0].replace(",", "")
    decimals = len(plain.partition(".")[2])
    scale = 0.01 if "%" in text or "points" in text else 1.0
    if unit == "hours" and ("day" in text or text.endswith("일")):
        scale = 24.0
    sign = -1.0 if text.startswith(("-", "−")) and not plain.startswith("-") else 1.0  # -$1,016.38
    return sign * float(plain) * scale, (0.5 * 10**-decimals + 1e-9) * scale


def written(text: str, true: float, unit: str) -> bool:
    said, room = read(text, unit)
    return abs(said - true) <= room + WITHIN * abs(true)


def said_of(text: str, unit: str, column: str) -> tuple[float, float]:
    """`read`, of what is told as how many times back in the column's own scale."""
    if AGAINST.search(column) is None:
        return read(text, unit)
    ends = {
        "some before, none in the later days": -1.0,
        "이전에는 있었으나 나중 기간에는 없음": -1.0,
        "none before, some in the later days": 1.0,
        "앞 기간에는 없었고 뒤 기간에 새로 생김": 1.0,
    }
    if text in ends:
        return ends[text], 1e-3
    if text in ("as much as before", "이전과 같은 수준"):
        return 0.0, 1e-3
    if text in ("more than 10 times", "10배 초과", "less than 1/10", "10분의 1 미만"):  # between ten times and nothing earlier
        middle, room = (1 + 9 / 11) / 2, (1 - 9 / 11) / 2
        return middle if text.startswith(("more", "10배")) else -middle, room
    times, room = read(text, unit)
    return (times - 1) / (times + 1), 2 * room / (times + 1) ** 2 + WITHIN


def reads(text: str, true: float, unit: str, column: str = "") -> bool:
    """Whether it is so, or beyond the last value that the model reads."""
    bare = re.sub(r" (or more|or less|이상|이하)$", "", text)
    said, room = said_of(bare, unit, column)
    room += WITHIN * abs(true)
    if text.endswith((" or more", " 이상")):
        return true >= said - room
    return true <= said + room if text != bare else abs(said - true) <= room


Judge = Callable[[Witness, Told, Mapping[str, str], str], list[str]]
KINDS: dict[str, dict[str, tuple[str, Judge]]] = {"en": {}, "ko": {}}


def kind(name: str, en: str, ko: str) -> Callable[[Judge], Judge]:
    def keep(judge: Judge) -> Judge:
        KINDS["en"][name], KINDS["ko"][name] = (en, judge), (ko, judge)
        return judge

    return keep


def _wrong(what: str, said: object, true: object) -> list[str]:
    return [f"{what}: said {said}, is {true}"]


@kind(
    "hour",
    r"Time of purchases in the last 90 days: around (?P<hour>noon|midnight|\d+ (?:am|pm)) on average \(all customers: .*\)",
    r"최근 90일 구매 시각: 평균 (?P<hour>낮 12시|자정|(?:새벽|오전|오후) \d+시)(?:경| 무렵)\(전체 고객 .*\)",
)
def _hour(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    raw = w.of(told)
    sine, cosine = value("hour_mean_sin_90d", raw), value("hour_mean_cos_90d", raw)
    if sine is None or cosine is None:
        return ["an hour of no purchases"]
    hour = np.arctan2(sine, cosine) * 12 / np.pi % 24
    digits = re.search(r"\d+", g["hour"])
    said = 0 if digits is None and g["hour"] in ("midnight", "자정") else 12 if digits is None else int(digits[0]) % 12
    said += 12 if g["hour"].endswith("pm") or g["hour"].startswith(("오후", "낮")) else 0
    apart = abs((hour - said + 12) % 24 - 12)
    return [] if apart <= 0.51 else _wrong("hour", g["hour"], hour)


@kind(
    "spread hours",
    r"Time of purchases in the last 90 days: at no particular time of day \(all customers: mostly .*\)",
    r"최근 90일 구매 시각: 특정 시간대에 몰리지 않음\(전체 고객은 주로 .*\)",
)
def _spread(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    raw = w.of(told)
    sine, cosine = value("hour_mean_sin_90d", raw), value("hour_mean_cos_90d", raw)
    close = np.hypot(sine or 0, cosine or 0)
    return [] if 0 < close < 0.501 else [f"hours keep together by {close:.2f}"]


@kind(
    "hour beside spread hours",
    r"Time of purchases in the last 90 days: mostly around (?P<hour>noon|midnight|\d+ (?:am|pm)) "
    r"\(all customers: at no particular time of day\)",
    r"최근 90일 구매 시각: 주로 (?P<hour>낮 12시|자정|(?:새벽|오전|오후) \d+시)(?:경| 무렵)"
    r"\(전체 고객은 특정 시간대에 몰리지 않음\)",
)
def _hour_beside(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    raw = w.of(told)
    close = np.hypot(value("hour_mean_sin_90d", raw) or 0, value("hour_mean_cos_90d", raw) or 0)
    return _hour(w, told, g, language) + ([] if close > 0.499 else [f"hours keep together by {close:.2f}"])


@kind("no hour", r"Time of purchases in the last 90 days: none is known", r"최근 90일 구매 시각: 알려진 것이 없음")
def _no_hour(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    return [] if value("hour_mean_sin_90d", w.of(told)) is None else ["purchases have hours"]


@kind(
    "rests",
    r"(?:The present pause beside past shopping|The present pause beside the usual pace of shopping|"
    r"Pace of shopping over the last year): (?P<facts>.*)",
    r"(?:과거 구매와 비교한 현재의 공백|평소 구매 주기와 비교한 현재의 공백|지난 1년의 구매 주기): (?P<facts>.*?)\.?",
)
def _rests(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    return w.facts(told, g["facts"], language)


UNNAMED = "뚜렷한 특징이 하나로 정해지지 않은"


@kind(
    "cluster",
    r"(?:Customer group|Nearest to (?:the|a) customer group) of (?P<share>[\d.]+%) of customers, "
    r"(?:in which it is usual (?P<who>.*?); this customer: |without one mark of its own; "
    r"what places this customer there: )(?P<facts>.*)",
    r"(?P<who>.*?) 고객군\(전체 고객의 (?P<share>[\d.]+%)\)에 (?:속합니다|가장 가깝습니다)\. "
    r"(?:이 고객의 해당 사실|이 고객을 그 고객군에 \S+ 한 사실): (?P<facts>.*?)\.?",
)
def _cluster(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    at = w.rows.index((told.customer, told.cutoff))
    mine = int(w.cluster[at])
    share = float((w.train_clusters == mine).mean())
    problems = [] if written(g["share"], share, "share") else _wrong("share of the cluster", g["share"], share)
    who = "" if g["who"] in (None, UNNAMED) else g["who"]
    names = [n for x, n in w.traits if x == language and n in who]
    left = who
    for name in names:
        left = left.replace(name, "")
    if left.replace(" and ", "").strip(", "):
        problems.append(f"a mark that nobody knows: {left}")
    for name in names:
        column, more = w.traits[language, name]
        values = w.all(column)
        known = np.isfinite(values)
        members = values[known & (w.cluster == mine)]
        everyone = np.sort(values[known])
        rank = float(
            (
                (np.searchsorted(everyone, members, "left") + np.searchsorted(everyone, members, "right")) / 2 / len(everyone)
            ).mean()
        )
        if (rank if more else 1 - rank) < 0.75 - HALF:
            problems.append(f"members '{name}': a member is beyond {rank:.0%} of customers in {column}")
        own, said = w.own(told, column), w.column_said(column, language).lower()
        beyond = own is not None and (own > np.median(everyone) if more else own < np.median(everyone))
        if not beyond:
            problems.append(f"'{name}' is not so of the customer: {column} {own}, median {np.median(everyone)}")
        if said not in g["facts"].lower():
            problems.append(f"'{name}' stands without its fact")
    return problems + w.facts(told, g["facts"], language)


STATE_WORDS = {
    "en": {
        "spend": r"about (\S+) spent",
        "purchases": r"about ([\d.,]+) purchases",
        "sessions": r"about ([\d.,]+) app or web visits",
        "deposit_in": r"about (\S+) paid in",
        "active_days": r"about ([\d.,]+) active days",
        "mean_amount": r"about (\S+) a purchase",
        "online_share": r"(\d+%) bought online",
        "weekend_share": r"(\d+%) at the weekend",
        "night_share": r"(\d+%) between 9 pm and 6 am",
        "top_share": r"(\d+%) in one category",
    },
    "ko": {
        "spend": r"지출 약 (\S*\d)",
        "purchases": r"구매 약 ([\d.,]+)건",
        "sessions": r"앱·웹 접속 약 ([\d.,]+)회",
        "deposit_in": r"입금 약 (\S*\d)",
        "active_days": r"활동일 약 ([\d.,]+)일",
        "mean_amount": r"건당 약 (\S*\d)",
        "online_share": r"온라인 구매 (\d+%)",
        "weekend_share": r"주말 구매 (\d+%)",
        "night_share": r"21~6시 구매 (\d+%)",
        "top_share": r"한 업종에 (\d+%)",
    },
}
NONE = {
    "en": {
        "spend": "nothing spent",
        "purchases": "no purchases",
        "sessions": "no app or web visits",
        "deposit_in": "no money paid in",
        "active_days": "no active days",
    },
    "ko": {
        "spend": "지출 없음",
        "purchases": "구매 없음",
        "sessions": "앱·웹 접속 없음",
        "deposit_in": "입금 없음",
        "active_days": "활동일 없음",
    },
}
OF_MODE = {
    "journey": ("spend", "purchases", "sessions", "deposit_in"),
    "lifecycle": ("spend", "purchases", "active_days", "sessions", "deposit_in", "merchants"),
    "behavior": ("entropy", "online_share", "weekend_share", "night_share", "mean_amount", "top_share"),
}
LOGGED = {"spend", "purchases", "sessions", "deposit_in", "merchants", "mean_amount"}


def _described(w: Witness, mode: str, state: int, text: str, language: str) -> list[str]:
    """Whether the figures of a state are those of the fitted model."""
    s = w.states[mode]
    means = np.maximum(s["mean"][state] * s["scale"] + s["centre"], 0)
    problems = []
    for name, mean in zip(OF_MODE[mode], means, strict=True):
        true = float(np.expm1(mean)) if name in LOGGED else float(mean)
        pattern = STATE_WORDS[language].get(name)
        if pattern is None:
            continue
        if (m := re.search(pattern, text)) is not None:
            problems += [] if written(m[1], true, "") else _wrong(f"{mode} state, {name}", m[1], true)
        elif true >= 0.06 and (NONE[language].get(name, "-") in text or "no activity" in text or "활동 없음" in text):
            problems += _wrong(f"{mode} state, {name}", "none", true)
    return problems


@kind(
    "days of a kind",
    r"Days (?:of this kind|nearest to this kind) for (?P<n>\d+) days in a row, at "
    r"the latest: (?P<state>.*) \((?P<share>\d+%) of customers are in such days\)",
    r"최근 (?P<n>\d+)일 연속으로 이런 날(?:입니다|에 가장 가깝습니다): "
    r"(?P<state>.*)\(고객의 (?P<share>\d+%)가 이런 날에 있음\)\.?",
)
def _days_of_a_kind(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    path = w.filtered("journey", w.seen("journey", w.of(told))).argmax(1)
    other = np.flatnonzero(path != path[-1])
    held = len(path) - (int(other[-1]) + 1 if len(other) else 0)
    share = float(w.state_shares["journey"][path[-1]])
    return [
        *([] if int(g["n"]) == held else _wrong("days in a row", g["n"], held)),
        *([] if written(g["share"], share, "share") else _wrong("customers in such days", g["share"], share)),
        *_described(w, "journey", int(path[-1]), g["state"], language),
    ]


EN_MONTHS = (
    r"(?:(?P<one>The latest month is (?:of|nearest to) another kind than those before), (?P<turned>[^:]*)"
    r"|(?P<latest>The latest month is (?:of this kind|nearest to this kind))"
    r"|For (?P<n>\d+) months now (?:of this kind|nearest to this kind), (?P<turned2>[^:]*)"
    r"|All (?P<every>\d+) months (?:of this kind|nearest to this kind))"
    r": (?P<state>.*) \((?P<share>\d+%) of customers; it lasts [\d.,]+ months on average\)"
    r"(?:\. Before (?:it|them): (?P<before>.*?))?(?:\. This customer: (?P<facts>.*))?"
)
KO_MONTHS = (
    r"(?:(?P<one>최근 한 달은 그 전과 다른 달(?:입니다|에 가장 가깝습니다))\((?P<turned>[^)]*)\)"
    r"|(?P<latest>최근 한 달은 이런 달(?:입니다|에 가장 가깝습니다))"
    r"|최근 (?P<n>\d+)개월째 이런 달(?:입니다|에 가장 가깝습니다)\((?P<turned2>[^)]*)\)"
    r"|(?P<every>\d+)개월 내내 이런 달(?:입니다|에 가장 가깝습니다))"
    r": (?P<state>.*)\(고객의 (?P<share>\d+%), 평균 [\d.,]+개월 지속\)"
    r"(?:\. 그 전: (?P<before>.*?))?(?:\. 이 고객: (?P<facts>.*?))?\.?"
)


@kind("months of a kind", EN_MONTHS, KO_MONTHS)
def _months(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    mode = next(s.removeprefix("hmm_") for s in told.sources if s.startswith("hmm_"))
    seen = w.seen(mode, w.of(told))
    now, path = int(w.filtered(mode, seen)[-1].argmax()), w.best(mode, seen)
    share = float(w.state_shares[mode][now])
    problems = [] if written(g["share"], share, "share") else _wrong(f"customers in such months ({mode})", g["share"], share)
    problems += _described(w, mode, now, g["state"], language)
    held = next((i for i, s in enumerate(reversed(path)) if s != path[-1]), len(path))
    said = 1 if g["one"] else int(g["n"] or g["every"] or 0)
    if g["latest"]:
        problems += ["months are known and not told"] if path[-1] == now else []
    elif path[-1] != now or said != held or (g["every"] and held != 12):
        problems += _wrong("months in a row", said, held)
    if g["before"]:
        before = path[-held - 1]
        problems += _described(w, mode, before, g["before"], language)
        problems += _turned(w, mode, before, now, g["turned"] or g["turned2"])
    return problems + (w.facts(told, g["facts"].rstrip("."), language) if g["facts"] else [])


def _turned(w: Witness, mode: str, before: int, now: int, said: str) -> list[str]:
    mean = w.states[mode]["mean"]
    counted = [i for i, n in enumerate(OF_MODE[mode]) if n in ("spend", "purchases", "active_days", "sessions")]
    more = {bool(mean[now, i] > mean[before, i]) for i in counted}
    if said in ("quieter than before", "전보다 활동이 줄어듦"):
        return [] if more == {False} else ["months are not quieter than before"]
    if said in ("busier than before", "전보다 활동이 늘어남"):
        return [] if more == {True} else ["months are not busier than before"]
    return []


@kind(
    "days",
    r"Purchases and payments on (?P<n>one|\d) days? in (?P<months>[-\d, and]+?)(?:, in all|:) (?P<what>.*)\. "
    r"That is [\d.]+% of what the last 180 days do in this direction",
    r"(?P<months>[-\d, ]+) 중 (?P<n>하루|\d)일?의 거래: (?:합계 )?(?P<what>.*)\. "
    r"최근 180일의 거래가 이 방향으로 작용한 영향의 [\d.]+%를 차지합니다\.?",
)
def _days(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    """No date is told: some days of these months, as many as are said and one of each at least, hold what is said."""
    raw, months = w.of(told), set(re.findall(r"\d{4}-\d\d", g["months"]))
    n = 1 if g["n"] in ("one", "하루") else int(g["n"])
    by_month = {d: (raw.cutoff - timedelta(days=d)).isoformat()[:7] for d in range(1, 181)}
    held = {d: _held(raw, d, d) for d, m in by_month.items() if m in months}
    held = {d: h for d, h in held.items() if any(h.values())}
    for days in combinations(held, n):
        if {by_month[d] for d in days} == months and not _not_held(
            {k: sum(held[d][k] for d in days) for k in held[days[0]]}, g["what"], language, ("spent", "in", "out", "bought")
        ):
            return []
    return _wrong(f"{n} days of {sorted(months)}", g["what"], "no such days")


def _on_days(
    w: Witness, raw: Raw, newest: int, oldest: int, what: str, language: str, *, net_spend: bool, weeks: int = 1
) -> list[str]:
    """`3 purchases, $90.00 spent, $1,000 paid in`, of one day or of several, or on average a week."""
    true = {name: amount / weeks for name, amount in _held(raw, newest, oldest).items()}
    return [f"days {newest} to {oldest} back: {p}" for p in _not_held(true, what, language)]


def _held(raw: Raw, newest: int, oldest: int) -> dict[str, float]:
    """Purchases, net spend, money in and out, visits from one day back to another."""
    card, bought, paid, seen = (e.between(newest, oldest) for e in (raw.card, raw.bought, raw.deposit, raw.sessions))
    by_day = [net(card.where(card.d == d)) for d in np.unique(card.d)]
    return {
        "bought": float(len(bought)), "spent": float(sum(by_day)), "in": float(paid.amount[paid.amount > 0].sum()),
        "out": float(-paid.amount[paid.amount < 0].sum()), "visits": float(len(seen)),
    }  # fmt: skip


def _not_held(true: Mapping[str, float], what: str, language: str, must: tuple[str, ...] = ("bought",)) -> list[str]:
    """What of `3 purchases, $90.00 spent, $1,000 paid in` is not so. `must`: what may not go unsaid where there is some."""
    words = {
        "en": {
            "bought": r"([\d,.]+) purchases?",
            "spent": r"(\S*\d\S*) spent",
            "in": r"(\S*\d\S*) paid in",
            "out": r"(\S*\d\S*) paid out",
            "visits": r"([\d,.]+) app or web visits?",
        },
        "ko": {
            "bought": r"구매 ([\d,.]+)건",
            "spent": r"지출 (\S*\d)",
            "in": r"입금 (\S*\d)",
            "out": r"출금 (\S*\d)",
            "visits": r"앱·웹 접속 ([\d,.]+)회",
        },
    }[language]
    problems = []
    for name, pattern in words.items():
        m = re.search(pattern, what)
        if m is not None and not written(m[1], true[name], ""):
            problems += _wrong(name, m[1], true[name])
        if m is None and name in must and true[name] and (name != "spent" or true["bought"]):
            problems += _wrong(name, "none", true[name])
    return problems


@kind(
    "silence",
    r"No purchase and no payment in the (?P<n>\d+) days from (?P<first>\S+) to (?P<last>\S+) "
    r"\((?P<active>\d+) active days in the last 180\)",
    r"(?P<first>\S+)부터 (?P<last>\S+)까지 (?P<n>\d+)일 동안 구매와 입출금이 없었습니다"
    r"\(최근 180일 중 거래일 (?P<active>\d+)일\)\.",
)
def _silence(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    raw = w.of(told)
    active = {int(d) for e in (raw.card, raw.deposit) for d in e.d if d <= 180}
    first, last = ((raw.cutoff - date.fromisoformat(g[k])).days for k in ("first", "last"))
    problems = [] if int(g["active"]) == len(active) else _wrong("active days", g["active"], len(active))
    problems += [] if int(g["n"]) == first - last + 1 else _wrong("days of silence", g["n"], first - last + 1)
    return problems + ([] if not active & set(range(last, first + 1)) else ["the silence has activity in it"])


@kind(
    "visits",
    r"Visits in app and web: (?P<visits>.*)\. That is [\d.]+% of what all visits do in this direction",
    r"앱·웹 접속: (?P<visits>.*)\. 모든 접속이 이 방향으로 작용한 영향의 [\d.]+%를 차지합니다\.?",
)
def _visits(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    raw, problems = w.of(told), []
    channels = {"app": "app", "web": "web", "앱": "app", "웹": "web"}
    found = re.findall(r"(\d{4}-\d\d)(?: 중 한 번)? ?\(([^,()]*), ([\d.,]+) ?(?:minutes|분)\)", g["visits"])
    assert found, g["visits"]
    for month, where, minutes in found:
        there = raw.sessions.where(raw.sessions.ts.astype("datetime64[M]") == np.datetime64(month))
        same = [
            i for i in range(len(there))
            if channels.get(where, "") == str(there.channel[i]) or where in ("another channel", "다른 채널")
        ]  # fmt: skip
        if not any(written(minutes, float(there.duration[i]) / 60, "minutes") for i in same):
            problems.append(f"no visit in {month} by {where} of {minutes} minutes")
    return problems


@kind(
    "weeks",
    r"Weeks that stand out among the last 26: (?P<weeks>\d.*)\. A usual week of .*: .*",
    r"최근 26주 중 두드러진 기간: (?P<weeks>\d.*?)\. 전체 고객의 보통 한 주는 .*",
)
def _weeks(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    raw, problems = w.of(told), []
    found = re.findall(r"(\d{4}-\d\d-\d\d)(?: to |~)(\d{4}-\d\d-\d\d) ?\(([^()]*)\)", g["weeks"])
    assert found, g["weeks"]
    for first, last, what in found:
        oldest, newest = ((raw.cutoff - date.fromisoformat(x)).days for x in (first, last))
        weeks = (oldest - newest + 1) // 7
        said = re.match(r"(\d+) ?(?:weeks|주간)", what)
        if (int(said[1]) if said else 1) * 7 != oldest - newest + 1:
            problems += _wrong("weeks", what, (oldest - newest + 1) / 7)
        problems += _on_days(w, raw, newest, oldest, what, language, net_spend=True, weeks=weeks)
    return problems


@kind(
    "wave",
    r"What is done on an active day \(purchases, and actions in app and web\) rises and falls about every (?P<n>\d+) days, "
    r"from about (?P<low>\d+) to about (?P<high>\d+)",
    r"활동하는 날의 활동량\(구매와 앱·웹 행동\)이 약 (?P<n>\d+)일마다 "
    r"하루 약 (?P<low>\d+)건에서 약 (?P<high>\d+)건까지 오르내림",
)
def _wave(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    """The sine that fits the active days best, by trying every period."""
    raw = w.of(told)
    done = np.array([(raw.bought.d == d).sum() + raw.sessions.events[raw.sessions.d == d].sum() for d in range(97, 0, -1)])
    active = np.flatnonzero([bool((raw.bought.d == d).any() or (raw.sessions.d == d).any()) for d in range(97, 0, -1)])
    y, fits = np.log1p(done[active]), {}
    for period in np.arange(10.0, 45.0, 0.1):
        angle = 2 * np.pi * active / period
        x = np.stack([np.ones(len(y)), np.sin(angle), np.cos(angle)], axis=1)
        mean, a, b = np.linalg.lstsq(x, y, rcond=None)[0]
        fits[period] = float(((y - x @ [mean, a, b]) ** 2).sum()), mean, float(np.hypot(a, b))
    best = min(fits, key=lambda p: fits[p][0])
    _, mean, swing = fits[best]
    true = best, np.expm1(mean - swing), np.expm1(mean + swing)
    said = [float(g[k]) for k in ("n", "low", "high")]
    near = [abs(s - t) <= 0.51 + 0.02 * t for s, t in zip(said, true, strict=True)]
    return [] if all(near) else _wrong("a wave (days, least, most)", said, true)


@kind("tree", r"Where most of the year's card spend went: (?P<facts>.*)", r"1년 카드 지출이 많은 업종: (?P<facts>.*?)\.?")
def _tree(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    return w.facts(told, g["facts"], language)


@kind("graph", r"Of the (?P<n>\d+) sampled customers who buy at the most "
    r"similar merchants (?P<here>\d+%) did so, of all (?P<all>\d+%)",
      r"비슷한 가맹점을 이용하는 표본 고객 (?P<n>\d+)명 중 "
          r"(?P<here>\d+%)가 그렇게 했습니다\(전체 (?P<all>\d+%)\)\.")  # fmt: skip
def _graph(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    at, y = w.rows.index((told.customer, told.cutoff)), w.labels[told.task]
    known = np.array([i for i in w.latest if w.rows[i][0] != told.customer and y[i] >= 0 and w.graph[i].any()])
    own, table = w.graph[at], w.graph[known]
    cosine = table @ own / np.maximum(np.linalg.norm(table, axis=1) * np.linalg.norm(own), 1e-12)
    near = known[np.argsort(-cosine, kind="stable")[: int(g["n"])]]
    did = y == (1 if told.target is None else told.target)
    problems = [] if len({w.rows[i][0] for i in near}) == int(g["n"]) else ["not so many customers"]
    for said, rows in ((g["here"], near), (g["all"], known)):
        problems += [] if written(said, float(did[rows].mean()), "share") else _wrong("who did so", said, did[rows].mean())
    return problems


@kind("graph by groups", r"Of (?P<n>[\d,]+) customers who buy at merchants similar to this customer's, (?P<here>[\d.]+%) .*; "
    r"of all customers, (?P<all>[\d.]+%)",
      r"이 고객과 비슷한 가맹점을 이용하는 고객 (?P<n>[\d,]+)명 중 "
          r"(?P<here>[\d.]+%)가 .*\(전체 고객 (?P<all>[\d.]+%)\)\.")  # fmt: skip
def _graph_groups(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    y, own = w.held_labels[told.task], w.graph[w.rows.index((told.customer, told.cutoff))]
    cosine = w.held_graph @ w.centres.T
    mine = (cosine.argmax(1) == int((w.centres @ own).argmax())) & w.held_graph.any(1) & (y >= 0)
    known = w.held_graph.any(1) & (y >= 0)
    did = y == (1 if told.target is None else told.target)
    problems = [] if int(g["n"].replace(",", "")) == int(mine.sum()) else _wrong("who buys there", g["n"], mine.sum())
    for said, rows in ((g["here"], mine), (g["all"], known)):
        true = float(did[rows].mean())
        problems += [] if abs(float(said.rstrip("%")) / 100 - true) < 0.0051 else _wrong("who did so", said, true)
    return problems


@kind("similar", r"Similar customers: the (?P<n>[\d,]+) others of the sample "
    r"in this customer's group(?: \(in which it is usual .*\))?\.",
      r"유사 고객: 이 고객과 같은 고객군(?:\(.* 고객군\))?에 속한 표본의 다른 고객 (?P<n>[\d,]+)명\.")  # fmt: skip
def _similar(w: Witness, told: Told, g: Mapping[str, str], language: str) -> list[str]:
    true = len({w.rows[i][0] for i in w.others(told)})
    return [] if int(g["n"].replace(",", "")) == true else _wrong("similar customers", g["n"], true)
