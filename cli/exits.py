"""The exit statuses of ``outrider``, in one table, and the status of each way that a run can end.

Errors get theirs from ``protocol.errors.DOORS``; this module only says what the numbers mean, so that
``docs/exit-codes.md`` and the table cannot differ (a test compares them).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocol.errors import DOORS

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
DENIED: Final = 3
SIGN_IN: Final = 4
KILLED: Final = 5
NOT_CONNECTED: Final = 6
LEDGER_BROKEN: Final = 7
PARTIAL: Final = 8
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as shells have it

MEANING: Final[dict[int, str]] = {
    OK: "done",
    FAILURE: "it failed: the script ended with an error, the thing does not exist, the server cannot do it now, "
    "the answer to a question was no",
    USAGE: "the command line, or a file it names, is wrong; the message says what and where",
    DENIED: "forbidden: a policy, a ceiling, a role, or a signature that does not prove what it must",
    SIGN_IN: "not signed in, or the token is not valid (`outrider login`)",
    KILLED: "the run was killed by one of its limits",
    NOT_CONNECTED: "the host's agent has no link to the server now",
    LEDGER_BROKEN: "a chain of records does not fit together",
    PARTIAL: "of several hosts some did it and some did not",
    INTERRUPTED: "interrupted by Ctrl-C",
    BROKEN_PIPE: "the reader of the output went away",
}

RUN_STATUS: Final[dict[str, int]] = {
    "ok": OK,
    "error": FAILURE,
    "lost": FAILURE,
    "queued": FAILURE,  # it did not end within the time that the caller would wait
    "running": FAILURE,
    "denied": DENIED,
    "refused": DENIED,
    "killed": KILLED,
}


def of_run(status: str, code: str | None = None) -> int:
    """Return the exit status for a run that ended, or stands, as ``status``; FAILURE for one not known here.

    Args:
        status: Of the run.
        code: Of the error that kept it from beginning: a host that is away has not refused anything.
    """
    if status == "refused" and code in DOORS:
        return DOORS[code].exit_status
    return RUN_STATUS.get(status, FAILURE)


def of_hosts(statuses: Iterable[int]) -> int:
    """Return the exit status for one command on several hosts: theirs if they agree, PARTIAL if some did it, else 1."""
    found = set(statuses)
    if len(found) == 1:
        return found.pop()
    return PARTIAL if OK in found else FAILURE


def of_runs(runs: Iterable[tuple[str, str | None]]) -> int:
    """Return the exit status for one run on each of several hosts.

    One host passes its own status through; several that agree give that; some ok and some not give PARTIAL.
    """
    exits = {of_run(status, code) for status, code in runs}
    if len(exits) == 1:
        return exits.pop()
    if not exits or OK in exits:
        return PARTIAL if exits else FAILURE
    return FAILURE
