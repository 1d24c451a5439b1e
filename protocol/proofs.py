"""What was proved about scripts, remembered exactly as long as it would be proved again.

Proving is the same work for every run of a script: signatures, statements, roster. Its answer can only become another
if what it was made from is another, or if time passes a moment that one of these names. So an answer is remembered with
the very objects that it was made from, none of which can change, and with the span of time in which it holds. A refusal
is never remembered. What is not about trust in the script (its bytes, the ceiling, a freeze) is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.trust import Authorised

MAX_REMEMBERED: Final = 256  # answers of a few hundred bytes; a fleet runs the same few scripts


@dataclass(frozen=True, slots=True)
class _Answer:
    made_from: tuple[object, ...]  # kept, so that no other object can take the identity of one of them
    since: datetime
    proved: Authorised


class Proofs:
    """Remembers answers of :func:`protocol.trust.authorise`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._answers: dict[str, _Answer] = {}  # by digest

    def find(
        self, digest: str, made_from: tuple[object, ...], now: datetime, prove: Callable[[], Authorised]
    ) -> Authorised:
        """Return what is proved about ``digest`` now.

        Args:
            digest: Of the script.
            made_from: Everything that ``prove`` looks at but the time: immutable objects, the same as long as nothing
                has changed. Compared by identity.
            now: The present; ``prove`` uses the same.
            prove: Proves it anew.

        Raises:
            TrustError: What ``prove`` raised.
        """
        known = self._answers.get(digest)
        if (
            known is not None
            and known.since <= now < known.proved.unchanged_until
            and len(known.made_from) == len(made_from)
            and all(one is other for one, other in zip(known.made_from, made_from, strict=True))
        ):
            return known.proved
        proved = prove()
        if len(self._answers) >= MAX_REMEMBERED and digest not in self._answers:
            self._answers.clear()
        self._answers[digest] = _Answer(made_from, now, proved)
        return proved
