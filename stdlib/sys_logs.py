"""``sys.*`` of logs: systemd's journal and the kernel's ring buffer. Only what is asked for, bounded.

The journal's files have no format that is promised; ``journalctl`` reads them, with fixed options and values that were
checked. Lines of the kernel can hold addresses of memory, which are not told.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

from kernel.visits import begun_apart
from protocol.errors import ArgumentError, UnavailableError
from protocol.tiers import Tier
from stdlib import trees, units
from stdlib.declaring import call
from stdlib.host import Host, read_kernel
from stdlib.parameters import Bounds, Length
from stdlib.redaction import redacted
from stdlib.tools import run_tool

MAX_ROWS = 5_000  # of one answer
MAX_MESSAGE_CHARACTERS = 4_096
_SCANNED = 20_000  # entries that are looked through for a match
_MAX_JOURNAL_BYTES = 24 << 20
_KMSG_BYTES = 8192  # of one record with its fields: CONSOLE_EXT_LOG_MAX, include/linux/printk.h
_MAX_KMSG_RECORDS = 100_000
_PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_CURSOR = re.compile(r"[a-z]=[0-9a-f]+(;[a-z]=[0-9a-f]+){0,9}")
_FIELDS = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID,_COMM,_TRANSPORT"
# A pointer as the kernel prints it: sixteen digits, or fewer that begin as addresses of the kernel do.
_ADDRESS = re.compile(r"\b(?:0x)?(?:[0-9a-f]{16}|ffff[0-9a-f]{8,11})\b|\[<[0-9a-f]+>\]", re.IGNORECASE)


@call(
    "sys.journal",
    tier=Tier.INSPECT,
    lua="local found = sys.journal({priority = 3, limit = 20}).entries",
    python='found = sys.journal(priority=3, limit=20)["entries"]',
)
async def journal(
    host: Host,
    unit: Annotated[str, Length(256)] = "",
    since: Annotated[float, Bounds(0, 1e11, "seconds")] = 0.0,
    priority: Annotated[int, Bounds(0, 7)] = 7,
    match: Annotated[str, Length(200)] = "",
    after: Annotated[str, Length(300)] = "",
    limit: Annotated[int, Bounds(1, MAX_ROWS)] = 200,
) -> dict[str, Any]:
    """Return ``{entries, cursor, more}``: the newest entries of systemd's journal, oldest first.

    ``unit`` narrows to one unit, ``since`` to a time (seconds since 1970 UTC), ``priority`` to entries of at least that
    weight (0 emergency to 7 debug), ``match`` to messages that hold a text (of the newest 20,000), ``after`` to what
    came after the cursor of an earlier answer. There may be ``more`` entries, older ones, if it is true.

    Each entry is ``time`` (seconds since 1970 UTC), ``level`` (such as err), ``unit``, ``identifier``, ``pid``,
    ``message`` (cut at 4096 characters; what looks like a secret in it is replaced). Source: ``journalctl -o json``.

    Raises:
        UnavailableError: This host keeps no journal.
    """
    _require_journal(host)
    wanted = _SCANNED if match else int(limit)
    options = [f"--lines={wanted + 1}", f"--output-fields={_FIELDS}", f"--priority=0..{int(priority)}"]
    options += [f"--unit={units.unit_name(unit, 'unit')}"] if unit else []
    options += [f"--since=@{int(since)}"] if since else []
    options += [f"--after-cursor={_cursor(after)}"] if after else []
    ended = await run_tool(
        host, "journalctl", "--no-pager", "--quiet", "--output=json", *options, timeout_s=60.0,
        most_bytes=_MAX_JOURNAL_BYTES, codes=(0, 1),
    )  # fmt: skip
    if ended.code and not ended.output and ended.errors.strip():  # 1 also means that nothing was found
        raise UnavailableError(f"journalctl failed: {ended.reason}")
    return await begun_apart(_entries, ended.output, ended.truncated, match, int(limit), wanted)


def _require_journal(host: Host) -> None:
    for place in (f"{host.var}/log/journal", f"{host.run}/log/journal"):
        if any(os.path.isdir(f"{place}/{name}") for name in trees.names(place)):
            return
    raise UnavailableError("this host keeps no journal of systemd's")


def _cursor(text: str) -> str:
    if not _CURSOR.fullmatch(text):
        raise ArgumentError("after: is no cursor of an answer", parameter="after")
    return text


def _entries(output: bytes, is_cut: bool, match: str, limit: int, wanted: int) -> dict[str, Any]:
    lines = output.split(b"\n")
    if is_cut:
        lines.pop()
    told = list(filter(None, map(_told, lines)))
    is_more = is_cut or len(told) > wanted
    found = [entry for entry in map(_entry, told[-wanted:]) if match in entry["message"]]
    cursor = told[-1].get("__CURSOR") if told else None
    return {"entries": found[-limit:], "cursor": cursor, "more": is_more or len(found) > limit}


def _told(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _entry(told: dict[str, Any]) -> dict[str, Any]:
    priority, pid = _plain(told.get("PRIORITY")), _plain(told.get("_PID"))
    return {
        "time": int(told.get("__REALTIME_TIMESTAMP", 0)) / 1e6,
        "level": _PRIORITIES[int(priority)] if priority in tuple("01234567") else None,
        "unit": _unit(told, pid),
        "identifier": _plain(told.get("SYSLOG_IDENTIFIER")) or _plain(told.get("_COMM")),
        "pid": int(pid) if pid and pid.isdecimal() else None,
        "message": _message(_plain(told.get("MESSAGE")) or "", told.get("_TRANSPORT") == "kernel"),
    }  # fmt: skip


def _unit(told: dict[str, Any], pid: str | None) -> str | None:
    """Return the unit of an entry. What it is about is believed of systemd itself only, as journalctl does: anybody may
    write a field whose name begins with no underscore. Source: systemd.journal-fields(7).
    """
    about = _plain(told.get("UNIT")) if pid == "1" else None
    return about or _plain(told.get("_SYSTEMD_UNIT"))


def _plain(value: Any) -> str | None:
    """Return a field as text. journalctl gives bytes that are not UTF-8 as a list of numbers, and doubles as a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        if all(isinstance(item, int) and 0 <= item <= 255 for item in value):
            return bytes(value).decode("utf-8", "replace")
        return _plain(value[0])
    return None


def _message(text: str, is_kernel: bool) -> str:
    text = text[:MAX_MESSAGE_CHARACTERS]
    return _ADDRESS.sub("[address]", text) if is_kernel else redacted(text)


@call(
    "sys.kernel_log",
    tier=Tier.INSPECT,
    lua="local last = sys.kernel_log(50).entries",
    python='last = sys.kernel_log(50)["entries"]',
)
def kernel_log(host: Host, limit: Annotated[int, Bounds(1, MAX_ROWS)] = 200) -> dict[str, Any]:
    """Return ``{entries, more}``: the newest ``limit`` lines of the kernel's ring buffer, oldest first.

    Each is ``sequence``, ``time`` (seconds since 1970 UTC, as good as the clock was then), ``uptime`` (seconds since
    boot), ``level`` (such as err), ``facility`` (0 is the kernel), ``message``. Addresses of memory in messages are
    replaced. Source: /dev/kmsg, Documentation/ABI/testing/dev-kmsg.

    Raises:
        UnavailableError: This agent may not read it (systemd's ProtectKernelLogs, kernel.dmesg_restrict).
    """
    up = float(read_kernel(host, "uptime").split()[0])
    booted = host.clock() - up
    found: deque[dict[str, Any]] = deque(maxlen=int(limit))
    count = 0
    for record in _kmsg(f"{host.dev}/kmsg"):
        for line in record.split(b"\n"):  # lines that begin with a space are fields of the record before them
            entry = _kernel_entry(line, booted)
            if entry is not None:
                found.append(entry)
                count += 1
    return {"entries": list(found), "more": count > int(limit)}


def _kmsg(path: str) -> Iterator[bytes]:
    """Yield the records that are there now. Each read of the device gives one whole record."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None
    try:
        for _ in range(_MAX_KMSG_RECORDS):
            try:
                record = os.read(fd, _KMSG_BYTES)
            except OSError as error:
                if error.errno == errno.EAGAIN:  # that was the last one
                    return
                if error.errno == errno.EPIPE:  # it was overwritten while we read; the next read goes on behind it
                    continue
                raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None
            if not record:
                return
            yield record
    finally:
        os.close(fd)


def _kernel_entry(line: bytes, booted: float) -> dict[str, Any] | None:
    head, semicolon, rest = line.partition(b";")
    fields = head.decode("ascii", "replace").split(",")
    if not semicolon or len(fields) < 3 or not all(field.isdecimal() for field in fields[:3]):
        return None
    priority, sequence, micros = map(int, fields[:3])
    message = re.sub(r"\\x([0-9a-f]{2})", _unescaped, rest.decode("utf-8", "replace"))
    return {
        "sequence": sequence, "time": booted + micros / 1e6, "uptime": micros / 1e6, "level": _PRIORITIES[priority & 7],
        "facility": priority >> 3, "message": _message(message, is_kernel=True),
    }  # fmt: skip


def _unescaped(match: re.Match[str]) -> str:
    """Undo the kernel's escape of one byte, where it is a plain character; control characters stay escaped."""
    found = chr(int(match[1], 16))
    return found if found.isprintable() and found.isascii() else match[0]
