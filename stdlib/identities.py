"""Who on this host a name or a number stands for. It asks the host's databases, which may take their time (nss(5)).

It is looked up once for a call, before the decision, and who was decided on is who the program becomes: a database
that changes meanwhile changes nothing.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from policies.users import ROOT, User, check_account, is_number
from protocol.errors import DeniedError, NotFoundError, UnavailableError
from stdlib import accounts, trees

if TYPE_CHECKING:
    from stdlib.processes.start import Identity

MAX_PASSWD_BYTES: Final = 8 << 20
_ACCOUNTS: Final = "/etc/passwd"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody whom a program can start as."""

    user: User  # for the decision
    identity: Identity  # for the kernel
    home: str
    shell: str
    login: str  # the name that the host has for them, which is not ``root`` on every host

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of their programs says of them."""
        return {"HOME": self.home, "USER": self.login, "LOGNAME": self.login, "SHELL": self.shell}


def identify(user: str, group: str) -> Account:
    """Return who is meant by the name or number of a user, empty for the agent's own, and of a group, empty for theirs.

    Raises:
        ArgumentError: One of them can be nobody's name.
        NotFoundError: There is no such user or group.
        UnavailableError: The host's accounts cannot be read.
    """
    from stdlib.processes.start import Identity

    for text, parameter in ((user, "user"), (group, "group")):
        if text:
            check_account(text, parameter=parameter)
    try:
        entry = pwd.getpwuid(_uid(user))
    except (KeyError, OverflowError):
        raise NotFoundError(f"there is no user {user!r:.64}" if user else "the agent's own user has no name") from None
    try:
        gid = entry.pw_gid if not group else int(group) if is_number(group) else grp.getgrnam(group).gr_gid
        group_name = grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        raise NotFoundError(f"there is no group {group!r:.64}") from None
    is_theirs = gid in os.getgrouplist(entry.pw_name, entry.pw_gid)
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    decided = _decided(entry.pw_uid, {entry.pw_name, *([] if is_number(user) else filter(None, [user]))})
    return Account(
        User(decided.name, decided.others, "" if is_theirs else group_name), Identity(entry.pw_uid, gid, groups),
        entry.pw_dir, entry.pw_shell, entry.pw_name,
    )  # fmt: skip


def _uid(user: str) -> int:
    if not user:
        return os.getuid()
    return int(user) if is_number(user) else pwd.getpwnam(user).pw_uid


def _decided(uid: int, known: set[str]) -> User:
    """Return the user of a number as rules see them, with all names that are known of them."""
    local = trees.text_of(_ACCOUNTS, MAX_PASSWD_BYTES)
    names = known | {row["name"] for row in accounts.users(local) if row["uid"] == uid}
    name = ROOT if uid == 0 else pwd.getpwuid(uid).pw_name
    return User(name, tuple(sorted(names - {name})))


@cache
def own_user() -> User:
    """Return the agent's own user; one without a name on this host is called by its number, which no rule names."""
    uid = os.getuid()
    try:
        return _decided(uid, set())
    except (KeyError, UnavailableError):
        return User(ROOT if uid == 0 else str(uid))


def check_can_become(account: Account) -> None:
    """Return if this process can start programs as somebody.

    Raises:
        DeniedError: It is not root, and this is somebody else.
    """
    mine = (os.getuid(), os.getgid())
    if mine[0] != 0 and (account.identity.uid, account.identity.gid) != mine:
        raise DeniedError(f"only an agent that is root can run programs as {account.user}", rule="the host")
