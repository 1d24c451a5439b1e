"""Classes of characters in regular expressions whose meaning Python means to change.

``re`` warns of ``[[a]`` and of ``--``, ``&&``, ``~~`` and ``||`` in a class, as a later version may read nested sets
and operators there (Unicode Technical Standard 18). What a signed manifest or a policy says must mean the same on every
host, and no text of an author may have a program of ours print warnings. So such classes are refused, and not compiled.

Source: docs.python.org/3/library/re.html, "Changed in version 3.7: FutureWarning".
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"(?s)\\.")
_CLASS = re.compile(r"\[\^?\]?[^\]]*")  # also one that does not end: the warning comes before the error
_UNCLEAR = re.compile(r"\[\[|--|&&|~~|\|\|")


def class_problem(pattern: str) -> str | None:
    """Return what is wrong with the first class of a pattern that may be read differently one day; None if none may."""
    for found in _CLASS.finditer(_ESCAPED.sub("x", pattern)):
        if _UNCLEAR.search(found[0]):
            return f"{found[0]!r:.60} holds [[ -- && ~~ or ||, which may mean another set one day: put \\ before each"
    return None
