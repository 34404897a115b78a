"""Attributions -> sentences a reviewer can check: the feature's meaning, the customer's value beside one other in real units,
and by how much it moves the prediction. All columns of one matter (`matters`) are one reason, told by the strongest facts of it
that a person can say (`sayable`, or by a place among all: `ranks`), columns that say the same taken together; derived inputs
are told by what they were made of (`origin`). What has no plain name is no reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.explain.hours import hours_said
from analysis.explain.origin.told import CIRCLE, Cell, OriginSentence, beside_said, lowered, topic_of
from analysis.explain.ranks import Rank, rank_said
from analysis.explain.sayable import RESTS_ON
from analysis.explain.source_columns import CATEGORY
from analysis.i18n import catalogue, phrase
from analysis.naming import label_said
from analysis.results.explanation_parts import FeatureContribution, Kind, Reason, matter_said
from analysis.wording import OPAQUE, is_field, quantity, task_title
from ple_model.fields import NO_CUTOFF
from ple_model.numerals import LANGUAGES, Language, number
from ple_model.schema import FeatureSchema

Array = NDArray[np.float64]
LEAST = 0.05
"""A reason weaker than this beside the strongest that is told is not worth a sentence."""
FOR, AGAINST = 4, 2
"""At most so many reasons a side."""
FACTS = 2
"""At most so many facts of one matter, the second only where its number can be said and customers went by it too."""
SPEAKING = 0.5
"""Of the strongest fact's contribution: a fact with as much may speak for the matter in its place. By judgement."""
Teller = Callable[[str, float], OriginSentence | None]
"""What an input (or family of inputs) with this contribution was made of; None where that is not known."""
Alike = Callable[[str], Iterable[str]]
"""The columns that say the same as one, itself included."""
Middle = Callable[[str], float | None]
"""The median of similar customers in a column; None where it is nothing to compare with."""
Says = Callable[[str], bool]
"""Of a column: whether a person can say it."""
RankOf = Callable[[str], Rank | None]
"""Where the customer stands among all in a column that is told by that; None in any other."""
KindOf = Callable[[str], Kind | None]
"""What kind of sensitive fact a column may be; None where it is none."""
Shared = Callable[[str], bool]
"""Whether nearly all customers have a value in a column."""
Agrees = Callable[[str, float], bool | None]
"""Whether customers who stand where this one stands in a column went the way of an effect; None where that cannot be told."""
Rests = Callable[[str], OriginSentence | None]
"""What an estimate rests on; None where that is not known of the customer."""


CellOf = Callable[[str], Cell]
"""How the customer's value in a column is to be read."""
MatterOf = Callable[[str], str]
"""The key of a column's matter; empty for one that is of none."""


def as_read(name: str) -> Cell:
    """Every column has the value that it reads."""
    return "value"


def nobody(name: str) -> None:
    """No similar customers to compare with."""


def untold(name: str, effect: float) -> None:
    """Nothing is known of what customers did."""
    return


def nothing_named(name: str) -> str:
    """Every column is a matter of its own."""
    return ""


def always(name: str) -> bool:
    """Every column can be said."""
    return True


def by_name(name: str, value: float = 0.0) -> OriginSentence:
    """An input in no more words than its name."""
    return OriginSentence(name, name)


@dataclass(frozen=True)
class Means:
    """What a reason is told with: see the types. `named`: of an input, whether it has a plain name at all."""

    teller: Teller = by_name
    alike: Alike = lambda name: (name,)
    middle: Middle = nobody
    cell: CellOf = as_read
    sayable: Says = always
    sensitive: KindOf = nobody
    rests: Rests = by_name
    named: Says = always
    matter: MatterOf = nothing_named
    rank: RankOf = nobody
    agrees: Agrees = untold
    shared: Shared = always


@dataclass(frozen=True)
class Subject:
    """What is being explained, for the end of each sentence. `probability`: contributions are in probability."""

    task: str
    task_title: str
    target_name: str
    probability: bool
    unit: str
    cutoff: str = NO_CUTOFF

    def effect(self, contribution: float, language: Language) -> str:
        """`raises the probability of 'fund' by 3.2 points`."""
        size, direction = abs(contribution), "raises" if contribution > 0 else "lowers"
        if not self.probability:
            key = f"reason.{direction}_{self.unit.replace(' ', '_')}"
            if key in catalogue(language):  # a unit that reads oddly as the object of a sentence
                return phrase(key, language, amount=number(size))
            return phrase(f"reason.{direction}_value", language, amount=quantity(size, self.unit, language))
        points = f"{100 * size:.1f}" if size >= 0.0005 else f"{100 * size:.2g}"
        what = (
            f"'{label_said(self.task, self.target_name, self.cutoff, language)}'"
            if self.target_name
            else task_title(self.task, language) or self.task_title.lower()
        )
        return phrase(f"reason.{direction}_probability", language, what=what, points=points)


def feature_contributions(
    schema: FeatureSchema, contributions: Array, own: Array, typical: Array, limit: int | None = 30
) -> tuple[FeatureContribution, ...]:
    """The strongest columns; contributions, own and typical are [734], the latter two in real units."""
    order = np.argsort(-np.abs(contributions), kind="stable")
    found = []
    for i in order[: limit if limit is not None else len(order)]:
        if contributions[i] == 0:
            break
        c = schema.columns[int(i)]
        found.append(
            FeatureContribution(
                c.name, c.part, c.group, c.unit, float(own[i]), float(typical[i]), float(contributions[i]), c.sentence_en,
                c.sentence_ko,
            )
        )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True)
class Fact:
    """Columns that say the same: who speaks for them, their names, their sum."""

    leader: FeatureContribution
    names: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class Gathered:
    """All columns of one matter that a contribution is known of, those that say the same taken together; their sum."""

    matter: str
    facts: tuple[Fact, ...]
    value: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(n for f in self.facts for n in f.names)

    def parted(self, speaks: Callable[[Fact], bool]) -> tuple[Gathered, Gathered]:
        """(the facts of it that a person can say, those that nobody can), each with its own sum: they add up to this one."""
        each = [(f, speaks(f)) for f in self.facts]
        said, unsaid = (tuple(f for f, can in each if can == wanted) for wanted in (True, False))
        return (
            Gathered(self.matter, said, sum(f.value for f in said)), Gathered(self.matter, unsaid, sum(f.value for f in unsaid))
        )  # fmt: skip

    @property
    def pulling(self) -> tuple[Fact, ...]:
        """The facts that go the way of the sum, strongest first."""
        return tuple(sorted((f for f in self.facts if f.value * self.value > 0), key=lambda f: -abs(f.value)))


def reasons(
    features: Sequence[FeatureContribution], groups: Mapping[str, float], subject: Subject, sign: float, limit: int = FOR,
    means: Means | None = None,
) -> tuple[Reason, ...]:  # fmt: skip
    """The strongest reasons whose contribution has the sign of `sign`: of a matter what a person can say of it, with the sum of
    that alone."""
    m = Means() if means is None else means
    candidates: list[tuple[float, Callable[[], Reason | None]]] = []
    for g in gathered(features, m):
        said, _ = g.parted(partial(speaks, features=features, m=m))
        if said.value * sign > 0:
            candidates.append((abs(said.value), partial(of_matter, said, features, subject, m)))
    for topic, (members, value) in topics(groups).items():
        if value * sign > 0 and m.named(topic):
            candidates.append((abs(value), partial(of_topic, topic, members, value, subject, m)))
    candidates.sort(key=lambda c: -c[0])
    found: list[Reason] = []
    strongest = 0.0  # of those that are told: what nobody can say is no measure of what somebody can
    for size, make in candidates:
        if len(found) == limit or size < LEAST * strongest:
            break
        if (reason := make()) is not None:
            strongest = strongest or size
            found.append(reason)
    return tuple(found)


def gathered(features: Sequence[FeatureContribution], m: Means) -> list[Gathered]:
    """Columns by matter; one that is of none is with those alone that say the same."""
    by: dict[str, list[FeatureContribution]] = {}
    for f in features:
        if f.part not in OPAQUE:
            by.setdefault(m.matter(f.name), []).append(f)
    found = []
    for key, columns in by.items():
        facts = tuple(Fact(*x) for x in merged(columns, m))
        parted = [(f,) for f in facts] if not key else [facts]
        found += [Gathered(key, fs, sum(f.value for f in fs)) for fs in parted]
    return found


def merged(features: Sequence[FeatureContribution], m: Means) -> list[tuple[FeatureContribution, tuple[str, ...], float]]:
    """(who speaks, whose contributions are taken together, their sum): columns that say the same are one fact. The strongest
    of those that pull the way of the sum speaks, one whose number a person can say before one that is told by its place, and
    one whose value is known before others."""
    open_ = {f.name: f for f in features if f.part not in OPAQUE}
    found = []
    for f in list(open_.values()):
        if f.name not in open_:
            continue
        together = [open_.pop(n) for n in dict.fromkeys((f.name, *m.alike(f.name))) if n in open_]
        value = sum(x.contribution for x in together)
        pulling = [x for x in together if x.contribution * value > 0] or together
        said = [x for x in pulling if m.sayable(x.name)] or [x for x in pulling if m.rank(x.name)] or pulling
        known = [x for x in said if m.cell(x.name) == "value"] or said
        leader = max(known, key=lambda x: x.contribution * np.sign(value))
        found.append((leader, tuple(x.name for x in together), value))
    return found


def topics(groups: Mapping[str, float]) -> dict[str, tuple[tuple[str, ...], float]]:
    """topic -> (inputs, their contribution) of all that are no columns that speak for themselves."""
    found: dict[str, tuple[tuple[str, ...], float]] = {}
    for group, value in groups.items():
        if group in OPAQUE or is_field(group):
            members, so_far = found.get(topic_of(group), ((), 0.0))
            found[topic_of(group)] = (*members, group), so_far + value
    return found


def of_matter(
    g: Gathered, features: Sequence[FeatureContribution], subject: Subject, m: Means
) -> Reason | None:  # fmt: skip
    """The sum of what can be said of a matter (`Gathered.parted`), in the words of its strongest facts (`speaking`): of one,
    and of a second that `seconds` where the first carries less than half of those that go its way. None where none of it is
    told."""
    told: list[tuple[Fact, OriginSentence]] = []
    for f in speaking(g.pulling, m):
        if told and not seconds(f, m):
            continue
        if (said := of_fact(f, features, m)) is not None and not any(_repeats(said, before) for _, before in told):
            told.append((f, said))
    if not told:
        return None
    half = sum(abs(f.value) for f, _ in told) / 2
    told = told[: 1 if abs(told[0][0].value) >= half else FACTS]
    spoken = tuple(dict.fromkeys(n for _, said in told for n in said.spoken))
    facts = [_joined([said.en if x == "en" else said.ko for _, said in told], x) for x in LANGUAGES]
    whole = g.matter if len(g.names) > len({n for f, _ in told for n in f.names}) else ""
    found = _reason((facts[0], facts[1]), g.names, g.value, subject, matter=whole)
    kind = next((k for k in map(m.sensitive, spoken) if k is not None), None)
    above = _above(told[0][0].leader, m) if len(told) == 1 and len(spoken) == 1 else None
    return _marked(replace(found, matter=g.matter, told=spoken, above=above), kind)


def speaking(facts: Sequence[Fact], m: Means) -> list[Fact]:
    """Facts, strongest first, in the order in which they speak. Of correlated facts a network weighs one as well as another, up
    or down: among those that carry at least half as much as the strongest, one speaks first that customers too went by, and one
    that they went against last."""
    if not facts:
        return []
    strong = [f for f in facts if abs(f.value) >= SPEAKING * abs(facts[0].value)]
    order = {True: 0, None: 1, False: 2}
    strong.sort(key=lambda f: order[m.agrees(f.leader.name, f.value)])  # stable: the strongest of each kind first
    return strong + [f for f in facts if abs(f.value) < SPEAKING * abs(facts[0].value)]


def seconds(f: Fact, m: Means) -> bool:
    """Whether a fact may stand beside the one that speaks: a person can say its number, and customers went by it."""
    return m.sayable(f.leader.name) and m.agrees(f.leader.name, f.value) is True


def _repeats(said: OriginSentence, before: OriginSentence) -> bool:
    """Whether it speaks of a column that was told before, or of the same quality by another statistic of it."""
    alike = said.en.partition(": ")[0] == before.en.partition(": ")[0]
    return alike or not set(said.spoken).isdisjoint(before.spoken)


def _above(f: FeatureContribution, m: Means) -> bool | None:
    """Whether the customer's value lies above that of the reference customer; None where it is no number of its own."""
    if f.unit == CATEGORY or f.name in RESTS_ON or m.cell(f.name) == "nothing" or not f.value - f.typical:
        return None
    return f.value > f.typical if np.isfinite(f.value - f.typical) else None


def speaks(f: Fact, features: Sequence[FeatureContribution], m: Means) -> bool:
    """Whether a person can say it of this customer, by the column that speaks for it: then `of_fact` does."""
    if f.leader.name in RESTS_ON or CIRCLE.search(f.leader.name):
        return of_fact(f, features, m) is not None
    return m.sayable(f.leader.name) or m.rank(f.leader.name) is not None


def of_fact(f: Fact, features: Sequence[FeatureContribution], m: Means) -> OriginSentence | None:
    """One fact without its effect: an estimate by what it rests on, an hour by the clock, what has no plain number by the place
    among all. None where nobody would say it."""
    if f.leader.name in RESTS_ON:
        return m.rests(f.leader.name)
    if CIRCLE.search(f.leader.name):
        parts = [x for x in features if x.name in f.names]
        en, ko = (hours_said(parts, x) for x in LANGUAGES)
        return OriginSentence(en, ko, spoken=f.names) if en and ko else None
    if not m.sayable(f.leader.name):
        rank = m.rank(f.leader.name)
        if rank is None:
            return None
        en, ko = (rank_said(f.leader.name, rank, x) for x in LANGUAGES)
        return OriginSentence(en, ko, spoken=(f.leader.name,))
    en, ko = feature_said(f.leader, m.middle, m.cell(f.leader.name), shared=m.shared(f.leader.name))
    return OriginSentence(en, ko, spoken=(f.leader.name,))


def of_topic(
    topic: str, members: tuple[str, ...], contribution: float, subject: Subject, m: Means
) -> Reason | None:  # fmt: skip
    """By what the input was made of; None where that is not known."""
    told = m.teller(topic, contribution)
    return None if told is None else _told(told, members, contribution, subject, m)


def feature_said(
    f: FeatureContribution, middle: Middle = nobody, cell: Cell = "value", *, shared: bool = True
) -> tuple[str, str]:  # fmt: skip
    """`Days since the last purchase: 12 days (all customers: 34 days; similar customers: 20 days)`, in English and Korean.
    `shared`: nearly all customers have a value."""
    if f.unit == CATEGORY:  # its sentence holds the values
        return f.sentence_en.rstrip("."), f.sentence_ko.rstrip(".")
    en, ko = (
        beside_said(f.name, s, f.unit, f.value, f.typical, middle(f.name), cell, x, shared=shared)
        for s, x in zip((f.sentence_en, f.sentence_ko), LANGUAGES, strict=True)
    )
    return en, ko


def of_feature(f: FeatureContribution, subject: Subject, middle: Middle = nobody, cell: Cell = "value") -> Reason:
    """`Days since the last purchase: 12 days (all customers: 34 days); this raises ... by 3.2 points.`"""
    return _reason(feature_said(f, middle, cell), (f.name,), f.contribution, subject)


def _told(told: OriginSentence, sources: tuple[str, ...], contribution: float, subject: Subject, m: Means) -> Reason:
    found = _reason((told.en, told.ko), sources, contribution, subject, told.through)
    found = replace(found, told=told.spoken or sources)
    return _marked(found, next((k for k in map(m.sensitive, told.spoken) if k is not None), None))


def _reason(
    facts: tuple[str, str], sources: tuple[str, ...], contribution: float, subject: Subject,
    through: tuple[tuple[str, float], ...] = (), matter: str = "",
) -> Reason:  # fmt: skip
    """The fact by itself, and with what it does; of a `matter`, that all else of it is counted with it."""
    en, ko = (
        phrase(
            "reason.whole_matter" if matter else "reason.whole", x, fact=fact.rstrip("."),
            effect=subject.effect(contribution, x), matter=matter_said(matter, x),
        )
        for x, fact in zip(LANGUAGES, facts, strict=True)
    )  # fmt: skip
    return Reason(en, ko, sources, contribution, through, facts=facts, told=sources)


def _joined(facts: Sequence[str], language: Language) -> str:
    """`a; b`"""
    bare = [f.rstrip(".") for f in facts]
    return phrase("reason.and", language).join([bare[0], *(lowered(f) for f in bare[1:])])


def _marked(reason: Reason, kind: Kind | None) -> Reason:
    """With the mark of what may be sensitive, which stands beside the sentence and not in it."""
    return reason if kind is None else replace(reason, sensitive=True, kind=kind)
