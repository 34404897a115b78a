"""The few most recent of something that takes long to make, kept in memory for the next question."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """At most `limit` values by key; the key names all that a value depends on (`analysis.fingerprint.files_mark`)."""

    def __init__(self, limit: int = 2) -> None:
        self.limit = limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._making: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()
        """A lock a key, for as long as somebody makes or waits for its value."""

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of this key, made if it is not kept. Two threads never make the same twice, nor wait for one that makes
        another."""
        with self._lock:
            of_key = self._making.setdefault(key, threading.Lock())
        with of_key:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            value = make()
            with self._lock:
                self._values[key] = value
                while len(self._values) > self.limit:
                    self._values.popitem(last=False)
            return value
