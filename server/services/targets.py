"""Which agents a TARGET means: ``*``, a name, a glob of names, an id, or labels such as ``env=prod,role!=db``.

A target never matches an agent that was removed. A label expression has an ``=``, which no name can have.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass

from protocol.errors import ArgumentError
from protocol.limits import MAX_TARGET_CHARACTERS

_TERM = re.compile(r"([A-Za-z0-9_./-]{1,63})(!=|=)([A-Za-z0-9_./-]{1,63})")
_NAME = re.compile(r"[A-Za-z0-9_.*?\[\]!:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target."""

    text: str
    pattern: str | None = None
    terms: tuple[tuple[str, bool, str], ...] = ()  # label, whether it must be equal, value

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target in ``text``.

        Raises:
            ArgumentError: It is none.
        """
        if not text or len(text) > MAX_TARGET_CHARACTERS:
            raise ArgumentError("a target must be given: a name, a glob, * or labels (env=prod)", parameter="target")
        text = text.removeprefix("-l ").strip()
        if "=" in text:
            terms = []
            for part in text.split(","):
                match = _TERM.fullmatch(part.strip())
                if match is None:
                    raise ArgumentError(
                        f"{part.strip()[:60]!r} is not a label (examples: env=prod, role!=db)", parameter="target"
                    )
                terms.append((match[1], match[2] == "=", match[3]))
            return cls(text, terms=tuple(terms))
        if not _NAME.fullmatch(text):
            raise ArgumentError(f"{text[:60]!r} is not the name of an agent or a glob of names", parameter="target")
        return cls(text, pattern=text)

    @property
    def is_exact(self) -> bool:
        """Tell whether one agent was named: then its absence is an error and not an empty set."""
        return self.pattern is not None and not any(mark in self.pattern for mark in "*?[")

    def matches(self, identity: str, name: str, labels: Mapping[str, str]) -> bool:
        """Tell whether an agent is meant."""
        if self.pattern is not None:
            return identity == self.pattern or fnmatch.fnmatchcase(name, self.pattern)
        return all((labels.get(label) == value) is equal for label, equal, value in self.terms)
