"""The five tiers, in order of power."""

from __future__ import annotations

from enum import IntEnum

from protocol.errors import ArgumentError


class Tier(IntEnum):
    """How much a session may do. Ordered: a higher tier may do more. The wire and documents use ``label``."""

    COMPUTE = 0
    OBSERVE = 1
    INSPECT = 2
    OPERATE = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        """The word used in documents, on the wire and in tables."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: object, *, where: str | None = None) -> Tier:
        """Return the tier that ``text`` names.

        Raises:
            ArgumentError: Not one of the five words.
        """
        if isinstance(text, str):
            for tier in cls:
                if tier.label == text:
                    return tier
        known = ", ".join(tier.label for tier in cls)
        raise ArgumentError(f"{text!r} is not a tier (known: {known})", parameter="tier", where=where)
