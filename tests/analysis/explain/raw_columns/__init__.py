"""What single columns state, each written down from the words of its sentence: a module a kind of events. Importing them writes
their facts down (`raw_facts.FACTS`)."""

from tests.analysis.explain.raw_columns import (
    categories,
    contacts,
    deposits,
    membership,
    merchants,
    movement,
    products,
    purchases,
    sessions,
    sizes,
    sources,
    times,
)

__all__ = [
    "categories",
    "contacts",
    "deposits",
    "membership",
    "merchants",
    "movement",
    "products",
    "purchases",
    "sessions",
    "sizes",
    "sources",
    "times",
]
