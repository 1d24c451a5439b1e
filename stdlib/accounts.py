"""The local accounts of a host, from passwd(5), group(5) and shadow(5). Pure: texts in, records out.

A password's hash is looked at for what it says about the account, and goes no further than the function that does so.
"""

from __future__ import annotations

from typing import Any

_DAY_S = 86400
_AGES = ("min_days", "max_days", "warn_days", "inactive_days")
NOBODY = 65534  # the uid that systems keep for nobody
FIRST_UID = 1000  # of people, where login.defs does not say


def users(passwd: str) -> list[dict[str, Any]]:
    """Return the accounts of a passwd file; a line that is none is left out."""
    found = []
    for line in passwd.split("\n"):
        fields = line.split(":")
        if len(fields) == 7 and fields[0] and fields[2].isdecimal() and fields[3].isdecimal():
            name, _, uid, gid, full_name, home, shell = fields
            found.append({
                "name": name, "uid": int(uid), "gid": int(gid), "full_name": full_name, "home": home, "shell": shell,
            })  # fmt: skip
    return found


def other_names(known: list[dict[str, Any]], name: str, number: str = "uid") -> tuple[str, ...]:
    """Return the other names of the account ``name``: those with its uid, or with one of them if it stands there twice.

    Sorted; none if there is no such account. Of groups, with ``number`` as ``gid``.
    """
    numbers = {row[number] for row in known if row["name"] == name}
    return tuple(sorted({row["name"] for row in known if row[number] in numbers} - {name}))


def groups(group: str) -> list[dict[str, Any]]:
    """Return the groups of a group file; a line that is none is left out."""
    found = []
    for line in group.split("\n"):
        fields = line.split(":")
        if len(fields) == 4 and fields[0] and fields[2].isdecimal():
            members = [member for member in fields[3].split(",") if member]
            found.append({"name": fields[0], "gid": int(fields[2]), "members": members})
    return found


def passwords(shadow: str) -> dict[str, dict[str, Any]]:
    """Return status and ages of the passwords by account, never more."""
    found = {}
    for line in shadow.split("\n"):
        name, *fields = line.split(":")
        if name and len(fields) >= 7:
            changed, *ages, expires = (int(text) if text.isdecimal() else None for text in fields[1:7])
            found[name] = {
                "password": status(fields[0]), "password_changed": None if changed is None else changed * _DAY_S,
                **dict(zip(_AGES, ages, strict=True)), "expires": None if expires is None else expires * _DAY_S,
            }  # fmt: skip
    return found


def status(field: str) -> str:
    """Return what the second field of shadow(5) says: ``none``, ``locked`` or ``set``. As ``passwd --status``."""
    if not field:
        return "none"
    return "locked" if field[0] in "!*" else "set"


NOT_TOLD: dict[str, Any] = dict.fromkeys(("password", "password_changed", *_AGES, "expires"))


def first_uid(login_defs: str) -> int:
    """Return the first uid of people by login.defs(5)."""
    for line in login_defs.split("\n"):
        words = line.split()
        if len(words) == 2 and words[0] == "UID_MIN" and words[1].isdecimal():
            return int(words[1])
    return FIRST_UID
