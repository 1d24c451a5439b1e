"""``tty.*``: terminals that scripts drive: open, type, wait for a prompt, look at the screen.

The program is decided on like one of ``proc.exec``. How people's terminals begin is ``tty_login``.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from protocol.errors import ArgumentError, TooLargeError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Bounds, Data, Length
from stdlib.proc_parameters import Account, Argv, Directory, Environment, revealed_environment
from stdlib.proc_run import octets, program_facts, undeclared
from stdlib.proc_spawn import exit_of
from stdlib.secrets import Secret
from stdlib.tty_screen import Size
from stdlib.tty_start import opened
from stdlib.tty_terminal import Terminal, compiled

MAX_COLS, MAX_ROWS = 500, 200
MAX_READ_BYTES = 256 << 10
Cols = Annotated[int, Bounds(1, MAX_COLS)]
Rows = Annotated[int, Bounds(1, MAX_ROWS)]
Wait = Annotated[float, Bounds(0, 600, "seconds")]
_OPEN = 'local t = tty.open({"/bin/cat"})\n'
_OPEN_PY = 't = tty.open(["/bin/cat"])\n'
_ECHO = 'local t = tty.open({"/bin/echo", "login:"})\n'
_ECHO_PY = 't = tty.open(["/bin/echo", "login:"])\n'


@call(
    "tty.open",
    tier=Tier.ADMIN,
    changes=True,
    decides=program_facts,
    looks_up=True,
    lua='local t = tty.open({"/bin/sh"}, {cols = 100, rows = 30})',
    python='t = tty.open(["/bin/sh"], cols=100, rows=30)',
)
async def open_terminal(
    host: Host,
    argv: Argv,
    cols: Cols = 80,
    rows: Rows = 24,
    env: Environment = {},  # noqa: B006 - never changed
    cwd: Directory = "/",
    user: Account = "",
    group: Account = "",
) -> Terminal:
    """Start any program, as ``proc.exec`` does, in a terminal of its own; ``TERM`` is ``xterm-256color``.

    The handle has ``pid`` and ``program``. The program and all that comes of it are killed when the handle is closed,
    at the run's end at the latest.

    Raises:
        NotFoundError: There is no such program, directory, user or group.
        DeniedError: The user may not run it, or the agent cannot become that user.
        UnavailableError: No program can be started now.
    """
    del user, group  # they are in what was decided on
    program = undeclared(argv, {"TERM": "xterm-256color", **revealed_environment(env)}, cwd)
    chosen: Any = argv
    return await opened(host, program, Size(int(cols), int(rows)), chosen.program, chosen.quiet_facts)


@call(
    "tty.write",
    tier=Tier.ADMIN,
    changes=True,
    under="tty.open",
    lua=f'{_OPEN}t:write("hello\\n")',
    python=f'{_OPEN_PY}t.write("hello\\n")',
)
async def write(
    tty: Terminal,
    data: Annotated[Data, Length(256 << 10)],
    timeout: Wait = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> int:
    """Type ``data``; returns how many bytes the terminal took, fewer than all if ``timeout`` came first.

    Raises:
        ConflictError: The program has ended.
    """
    return await tty.write(octets(data, "data"), timeout)


@call(
    "tty.read",
    tier=Tier.ADMIN,
    under="tty.open",
    lua=f"{_ECHO}local some = t:read()",
    python=f"{_ECHO_PY}some = t.read()",
)
async def read(
    tty: Terminal,
    most: Annotated[int, Bounds(1, MAX_READ_BYTES, "bytes")] = 64 << 10,
    timeout: Wait = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> bytes | None:
    """Return what was printed and not taken yet, with all control sequences; empty at the end.

    Nothing if nothing came in time.
    """
    return await tty.read(int(most), timeout)


@call(
    "tty.output",
    tier=Tier.ADMIN,
    under="tty.open",
    lua=f"{_ECHO}for some in t:output() do print(some) end",
    python=f"{_ECHO_PY}for some in t.output():\n    print(some)",
)
async def output(tty: Terminal) -> AsyncIterator[bytes]:
    """Give what is printed, piece by piece, until the program and all that share its terminal end."""
    while data := await tty.read(64 << 10, 3600.0):
        yield data


@call(
    "tty.expect",
    tier=Tier.ADMIN,
    under="tty.open",
    lua=f'{_ECHO}local found = t:expect({{"login: *$", "refused"}}, {{timeout = 5}})',
    python=f'{_ECHO_PY}found = t.expect(["login: *$", "refused"], timeout=5)',
)
async def expect(
    tty: Terminal,
    patterns: Annotated[list[str], Length(2000)],
    timeout: Wait = 10.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any] | None:
    """Wait until what is printed matches one of the patterns (those of ``regex.*``), and take all up to its end.

    The match that begins first counts; of two, the one that is listed first. Only the newest 256 KiB are looked at.
    Returns ``pattern``, ``match``, ``groups``, ``before``; with ``pattern`` and ``match`` nothing if the output ended;
    nothing at all if ``timeout`` came first: then all is still there to be matched.
    """
    wanted = compiled(patterns)
    found = await tty.expect(wanted, timeout)
    if found is None:
        return None
    place, match, before = found
    told: dict[str, Any] = {"pattern": None, "match": None, "groups": [], "before": _text(before)}
    if match is not None:
        told |= {
            "pattern": patterns[place], "match": _text(match.group()),
            "groups": [None if each is None else _text(each) for each in match.groups()],
        }  # fmt: skip
    return told


def _text(data: Any) -> str:
    return bytes(data).decode("utf-8", "replace")


@call(
    "tty.screen",
    tier=Tier.ADMIN,
    under="tty.open",
    lua=f"{_ECHO}local shown = t:screen()\nprint(shown.lines[1])",
    python=f'{_ECHO_PY}shown = t.screen()\nprint(shown["lines"][0])',
)
async def screen(
    tty: Terminal,
    settle: Annotated[float, Bounds(0, 10, "seconds")] = 0.1,
    timeout: Wait = 2.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any]:
    """Return what the terminal shows once nothing has been printed for ``settle``, or at ``timeout``.

    ``cols``, ``rows``, ``lines`` (texts without spaces at their ends), ``cursor`` (a map of ``row`` and ``col`` from 0,
    and ``hidden``), ``title``, ``alternate`` (whether it is the alternate screen, as of an editor), ``exact`` (false if
    more than 1 MiB was printed between two looks, the oldest of which was dropped). What is shown can still be read.

    Raises:
        UnavailableError: The library that renders screens is not installed.
    """
    if tty.size.cols * tty.size.rows > MAX_COLS * MAX_ROWS:  # a cell costs a hundred bytes
        raise TooLargeError(f"a screen of more than {MAX_COLS * MAX_ROWS} cells is not rendered")
    return await tty.screen(settle, timeout)


@call(
    "tty.resize",
    tier=Tier.ADMIN,
    changes=True,
    under="tty.open",
    lua=f"{_OPEN}t:resize(120, 40)",
    python=f"{_OPEN_PY}t.resize(120, 40)",
)
async def resize(tty: Terminal, cols: Cols, rows: Rows) -> None:
    """Change the size of the terminal; the program is told."""
    tty.resize(Size(int(cols), int(rows)))


@call(
    "tty.signal",
    tier=Tier.ADMIN,
    changes=True,
    under="tty.open",
    lua=f'{_OPEN}t:signal("INT")',
    python=f'{_OPEN_PY}t.signal("INT")',
)
async def send(
    tty: Terminal,
    sig: Literal["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP"],
) -> bool:
    """Send a signal: INT, QUIT and TSTP to what is in the foreground, others to the program's own group.

    Returns whether the program still ran.
    """
    return tty.signal(signal.Signals[f"SIG{sig}"].value)


@call(
    "tty.wait",
    tier=Tier.ADMIN,
    under="tty.open",
    lua='local t = tty.open({"/bin/true"})\nlocal ended = t:wait({timeout = 5})',
    python='t = tty.open(["/bin/true"])\nended = t.wait(timeout=5)',
)
async def wait(
    tty: Terminal,
    timeout: Annotated[float, Bounds(0, 3600, "seconds")] = 60.0,  # noqa: ASYNC109 - the name that scripts use
) -> dict[str, Any] | None:
    """Wait until the program and its tree have ended, as ``process.wait``; nothing if ``timeout`` comes first."""
    return await exit_of(tty.started, timeout)


@call(
    "tty.send_secret",
    tier=Tier.ADMIN,
    changes=True,
    under="tty.open",
    lua='local t = tty.open({"/bin/sh", "-c", "stty -echo; read p"})\nt:send_secret(secret("db-password"))',
    python='t = tty.open(["/bin/sh", "-c", "stty -echo; read p"])\nt.send_secret(secret("db-password"))',
)
async def send_secret(
    tty: Terminal,
    secret: Secret,
    enter: bool = True,
    timeout: Annotated[float, Bounds(0.1, 60, "seconds")] = 5.0,  # noqa: ASYNC109 - the name that scripts use
) -> None:
    """Type a secret, then Enter, once the terminal does not echo; its value is in no record.

    Raises:
        ConflictError: The terminal echoes what is typed, or the program does not read it.
    """
    value = secret.reveal()
    if b"\n" in value or b"\r" in value:
        raise ArgumentError("secret: its value holds a line end", parameter="secret")
    await tty.write_unseen(value + (b"\r" if enter else b""), timeout)
