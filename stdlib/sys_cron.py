"""``sys.*`` of cron: what is to run when, and jobs of our own below /etc/cron.d.

A job that is set here can only be a command that the manifest declares, decided on like ``proc.command``: it runs with
the rights of its user and without the sandbox, so a free text would be any command at all. Files that somebody else
wrote are not touched.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated, Any

from protocol.errors import ConflictError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import accounts, crontabs, trees
from stdlib.declaring import call
from stdlib.host import Command, Host
from stdlib.parameters import Bounds, Length

MAX_JOBS = 5_000  # of one answer: each has 9 fields
_MAX_CRONTAB_BYTES = 256 << 10
_PERIODS = ("hourly", "daily", "weekly", "monthly")


@call("sys.cron", tier=Tier.INSPECT, lua="local jobs = sys.cron().jobs", python='jobs = sys.cron()["jobs"]')
def cron(host: Host, limit: Annotated[int, Bounds(1, MAX_JOBS)] = 1_000) -> dict[str, Any]:
    """Return ``{jobs, more}``: what cron and anacron are to run.

    Each is ``file``, ``user``, ``m``, ``h``, ``dom``, ``mon``, ``dow`` (as written; nothing beside a word), ``special``
    (a word such as @reboot or @daily, or nothing), ``command`` (what looks like a secret in it is replaced). Settings
    of variables are left out. Source: /etc/crontab, /etc/cron.d, /etc/cron.hourly and its like, /etc/anacrontab,
    /var/spool/cron; crontab(5).
    """
    if not os.path.exists(f"{host.etc}/crontab") and not any(os.path.isdir(place) for place in _places(host)):
        raise UnavailableError("this host has no cron")
    found = _jobs(host)
    return {"jobs": found[: int(limit)], "more": len(found) > int(limit)}


def _places(host: Host) -> tuple[str, ...]:
    # Debian keeps people's crontabs in the first one, Red Hat in the second.
    return f"{host.etc}/cron.d", f"{host.var}/spool/cron/crontabs", f"{host.var}/spool/cron"


def _jobs(host: Host) -> list[dict[str, Any]]:
    found = list(crontabs.jobs(_text(f"{host.etc}/crontab"), f"{host.etc}/crontab", None))
    system, *people = _places(host)
    for name in trees.names(system):
        if not name.startswith("."):
            found += crontabs.jobs(_text(f"{system}/{name}"), f"{system}/{name}", None)
    for place in people:
        for name in trees.names(place):
            if os.path.isfile(f"{place}/{name}") and not name.startswith("."):
                found += crontabs.jobs(_text(f"{place}/{name}"), f"{place}/{name}", name)
    for period in _PERIODS:
        place = f"{host.etc}/cron.{period}"
        scripts = [f"{place}/{name}" for name in trees.names(place) if not name.startswith(".")]
        found += [crontabs.script_job(path, place, period) for path in scripts if os.access(path, os.X_OK)]
    return found + list(crontabs.anacron_jobs(_text(f"{host.etc}/anacrontab"), f"{host.etc}/anacrontab"))


def _text(path: str) -> str:
    try:  # people can put a link in place of their crontab: it is not followed, as cron does not
        return trees.read(path, _MAX_CRONTAB_BYTES, follow=False).text
    except OSError:  # it went away, it is a link, or this agent may not read it
        return ""


@call(
    "sys.cron_set",
    tier=Tier.OPERATE,
    changes=True,
    command="command",
    starts_as="user",
    lua='sys.cron_set("report-disks", "5 4 * * *", "df", {"-P"})',
    python='sys.cron_set("report-disks", "5 4 * * *", "df", ["-P"])',
)
def cron_set(
    host: Host,
    name: Annotated[str, Length(64), crontabs.NAME],
    schedule: Annotated[str, Length(256), crontabs.SCHEDULE],
    command: Annotated[Command, Length(64)],
    args: Annotated[list[str], Length(900), crontabs.ARGUMENT] = [],  # noqa: B006 - never changed; the catalogue needs the value itself
    user: Annotated[str, Length(32), crontabs.USER] = "root",
) -> dict[str, Any]:
    """Have cron run the declared ``command`` with ``args`` after what the manifest puts first.

    The job is a file of its own in /etc/cron.d, written at once or not at all. ``schedule`` is five fields of
    crontab(5), one space between, or @reboot, @hourly, @daily, @weekly, @monthly, @yearly. Arguments reach the program
    as they are. Returns ``file``, ``existed`` (a job of ours by that name was replaced) and ``line`` (what was
    written). A rule about users is about the agent's own and about ``user``.

    Raises:
        ConflictError: Somebody else wrote a file by that name.
        NotFoundError: There is no such user here.
        UnavailableError: There is no /etc/cron.d, or it cannot be written.
    """
    del args  # they are in the command, which is what was decided on
    if not command.shown:
        raise DeniedError(f"the manifest declares no command {command.name!r:.80}", rule="manifest: commands")
    text = crontabs.content(schedule, user, command.program, command.arguments)
    if user not in {row["name"] for row in accounts.users(trees.text_of(f"{host.etc}/passwd", 8 << 20))}:
        raise NotFoundError(f"there is no local user {user!r:.80}")
    path = f"{_writable(host)}/{name}"
    existed = _is_ours(path)
    _replace(path, text)
    return {"file": path, "existed": existed, "line": text.split("\n")[1]}


@call(
    "sys.cron_remove",
    tier=Tier.OPERATE,
    changes=True,
    lua='local existed = sys.cron_remove("report-disks")',
    python='existed = sys.cron_remove("report-disks")',
)
def cron_remove(host: Host, name: Annotated[str, Length(64), crontabs.NAME]) -> bool:
    """Remove the job ``name`` that sys.cron_set wrote; tell whether there was one.

    Raises:
        ConflictError: Somebody else wrote a file by that name.
        UnavailableError: There is no /etc/cron.d, or it cannot be written.
    """
    path = f"{_writable(host)}/{name}"
    if not _is_ours(path):
        return False
    try:
        os.unlink(path)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be removed: {error.strerror}") from None
    return True


def _writable(host: Host) -> str:
    place = f"{host.etc}/cron.d"
    if not os.path.isdir(place):
        raise UnavailableError(f"this host has no {place}")
    return place


def _is_ours(path: str) -> bool:
    """Tell whether there is a job of ours; what somebody else wrote is a conflict."""
    if not os.path.lexists(path):
        return False
    try:
        is_ours = trees.read(path, len(crontabs.MARK), follow=False).data.decode("utf-8", "replace") == crontabs.MARK
    except OSError:
        is_ours = False
    if not is_ours:
        raise ConflictError(f"{path} was not written by sys.cron_set")
    return True


def _replace(path: str, text: str) -> None:
    """Write a file anew or not at all. cron passes over the other one's name, as it begins with a dot."""
    directory, _, name = path.rpartition("/")
    draft = f"{directory}/.{name}.{os.getpid()}.{os.urandom(8).hex()}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, text.encode())  # far less than a page: whole, or an error
            os.fchmod(fd, 0o644)  # whatever our umask; cron refuses what others can write
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from None
