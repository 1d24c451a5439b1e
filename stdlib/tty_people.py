"""``tty.sessions``, ``tty.notice``, ``tty.client``: sessions of people on this host, as scripts see them.

A script sees who is here and since when, never what they type or what is printed. What it says appears to everybody who
watches the terminal, as a line that the program did not print, and is in the recording.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from protocol.errors import NotFoundError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import Host, PeopleHere
from stdlib.parameters import ABSOLUTE, SAID, Length

MAX_TEXT_CHARACTERS = 500
_EACH = "for _, session in ipairs(tty.sessions()) do"
_EACH_PY = "for session in tty.sessions():\n   "


@call(
    "tty.sessions",
    tier=Tier.OBSERVE,
    lua=f"{_EACH} print(session.id, session.user, session.started) end",
    python=f'{_EACH_PY} print(session["id"], session["user"], session["started"])',
)
async def sessions(host: Host) -> list[dict[str, Any]]:
    """Return the sessions of people that are open on this host, oldest first.

    Each has ``id``, ``kind`` (terminal, files, command, forward), ``user`` (who opened it), ``started`` (seconds since
    1970 UTC), ``size`` (``cols`` and ``rows`` of a terminal, else nothing), ``watchers`` (who have the terminal before
    them) and ``recording`` (whether the server records it: terminals always are).
    """
    return [] if host.people is None else host.people.sessions()


@call(
    "tty.notice",
    tier=Tier.ADMIN,
    changes=True,
    lua=f'{_EACH} if session.size then tty.notice(session.id, "restart at noon") end end',
    python=f'{_EACH_PY} if session["size"]:\n        tty.notice(session["id"], "restart at noon")',
)
async def notice(
    host: Host, id: Annotated[str, Length(100)], text: Annotated[str, Length(MAX_TEXT_CHARACTERS), SAID]
) -> None:
    """Show a line to everybody who watches the terminal of session ``id``.

    Raises:
        NotFoundError: No such session has a terminal here.
    """
    _people(host).notice(id, text)


@call(
    "tty.client",
    tier=Tier.ADMIN,
    changes=True,
    lua=f'{_EACH} if session.size then tty.client(session.id, "view", "/var/log/syslog") end end',
    python=f'{_EACH_PY} if session["size"]:\n        tty.client(session["id"], "view", "/var/log/syslog")',
)
async def client(
    host: Host,
    id: Annotated[str, Length(100)],
    action: Literal["edit", "browse", "view", "terminal"],
    path: Annotated[str, Length(4096), ABSOLUTE],
) -> None:
    """Ask the programs of those who watch the terminal of session ``id`` to open ``path`` of this host.

    It is a proposal: their program asks them, and what they then do is decided on as theirs.

    Raises:
        NotFoundError: No such session has a terminal here.
    """
    _people(host).client(id, action, path)


def _people(host: Host) -> PeopleHere:
    if host.people is None:
        raise NotFoundError("no session of a person is open on this host")
    return host.people
