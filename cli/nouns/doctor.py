"""``outrider doctor``: what this machine offers the sandbox, what of the set-up works, and what is missing."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli import exits
from cli.invocation import Invocation, pass_invocation
from cli.keys import find_signer
from cli.leaf import ServerCommand
from cli.output import field
from cli.settings import find_key_path
from cli.ssh_agent import AGENT
from protocol.errors import OutriderError, UnauthenticatedError

WALLS = (field("wall", "name"), field("state", "state"), field("what it does", "detail"))
#: First release that has it, first that has not, and what is wrong there with a script that calls itself without end.
KNOWN_FAULTS = (
    (
        (3, 13, 0),
        (3, 13, 8),
        "some calls are not counted, so endless recursion takes all of a run's memory (cpython#132744)",
    ),
    ((3, 13, 8), (3, 13, 13), "endless recursion may crash a worker (cpython#145008)"),
)
CHECKS = (field("check", "name"), field("state", "state"), field("what was found", "detail"))
HARD_LINKS = Path("/proc/sys/fs/protected_hardlinks")
SQLITE_FIXED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))  # the releases that got the repair of the WAL-reset race


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    state: str  # ok | off (not needed here, not set up) | error
    detail: str

    def to_plain(self) -> dict[str, str]:
        """Return it as JSON data."""
        return {"name": self.name, "state": self.state, "detail": self.detail}


@click.command("doctor", cls=ServerCommand)
@pass_invocation
def noun(invocation: Invocation) -> None:
    """Raise every wall of the sandbox in a real zygote, say which stand, and look at key and server.

    Exit status 1 if a wall is missing or something that is set up does not work.

    \b
    Examples:
      outrider doctor
      outrider doctor --json
    """
    walls, problem = asyncio.run(_walls())
    missing = [wall["name"] for wall in walls if wall["state"] != "up"]
    checks = [_python(), _sqlite(), hard_links(), _key(invocation), _server(invocation)]
    if problem:
        checks.insert(0, Check("sandbox", "error", problem))
    is_ok = not missing and all(check.state != "error" for check in checks)
    output = invocation.output
    if output.as_json:
        output.data({
            "ok": is_ok, "kernel": platform.release(), "arch": platform.machine(),
            "python": platform.python_version(), "walls": walls, "missing": missing,
            "checks": [check.to_plain() for check in checks],
        })  # fmt: skip
    else:
        output.table(walls, WALLS, empty="no wall stands")
        output.line()
        output.table([check.to_plain() for check in checks], CHECKS)
        output.say(f"{len(walls) - len(missing)} of {len(walls)} walls up on this kernel ({platform.release()})")
    invocation.exit(exits.OK if is_ok else exits.FAILURE)


async def _walls() -> tuple[list[dict[str, Any]], str | None]:
    """Return how the walls stand, and why the sandbox does not start if it does not."""
    from sandbox.launch import Sandbox  # loads the languages; --help does without

    try:
        sandbox = await Sandbox.start(bindings=[])
    except OutriderError as error:
        return [], str(error)
    try:
        return [wall.to_plain() for wall in sandbox.walls], None
    finally:
        await sandbox.close()


def _python() -> Check:
    """A program at a fixed address is no error, but whoever attacks an interpreter need not find out where it lies."""
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    notes = ["3.11 to 3.13 are supported", *faults(sys.version_info[:3])]
    if not is_movable(Path(sys.executable)):
        notes.append("its code lies at a fixed address, see docs/security.md")
    return Check("python", "ok" if fits else "error", f"{platform.python_version()} ({'; '.join(notes)})")


def faults(version: tuple[int, int, int]) -> list[str]:
    """Return what is known to be wrong with this release of CPython and was mended in a later one of its line."""
    return [
        f"{told}, mended in {'.'.join(map(str, mended))}"
        for first, mended, told in KNOWN_FAULTS
        if first <= version < mended
    ]


def is_movable(program: Path) -> bool:
    """Tell whether the kernel may put a program anywhere (a position-independent one); also if that cannot be told.

    Source:
        elf(5): ``e_type``, two bytes in the byte order that ``e_ident`` names; ET_EXEC is 2, ET_DYN is 3.
    """
    try:
        with program.open("rb") as file:
            head = file.read(18)
    except OSError:
        return True
    if len(head) < 18 or head[:4] != b"\x7fELF":
        return True
    return int.from_bytes(head[16:18], "big" if head[5] == 2 else "little") != 2


def _sqlite() -> Check:
    """Releases without the repair of the WAL-reset race are fine with one writing connection, which is what we keep."""
    found = sqlite3.sqlite_version_info
    same_line = [fixed for fixed in SQLITE_FIXED if fixed[:2] == found[:2]]
    is_fixed = found >= same_line[0] if same_line else found > SQLITE_FIXED[-1]
    note = "" if is_fixed else ", before the repair of the WAL-reset race; one connection writes and checkpoints"
    return Check("sqlite", "ok", f"{sqlite3.sqlite_version}{note}")


def hard_links(switch: Path = HARD_LINKS) -> Check:
    """Tell whether anybody here may give a file of somebody else a second name, which no denial of a path knows.

    Source:
        proc_sys_fs(5): ``protected_hardlinks``; 0 unless somebody, mostly systemd, sets it.
    """
    try:
        is_protected = switch.read_bytes().strip() == b"1"
    except OSError as error:
        return Check("hard links", "off", f"cannot tell: {switch}: {error.strerror}")
    if is_protected:
        return Check("hard links", "ok", "only to files of one's own, so a denial of a path holds for the file")
    return Check(
        "hard links",
        "off",
        "anybody with an account here may link to any file of the same file system, and so go around what a policy "
        "denies by its path: sysctl fs.protected_hardlinks=1",
    )


def _key(invocation: Invocation) -> Check:
    try:
        path = find_key_path(invocation.asked)
        if not path.exists() and not str(path).startswith(AGENT):
            return Check("key", "off", f"none in {path} (outrider key new)")
        return Check("key", "ok", f"{path}  {find_signer(path).public.key_id[:16]}")
    except OutriderError as error:
        return Check("key", "error", str(error))


def _server(invocation: Invocation) -> Check:
    try:
        me = invocation.api.get("me")
        return Check("server", "ok", f"{invocation.context.server} as {me.get('principal')}")
    except UnauthenticatedError as error:
        known = "is known" not in str(error)
        return Check("server", "error" if known else "off", f"{error} (outrider login)")
    except OutriderError as error:
        return Check("server", "error", str(error))
