"""What was found out and cannot change: so many answers by their key, the least used ones forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class Remembered:
    """At most ``most`` answers. Safe to use from several threads; an answer is shared, so nobody may change it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Any] = OrderedDict()

    def find(self, key: Hashable) -> Any:
        """Return the answer; None if there is none."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def all(self) -> list[tuple[Any, Any]]:
        """Return keys and answers, the least used first."""
        with self._lock:
            return list(self._held.items())

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._held.clear()

    def keep(self, key: Hashable, answer: Any) -> None:
        """Remember an answer."""
        with self._lock:
            self._held[key] = answer
            self._held.move_to_end(key)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
