"""``sys.*`` of people: accounts, groups, who is logged in and who was. No password or its hash is ever told."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Annotated, Any

from protocol.errors import ArgumentError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import accounts, logins, trees
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds

MAX_ACCOUNTS_BYTES = 8 << 20  # of passwd, group and shadow each
MAX_ROWS = 2_000  # of one answer: each has 17 fields
_MAX_UTMP_RECORDS = 20_000
_MAX_SESSIONS = 2_000
_MAX_ID = (1 << 32) - 2  # uid_t and gid_t; the last value means none


@call("sys.user", tier=Tier.OBSERVE, lua='local root = sys.user("root")', python='root = sys.user("root")')
def user(host: Host, who: object) -> dict[str, Any]:
    """Return the account ``who``, a name or a uid.

    ``name``, ``uid``, ``gid``, ``full_name``, ``home``, ``shell``, ``groups`` (names), ``system`` (not a person's by
    its uid), ``source`` (files, or directory for an account that a directory service adds), ``password`` (set, none,
    locked), ``password_changed`` (seconds since 1970 UTC), ``min_days``, ``max_days``, ``warn_days``,
    ``inactive_days``, ``expires`` (seconds since 1970 UTC). The last seven need an agent that may read /etc/shadow, and
    are nothing otherwise. Source: passwd(5), group(5), shadow(5), login.defs(5).
    """
    key, value = _asked(who)
    local = _users(host)
    found = next((row for row in local if row[key] == value), None) or _from_directory(host, value)
    if found is None:
        raise NotFoundError(f"there is no user {who!r:.80}")
    return found


def _from_directory(host: Host, who: str | int) -> dict[str, Any] | None:
    """Return an account that the system's own name service knows beyond the files, such as of LDAP."""
    if host.etc != Host.etc:  # the name service knows only the host that we really run on
        return None
    try:
        found = pwd.getpwnam(who) if isinstance(who, str) else pwd.getpwuid(who)
        gids = os.getgrouplist(found.pw_name, found.pw_gid)
    except (KeyError, OSError, ValueError):
        return None
    return {
        "name": found.pw_name, "uid": found.pw_uid, "gid": found.pw_gid, "full_name": found.pw_gecos,
        "home": found.pw_dir, "shell": found.pw_shell, "groups": sorted(filter(None, map(_group_name, gids))),
        "system": False, "source": "directory", **accounts.NOT_TOLD,
    }  # fmt: skip


def _group_name(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def _asked(who: object) -> tuple[str, str | int]:
    if isinstance(who, str):
        return "name", who
    if isinstance(who, bool) or not isinstance(who, int | float) or not (0 <= who <= _MAX_ID and who == int(who)):
        raise ArgumentError("who: must be a name or the number of an account", parameter="who")
    return "uid", int(who)


@call(
    "sys.users",
    tier=Tier.OBSERVE,
    lua="local users = sys.users({limit = 50}).users",
    python='users = sys.users(limit=50)["users"]',
)
def users(
    host: Host,
    offset: Annotated[int, Bounds(0, 10_000_000)] = 0,
    limit: Annotated[int, Bounds(1, MAX_ROWS)] = 1_000,
) -> dict[str, Any]:
    """Return ``{users, more}``: the local accounts as sys.user gives them, in the order of /etc/passwd."""
    first, last = int(offset), int(offset) + int(limit)
    found = _users(host, first, last + 1)
    return {"users": found[: last - first], "more": len(found) > last - first}


def _users(host: Host, first: int = 0, last: int | None = None) -> list[dict[str, Any]]:
    rows = accounts.users(trees.text_of(f"{host.etc}/passwd", MAX_ACCOUNTS_BYTES))[first:last]
    told = accounts.groups(trees.text_or_nothing(f"{host.etc}/group", MAX_ACCOUNTS_BYTES))
    names = {row["gid"]: row["name"] for row in told}
    member_of: dict[str, list[str]] = {}
    for row in told:
        for member in row["members"]:
            member_of.setdefault(member, []).append(row["name"])
    secrets = _passwords(host)
    lowest = accounts.first_uid(trees.text_or_nothing(f"{host.etc}/login.defs", 64 << 10))
    return [
        {
            **row, "groups": sorted({*member_of.get(row["name"], ()), *filter(None, [names.get(row["gid"])])}),
            "system": row["uid"] < lowest or row["uid"] == accounts.NOBODY, "source": "files",
            **secrets.get(row["name"], accounts.NOT_TOLD),
        }
        for row in rows
    ]  # fmt: skip


def _passwords(host: Host) -> dict[str, dict[str, Any]]:
    try:
        text = trees.read(f"{host.etc}/shadow", MAX_ACCOUNTS_BYTES).text
    except OSError:  # an agent that is not root may not: the fields say nothing then, as documented
        return {}
    return accounts.passwords(text)


@call("sys.group", tier=Tier.OBSERVE, lua='local root = sys.group("root")', python='root = sys.group("root")')
def group(host: Host, who: object) -> dict[str, Any]:
    """Return the group ``who``, a name or a gid: ``name``, ``gid``, ``members`` (names in /etc/group, not those whose
    first group it is), ``source`` (files or directory)."""
    key, value = _asked(who)
    for row in accounts.groups(trees.text_of(f"{host.etc}/group", MAX_ACCOUNTS_BYTES)):
        if row["gid" if key == "uid" else "name"] == value:
            return {**row, "source": "files"}
    if host.etc == Host.etc:
        try:
            found = grp.getgrnam(value) if isinstance(value, str) else grp.getgrgid(value)
        except (KeyError, ValueError):
            pass
        else:
            return {"name": found.gr_name, "gid": found.gr_gid, "members": list(found.gr_mem), "source": "directory"}
    raise NotFoundError(f"there is no group {who!r:.80}")


@call("sys.who", tier=Tier.OBSERVE, lua="local here = sys.who()", python="here = sys.who()")
def who(host: Host) -> list[dict[str, Any]]:
    """Return who is logged in now, at most 2000.

    ``user``, ``device`` (terminal, or empty), ``time`` (of the login, seconds since 1970 UTC), ``host`` (whence, or
    empty), ``pid`` (of the session's leader). Source: utmp(5); where that is no longer kept, systemd-logind's sessions.
    """
    try:
        data = trees.read(f"{host.run}/utmp", _MAX_UTMP_RECORDS * logins.layout().size).data
    except OSError:
        return _sessions(host)
    return [
        {"user": item.user, "device": item.device, "time": item.time, "host": item.host, "pid": item.pid}
        for item in logins.records(data, logins.layout())
        if item.kind == logins.USER and os.path.exists(f"{host.proc}/{item.pid}")  # some programs forget to sign out
    ][:_MAX_SESSIONS]


def _sessions(host: Host) -> list[dict[str, Any]]:
    place = f"{host.run}/systemd/sessions"
    if not os.path.isdir(place):
        raise UnavailableError(f"this host keeps neither {host.run}/utmp nor sessions of systemd-logind")
    found = []
    for name in trees.names(place)[:_MAX_SESSIONS]:
        told = trees.settings(trees.value(f"{place}/{name}") or "")  # beside each is a FIFO, which is not read
        if told.get("CLASS") == "user" and told.get("REALTIME", "").isdecimal():
            leader = told.get("LEADER", "")
            found.append({
                "user": told.get("USER"), "device": told.get("TTY", ""), "time": int(told["REALTIME"]) / 1e6,
                "host": told.get("REMOTE_HOST", ""), "pid": int(leader) if leader.isdecimal() else None,
            })  # fmt: skip
    return found


@call(
    "sys.last_logins",
    tier=Tier.OBSERVE,
    lua="local last = sys.last_logins(10)",
    python="last = sys.last_logins(10)",
)
def last_logins(host: Host, limit: Annotated[int, Bounds(1, 2_000)] = 100) -> dict[str, Any]:
    """Return ``{logins, boots, log_start, more}``: the last ``limit`` logins, newest first.

    Each login is ``user``, ``device``, ``host`` (whence), ``login`` and ``logout`` (seconds since 1970 UTC; logout is
    nothing while somebody is there), ``ended`` (here, logout, down, crash). Boots are ``time`` and ``kernel``, newest
    first. The log starts at its oldest record that was read (seconds since 1970 UTC); at most 20,000 are. Source:
    wtmp(5).
    """
    form = logins.layout()
    try:
        read = trees.read(f"{host.var}/log/wtmp", _MAX_UTMP_RECORDS * form.size, from_end=True)
    except OSError as error:
        raise UnavailableError(f"{host.var}/log/wtmp cannot be read: {error.strerror}") from None
    found = list(logins.records(read.data[-read.skipped_bytes % form.size :], form))
    rows = logins.sessions(found)
    kept = rows[: int(limit)]
    boots = [{"time": item.time, "kernel": item.host} for item in reversed(found) if item.kind == logins.BOOT]
    return {
        "logins": [
            {
                "user": row.login.user, "device": row.login.device, "host": row.login.host, "login": row.login.time,
                "logout": row.logout, "ended": row.ended,
            }
            for row in kept
        ],
        "boots": boots[: int(limit)], "log_start": found[0].time if found else None,
        "more": read.truncated or len(rows) > len(kept),
    }  # fmt: skip
