"""Text of others as a terminal may be given it: without what it would obey, or what turns text around. Pure.

C0 and C1 controls and DEL drive a terminal; some take C1 also as UTF-8 writes it, in which U+009B begins a sequence.
The marks and overrides of direction let a reader see what is not there; line and paragraph separators begin lines.
"""

from __future__ import annotations

import re
from typing import Final

_TURNS: Final = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_OBEYED: Final = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_TURNS}]")  # all but tab and newline
_RAW_IN_JSON: Final = re.compile(f"[\x7f-\x9f{_TURNS}]")  # what json.dumps leaves as it is


def safe(text: str) -> str:
    """Return ``text`` with each character that a terminal would obey as U+FFFD; tabs and newlines stay."""
    return _OBEYED.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return :func:`safe` text of one line: newlines are spaces, so that nothing in it looks like a line of ours."""
    return safe(text).replace("\n", " ")


def safe_json(text: str) -> str:
    """Return a JSON text that means the same and that no terminal obeys: such characters are written as escapes.

    Args:
        text: As :func:`json.dumps` gives it, where these stand in strings alone.
    """
    return _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
