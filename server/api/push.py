"""``git push`` to ``review/<name>``: the same as ``outrider script publish``, for people who live in git.

- Whoever pushes needs a token with a role that publishes. What counts is the author's own signed publication, which
  the commit carries beside the manifest: it is over the bundle's digest, as one that came another way, and neither
  git's object ids nor who pushed prove anything.
- One push is one version, published in the same one transaction; nothing else of it is kept, the branch neither.
- What is pushed is hostile until it is proved: it is looked at in a quarantine (:mod:`server.quarantine`), with bounds
  on bytes, objects, time, memory, and on how many push at once.
- A refusal is git's ``remote rejected`` with the reason, and on the record like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from protocol.errors import (
    ArgumentError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    OutriderError,
    TrustError,
    UnavailableError,
)
from server import git_program, push_lines, refusals
from server.access import PUBLISH, Caller
from server.api.asking import about
from server.core import Core
from server.push_lines import SERVICE, Commands
from server.quarantine import Quarantine
from server.services import scripts

MAX_PUSHES: Final = 2  # at once; each may take what server.git_program allows
MAX_PUSH_S: Final = 60.0  # of one push, from its first byte
NO_STORE: Final = {"Cache-Control": "no-cache, max-age=0, must-revalidate"}
_turns = asyncio.Semaphore(MAX_PUSHES)
_under_way: set[str] = set()  # principals, each with one: else somebody who sends slowly could take all turns


def advertise(caller: Caller, main: str | None) -> Response:
    """Answer ``info/refs`` of a push."""
    _program()
    caller.require(PUBLISH)
    media_type = f"application/x-{SERVICE}-advertisement"
    return Response(push_lines.advertisement(main), media_type=media_type, headers=NO_STORE)


async def receive(request: Request, core: Core, caller: Caller, known: Path) -> Response:
    """Answer a push.

    Args:
        request: Its body is not read yet.
        core: The server.
        caller: Who pushes.
        known: The repository that the caller may read.

    Raises:
        OutriderError: What came is no push at all, or the caller may not push. Why one is not taken, the answer says.
    """
    caller.require(PUBLISH)
    git = _program()
    if request.headers.get("content-type") != f"application/x-{SERVICE}-request":
        raise ArgumentError(f"the request must be application/x-{SERVICE}-request", parameter="content-type")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ArgumentError("a push comes as it is, without a coding", parameter="content-encoding")
    if _turns.locked():
        raise UnavailableError(f"{MAX_PUSHES} pushes are under way; try again in a moment")
    if caller.principal in _under_way:
        raise UnavailableError("a push of yours is under way; try again when it is over")
    commands, body = Commands(), _parts(request)
    async with _turns:
        _under_way.add(caller.principal)
        try:
            async with asyncio.timeout(MAX_PUSH_S):
                pack = await _read_commands(commands, body)
                if not commands.listed:  # git's way to ask whether it may push at all
                    return _answer(b"")
                told = await _take(request, core, caller, known, git, commands, pack)
                async for _ in body:
                    pass  # git hears only when it has said all; the door bounds it
        except TimeoutError:
            raise DeadlineError(f"the push took over {MAX_PUSH_S:.0f} s") from None
        except ClientDisconnect:
            raise ArgumentError("the push broke off") from None
        finally:
            _under_way.discard(caller.principal)
    return _answer(told)


async def _take(
    request: Request, core: Core, caller: Caller, known: Path, git: str, commands: Commands, pack: AsyncIterator[bytes]
) -> bytes:
    """Publish what a push holds; return what git is told."""
    is_unpacked = False
    try:
        name, commit = push_lines.script_of(commands.listed)
        about(request, script=name)
        async with Quarantine(core.config.directory, known, git) as quarantine:
            await quarantine.take(pack)
            is_unpacked = True
            envelope, bundle = await quarantine.script(commit, name)
        done = await scripts.publish(core, envelope, bundle.pack(), caller.principal)
    except (TrustError, DeniedError) as error:
        await refusals.record(
            core, error, call=f"POST {request.url.path}"[:100], principal=caller.principal, about=request.state.about
        )
        return push_lines.report(commands, str(error), ["", f"refused: {error}", ""])
    except OutriderError as error:
        core.metrics.refusals.labels(error.code).inc()
        is_whole = is_unpacked or not isinstance(error, ArgumentError)
        return push_lines.report(commands, str(error), ["", f"not taken: {error}", ""], is_unpacked=is_whole)
    waits = "" if done["status"] != "waiting" else f", waiting for review {done['review']}"
    return push_lines.report(
        commands, None,
        ["", f"published {done['name']} {done['version']} ({done['tier']}){waits}", f"  {done['digest']}",
         *(f"warning: {each}" for each in done["warnings"]), ""],
    )  # fmt: skip


async def _read_commands(commands: Commands, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read the commands; return what follows them."""
    rest = b""
    async for part in body:
        rest = commands.feed(part)
        if commands.is_whole:
            break
    if not commands.is_whole:
        raise ArgumentError("the push ends in the middle of its commands")
    return _then(rest, body)


async def _then(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for part in rest:
        yield part


async def _parts(request: Request) -> AsyncIterator[bytes]:
    async for part in request.stream():
        if part:
            yield part


def _program() -> str:
    git = git_program.find()
    if git is None:
        raise NotFoundError("this server has no git, so nothing can be pushed: outrider script publish does the same")
    return git


def _answer(told: bytes) -> Response:
    return Response(told, media_type=f"application/x-{SERVICE}-result", headers=NO_STORE)
