"""``tty.login``: a terminal as a person has it who logs in, and where it is that sessions of people get theirs.

The user's own shell from the host's accounts begins as a login shell, or another program in its place; it starts in the
user's home, with ``TERM`` and the language that the person's own terminal has. It is decided on like a program of
``proc.exec``, as what it really is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from kernel.visits import begun_apart
from protocol.errors import UnavailableError
from protocol.terminal import MAX_COLS, MAX_ROWS
from protocol.tiers import Tier
from stdlib.call_specs import Decided
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.identities import Account, identify
from stdlib.parameters import Bounds, Form, Length
from stdlib.proc_parameters import steering
from stdlib.proc_run import Chosen, choose, undeclared
from stdlib.tty_screen import Size
from stdlib.tty_start import opened
from stdlib.tty_terminal import Terminal

HANG_UP_S: Final = 0.3  # for a shell to keep its history once it is hung up; what ignores that is killed then
#: What the agent gives every terminal of a person, whatever program is in it.
OF_SESSIONS: Final = frozenset({"OUTRIDER_SESSION", "OUTRIDER_EDIT", "OUTRIDER_PYTHON", "PATH", "PROMPT_COMMAND"})
#: A name that cannot lead out of terminfo(5)'s directory.
_TERM: Final = Form(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}", "is no name of a terminal, such as xterm-256color")
_LANG: Final = Form(r"[A-Za-z0-9][A-Za-z0-9.@_-]{0,63}", "is no name of a locale, such as de_DE.UTF-8")


def login_facts(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """Return what a login is decided on: the program, resolved, its arguments, and whose login it is."""
    del host
    account = identify(str(arguments.get("user") or ""), "")
    argv = list(arguments.get("argv") or ())
    chosen = choose(argv, account) if argv else _shell(account)
    facts = chosen.facts._replace(variables=steering(arguments.get("env") or {}, OF_SESSIONS))
    return Decided((facts,), {"argv": chosen})


def _shell(account: Account) -> Chosen:
    """Return the login shell of a user; its name begins with a dash, as login(1) has it."""
    path = account.shell or "/bin/sh"
    if not path.startswith("/"):
        raise UnavailableError(f"the shell of {account.user} is no absolute path")
    return Chosen(os.path.realpath(path), (f"-{os.path.basename(path)}",), account)


@call(
    "tty.login",
    tier=Tier.ADMIN,
    changes=True,
    decides=login_facts,
    looks_up=True,
    lua='local t = tty.login({argv = {"/bin/cat"}})',
    python='t = tty.login(argv=["/bin/cat"])',
)
async def login(
    host: Host,
    user: Annotated[str, Length(64)] = "",
    argv: Annotated[list[str], Length(32 << 10)] = [],  # noqa: B006 - never changed
    cols: Annotated[int, Bounds(1, MAX_COLS)] = 80,
    rows: Annotated[int, Bounds(1, MAX_ROWS)] = 24,
    term: Annotated[str, Length(64), _TERM] = "xterm-256color",
    lang: Annotated[str, Length(64), _LANG] = "C.UTF-8",
    env: Annotated[dict[str, str], Length(32 << 10)] = {},  # noqa: B006 - never changed
) -> Terminal:
    """Start the login shell of ``user``, or the program ``argv``, as when that user logs in, in a terminal of its own.

    Without ``user`` it is the agent's own; only an agent that is root can take another. The program starts in the
    user's home if there is one. The handle is that of ``tty.open``; when it is closed the terminal is hung up, and
    0.3 s later all that came of it is killed.

    Raises:
        NotFoundError: There is no such user or program.
        DeniedError: The user may not run it, or the agent cannot become that user.
        UnavailableError: No program can be started now.
    """
    chosen: Any = argv
    del user  # in what was decided on; by name in every case, so that set-user-ID programs such as sudo work
    program = undeclared(chosen, {"TERM": term, "LANG": lang, "LC_ALL": lang, **(env or {})}, "/")
    home = program.environment.get("HOME", "/")
    if await begun_apart(os.path.isdir, home):  # it may lie on another machine
        program = replace(program, directory=home)
    size = Size(int(cols), int(rows))
    return await opened(host, program, size, chosen.program, chosen.quiet_facts, grace_s=HANG_UP_S)
