"""Records of the kernel's audit log, read. Pure.

Source: auditd(8) and the audit documentation, "fields of events": ``type=T msg=audit(SECONDS.MILLIS:SERIAL): a=b ...``.
Values that could hold a quote or a space are written in hexadecimal by the kernel.
"""

from __future__ import annotations

import re
from typing import Any

from stdlib.redaction import MARK, redacted

MAX_FIELDS = 60
MAX_VALUE_CHARACTERS = 1024
_HEAD = re.compile(r"(?:node=\S+ )?type=(\S+) msg=audit\((\d{1,12})\.(\d{1,6}):(\d{1,12})\):\s?")
_FIELD = re.compile(r"([A-Za-z0-9_\[\]-]+)=(\"[^\"]*\"|'[^']*'|\S*)")
_KEYSTROKES = ("TTY", "USER_TTY")  # what people typed, passwords too
_IN_HEXADECIMAL = re.compile(r"a\d+|a\d+\[\d+\]|proctitle|cmd|comm|exe|name|path|cwd|key|data|acct")


def event(line: str) -> dict[str, Any] | None:
    """Return one record; None for a line that is none."""
    match = _HEAD.match(line)
    if match is None:
        return None
    kind, seconds, millis, serial = match.groups()
    fields: dict[str, str] = {}
    rest = line[match.end() :]
    # What user space adds stands in single quotes after msg=, as fields of its own.
    for name, value in _FIELD.findall(rest.replace("msg='", "").replace("\x1d", " ")):
        if len(fields) >= MAX_FIELDS:
            break
        fields[name] = _value(kind, name, value.rstrip("'") if not value.startswith(("'", '"')) else value[1:-1], value)
    return {
        "time": int(seconds) + float(f"0.{millis}"),
        "serial": int(serial),
        "type": kind,
        "fields": _safe(kind, fields),
    }


def _value(kind: str, name: str, text: str, written: str) -> str:
    is_plain = written.startswith(("'", '"'))
    if not is_plain and _is_encoded(kind, name, text):
        text = bytes.fromhex(text).decode("utf-8", "replace").replace("\0", " ")
    return text[:MAX_VALUE_CHARACTERS]


def _is_encoded(kind: str, name: str, text: str) -> bool:
    if kind == "SYSCALL" and re.fullmatch(r"a\d", name):  # numbers, not texts
        return False
    return bool(_IN_HEXADECIMAL.fullmatch(name)) and bool(re.fullmatch(r"(?:[0-9A-F]{2})+", text))


def _safe(kind: str, fields: dict[str, str]) -> dict[str, str]:
    if kind in _KEYSTROKES and "data" in fields:
        fields["data"] = MARK
    if kind == "EXECVE":
        return _safe_arguments(fields)
    return {name: redacted(value) if name in ("proctitle", "cmd", "data") else value for name, value in fields.items()}


def _safe_arguments(fields: dict[str, str]) -> dict[str, str]:
    """Replace secrets in the arguments of a program, also where option and value are two arguments."""
    safe, before = {}, ""
    for name, value in fields.items():
        if not re.fullmatch(r"a\d+(\[\d+\])?", name):
            safe[name] = value
            continue
        both = redacted(f" {before} {value}") if before.startswith("-") and value else ""
        safe[name] = MARK if both.endswith(MARK) and not value.startswith("-") else redacted(f" {value}")[1:]
        before = value
    return safe
