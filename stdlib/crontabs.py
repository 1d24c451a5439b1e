"""Lines of crontabs, read and written. Pure. Source: crontab(5), cron(8), anacrontab(5)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from croniter import croniter

from protocol.errors import ArgumentError
from stdlib.parameters import Form
from stdlib.redaction import redacted

MARK = "# Written by Outrider (sys.cron_set); changes by hand are lost."
MAX_COMMAND_CHARACTERS = 900  # cron's own buffer for a command ends at 1000, MAX_COMMAND in its cron.h
SPECIAL = ("@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_SETTING = re.compile(r"\s*[\"']?[A-Za-z_][A-Za-z0-9_]*[\"']?\s*=")
_FIELDS = ("m", "h", "dom", "mon", "dow")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"


def _field(values: str) -> str:
    """Return the form of a field: a list of stars, values and ranges, with steps of stars and ranges."""
    item = rf"(?:\*(?:/[0-9]{{1,2}})?|(?:{values})(?:-(?:{values})(?:/[0-9]{{1,2}})?)?)"
    return f"{item}(?:,{item}){{0,59}}"


_FIVE_FIELDS = " ".join(map(_field, (
    "[0-5]?[0-9]", "[01]?[0-9]|2[0-3]", "0?[1-9]|[12][0-9]|3[01]", f"0?[1-9]|1[0-2]|{_MONTHS}", f"0?[0-7]|{_DAYS}",
)))  # fmt: skip
NAME = Form(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "is no name of a job: 1 to 64 letters, digits, - and _")  # of no dot
SCHEDULE = Form(
    rf"{'|'.join(SPECIAL)}|(?i:{_FIVE_FIELDS})",
    "must be five fields of crontab(5), or one of its words",
    # croniter knows which ranges and steps are none, but also more than cron does: only what crontab(5) has reaches it.
    lambda text: text in SPECIAL or croniter.is_valid(text),
)
USER = Form(r"[a-z_][a-z0-9_-]{0,30}\$?", "cannot be the name of a user")  # useradd(8)
# A line's end in an argument would begin a line of its own.
ARGUMENT = Form(r"[^\x00-\x1f\x7f]*", "holds control characters or undecodable bytes", str.isprintable, is_shown=False)


def jobs(text: str, file: str, user: str | None) -> Iterator[dict[str, Any]]:
    """Yield the jobs of a crontab.

    Args:
        text: What the crontab holds.
        file: Its path, told with each job.
        user: Whose it is; None for a system crontab, in which each line names its user.
    """
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#") or _SETTING.match(line):
            continue
        found = _job(line, user)
        if found is not None:
            yield {"file": file, **found}


def _job(line: str, user: str | None) -> dict[str, Any] | None:
    width = (1 if line.lstrip().startswith("@") else 5) + (user is None)
    words = line.split(None, width)
    if len(words) <= width:
        return None
    times, command = words[: width - (user is None)], words[width]
    owner = user if user is not None else words[width - 1]
    special = times[0] if len(times) == 1 else None
    fields = dict.fromkeys(_FIELDS) if special else dict(zip(_FIELDS, times, strict=True))
    return {"user": owner, **fields, "special": special, "command": redacted(command)}


def anacron_jobs(text: str, file: str) -> Iterator[dict[str, Any]]:
    """Yield the jobs of an anacrontab: period in days or a word, delay, name, command."""
    for line in text.split("\n"):
        words = line.split(None, 3)
        if len(words) == 4 and not words[0].startswith("#") and not _SETTING.match(line):
            special = words[0] if words[0].startswith("@") else f"every {words[0]} days"
            yield {
                "file": file, "user": "root", **dict.fromkeys(_FIELDS), "special": special,
                "command": redacted(words[3]),
            }  # fmt: skip


def script_job(path: str, file: str, period: str) -> dict[str, Any]:
    """Return the job that a script in /etc/cron.daily and its like is."""
    return {"file": file, "user": "root", **dict.fromkeys(_FIELDS), "special": f"@{period}", "command": path}


def content(schedule: str, user: str, program: str, arguments: Sequence[str]) -> str:
    """Return what a file in /etc/cron.d holds for one job.

    Raises:
        ArgumentError: ``schedule`` is none, ``user`` is no name, or the command does not fit into a line.
    """
    USER.require(user, "user")
    return f"{MARK}\n{SCHEDULE.require(schedule, 'schedule')} {user} {_command(program, arguments)}\n"


def _command(program: str, arguments: Sequence[str]) -> str:
    for item in (program, *arguments):
        ARGUMENT.require(item, "args")
    # cron makes a line's end of a percent sign, and takes the backslash before it away, before the shell sees anything.
    command = shlex.join((program, *arguments)).replace("%", "\\%")
    if len(command) > MAX_COMMAND_CHARACTERS:
        raise ArgumentError(f"args: the command is longer than {MAX_COMMAND_CHARACTERS} characters", parameter="args")
    return command
