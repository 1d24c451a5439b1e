"""Secrets in lines that people write for shells, taken out before such a line leaves the host.

This is care, not a wall: what looks like no secret stays. So lines that may hold any are told from tier ``inspect`` on.
Every pattern takes linear time, and a line is cut before it is looked at.
"""

from __future__ import annotations

import re

MAX_LINE_CHARACTERS = 4096
MARK = "[redacted]"
_WORD = r"(?:pass(?:wd|word|phrase)?|pwd|secret|token|(?:api|access|private)[_-]?key|authorization|credentials?)"
_NAME = rf"[A-Za-z0-9_-]{{0,64}}{_WORD}[A-Za-z0-9_-]{{0,64}}"
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|[^\s'\";|&]+)"
_RULES = (
    (re.compile(r"(?i)\b((?:basic|bearer)\s)[A-Za-z0-9+/=._~-]{6,}"), rf"\1{MARK}"),  # RFC 7617, RFC 6750
    # NAME_WITH_SECRET=value, --password=value, "token": value; then --password value
    (re.compile(rf"(?i)(?<![A-Za-z0-9_-])({_NAME}[\"']?\s?[=:]\s?){_VALUE}"), rf"\1{MARK}"),
    (re.compile(rf"(?i)(\s-{_NAME}\s)(?!-){_VALUE}"), rf"\1{MARK}"),
    (re.compile(r"(://[^\s/:@]{0,256}:)[^\s/@]{1,256}@"), rf"\1{MARK}@"),  # RFC 3986, userinfo
    (re.compile(r"(\bmysql[a-z]{0,16}\b[^|;&]{0,512}?\s-p)(?=\S)" + _VALUE), rf"\1{MARK}"),
    (re.compile(r"(\bcurl\b[^|;&]{0,512}?\s-u\s?[^\s:]{0,256}:)" + _VALUE), rf"\1{MARK}"),
)  # fmt: skip


def redacted(line: str) -> str:
    """Return ``line`` without what looks like a secret, cut at MAX_LINE_CHARACTERS."""
    line = line[:MAX_LINE_CHARACTERS]
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line
