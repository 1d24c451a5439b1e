"""``/git/scripts.git``: the script repository for ``git clone`` and ``git fetch``, and ``git push`` for reviews.

- A token comes as a bearer or as the password of HTTP's basic authentication, whatever the user's name, as git has it.
- What a caller may not read is not in the repository that serves them (:mod:`server.views`).
- Git itself answers where it is installed: ``git upload-pack``, without any of the user's or machine's settings,
  bounded in number, time and input. Where it is not, files are served for git's dumb protocol, by exact names alone.
- Nothing is ever received into it: a push is looked at elsewhere, and published or not (:mod:`server.api.push`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from protocol.errors import (
    ArgumentError,
    DeadlineError,
    NotFoundError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from server import access, git_program, limits, push_lines, views
from server.access import READ
from server.api import push
from server.api.door import enter
from server.core import Core
from server.repository import Repository
from server.services.visibility import Viewer

LOG = structlog.get_logger()
PATH: Final = "/git/scripts.git"
SERVICE: Final = "git-upload-pack"
MAX_ASK_S: Final = 60.0  # for such a request to come, which is counted as its sender's meanwhile
MAX_CLONES: Final = 4  # programs at once; each reads the whole repository
MAX_OF_ONE: Final = 2  # of these of one person: one that reads slowly holds its place for as long as it may
MAX_CLONE_S: Final = 300.0  # of one answer
READ_BYTES: Final = 64 << 10
_VERSION = re.compile(r"version=[012]")
_FILE = re.compile(
    r"HEAD|objects/info/packs|objects/[0-9a-f]{2}/[0-9a-f]{38}|objects/pack/pack-[0-9a-f]{40}\.(?:pack|idx)"
)
_NO_STORE = {"Cache-Control": "no-cache, max-age=0, must-revalidate"}
_turns = asyncio.Semaphore(MAX_CLONES)
_under_way: Counter[str] = Counter()  # by principal; strangers are one


async def info(request: Request) -> Response:
    """Answer ``info/refs``: which branches and tags there are."""
    core: Core = request.app.state.core
    service = request.query_params.get("service")
    is_smart = service is not None and _git() is not None
    folder = await _folder(request, core, needs_token=service == push_lines.SERVICE, is_smart=is_smart)
    if service == push_lines.SERVICE:
        return push.advertise(request.state.caller, Repository(folder, is_durable=False).main())
    if service is None or _git() is None:
        return Response(_references(folder), media_type="text/plain", headers=_NO_STORE)
    if service != SERVICE:
        raise ArgumentError("git fetches here, and pushes reviews, and there is nothing else", parameter="service")
    head = f"# service={SERVICE}\n"
    first = f"{len(head) + 4:04x}{head}0000".encode()
    _check_room(request)
    answer = _answer(request, folder, b"", "--http-backend-info-refs", first=first)
    return StreamingResponse(answer, media_type=f"application/x-{SERVICE}-advertisement", headers=_NO_STORE)


async def upload(request: Request) -> Response:
    """Answer ``git-upload-pack``: the objects that a client lacks."""
    core: Core = request.app.state.core
    folder = await _folder(request, core, is_smart=_git() is not None)
    if _git() is None:
        raise NotFoundError("this server has no git: clone without the smart protocol (GIT_SMART_HTTP=0)")
    if request.headers.get("content-type") != f"application/x-{SERVICE}-request":
        raise ArgumentError(f"the request must be application/x-{SERVICE}-request", parameter="content-type")
    try:
        async with asyncio.timeout(MAX_ASK_S):
            asked = await _body(request)
    except TimeoutError:
        raise DeadlineError(f"the request did not come in {MAX_ASK_S:.0f} s") from None
    _check_room(request)
    answer = _answer(request, folder, asked)
    return StreamingResponse(answer, media_type=f"application/x-{SERVICE}-result", headers=_NO_STORE)


async def receive(request: Request) -> Response:
    """Answer ``git-receive-pack``: a version for review."""
    core: Core = request.app.state.core
    folder = await _folder(request, core, needs_token=True, is_smart=True)
    return await push.receive(request, core, request.state.caller, folder)


async def file(request: Request) -> Response:
    """Answer one file of the dumb protocol."""
    core: Core = request.app.state.core
    folder = await _folder(request, core)
    name = request.path_params["path"]
    if not _FILE.fullmatch(name):
        raise NotFoundError("there is no such file in the repository")
    if name == "objects/info/packs":
        packs = sorted(path.name for path in (folder / "objects" / "pack").glob("pack-*.pack"))
        return Response("".join(f"P {pack}\n" for pack in packs), media_type="text/plain")
    path = folder / name
    if not path.is_file():
        raise NotFoundError("there is no such file in the repository")
    return FileResponse(path, media_type="application/octet-stream")


ROUTES: Final = [
    Route(f"{PATH}/info/refs", info, methods=["GET"]),
    Route(f"{PATH}/{SERVICE}", upload, methods=["POST"]),
    Route(f"{PATH}/{push_lines.SERVICE}", receive, methods=["POST"]),
    Route(f"{PATH}/{{path:path}}", file, methods=["GET"]),
]


# who ------------------------------------------------------------------------------------------------------------------


async def _folder(request: Request, core: Core, *, needs_token: bool = False, is_smart: bool = False) -> Path:
    """Return the repository that the caller may have, brought up to date.

    Args:
        request: Of the caller.
        core: The server.
        needs_token: Whether nobody may do this without a token.
        is_smart: Whether git itself answers, which knows of objects that are borrowed; files alone do not hold them.
    """
    text = _token(request)
    if text is None:
        if needs_token or not core.config.public_reading:
            raise UnauthenticatedError("git needs a token as the password (user name: anything)")
        view = "public"
    else:
        caller = core.database.read_now(lambda connection: access.find(connection, text))
        enter(core, request.scope, caller)
        caller.require(READ)
        viewer = Viewer.of(caller)
        if viewer.sees_all:
            return core.config.repository
        view = "account"
        own = await core.database.read(lambda connection: views.own_rows(connection, viewer)) if is_smart else []
        if own:
            shared = await core.database.read(lambda connection: views.rows_of(connection, view))
            return await asyncio.to_thread(core.views.refresh_own, caller.principal, shared, own)
    rows = await core.database.read(lambda connection: views.rows_of(connection, view))
    return await asyncio.to_thread(core.views.refresh, view, rows)


def _token(request: Request) -> str | None:
    """Return the token in the request; None if it holds no authorization at all.

    Raises:
        UnauthenticatedError: It holds one that has none.
    """
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, text = given.partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    if scheme.lower() == "basic" and len(text) < 1000:
        try:
            _, colon, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            colon, password = "", ""
        if colon and password:
            return password
    raise UnauthenticatedError("git needs a token as the password (user name: anything)")


# git ------------------------------------------------------------------------------------------------------------------


def _git() -> str | None:
    return git_program.find()


def _who(request: Request) -> str:
    caller = getattr(request.state, "caller", None)
    return "" if caller is None else str(caller.principal)


def _check_room(request: Request) -> None:
    """Return if one more may clone now.

    Raises:
        UnavailableError: Too many do already, or too many of this caller's.
    """
    if _turns.locked():
        raise UnavailableError(f"{MAX_CLONES} clones are under way; try again in a moment")
    if _under_way[_who(request)] >= MAX_OF_ONE:
        raise UnavailableError(f"{MAX_OF_ONE} clones of yours are under way; try again in a moment")


@asynccontextmanager
async def _counted(who: str) -> AsyncIterator[None]:
    _under_way[who] += 1
    try:
        yield
    finally:
        _under_way[who] -= 1
        if not _under_way[who]:
            del _under_way[who]


async def _answer(
    request: Request, folder: Path, asked: bytes, *options: str, first: bytes = b""
) -> AsyncIterator[bytes]:
    """Run ``git upload-pack`` and yield what it says; it ends with the answer, the client or after ``MAX_CLONE_S``.

    All of it is in here and not before: what is never asked for a part has begun nothing.
    """
    async with _turns, asyncio.timeout(MAX_CLONE_S), _counted(_who(request)):
        process = await asyncio.create_subprocess_exec(
            *git_program.words(_git() or "git", "upload-pack", "--strict", "--stateless-rpc", *options, str(folder)),
            stdin=asyncio.subprocess.PIPE if asked else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=_environment(request), cwd="/", start_new_session=True,
        )  # fmt: skip
        feeding = asyncio.create_task(_feed(process.stdin, asked))
        try:
            if first:
                yield first
            while process.stdout is not None and (part := await process.stdout.read(READ_BYTES)):
                yield part
            await feeding
            if await process.wait() != 0:
                LOG.warning("git upload-pack failed", status=process.returncode)
        finally:
            feeding.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()


def _environment(request: Request) -> dict[str, str]:
    """Return an environment without anything of ours: only where programs are, and which protocol the client speaks."""
    found = git_program.environment()
    asked = request.headers.get("git-protocol", "")
    return {**found, "GIT_PROTOCOL": asked} if _VERSION.fullmatch(asked) else found


async def _feed(stdin: asyncio.StreamWriter | None, asked: bytes) -> None:
    if stdin is None:  # there is nothing to say
        return
    try:
        stdin.write(asked)
        await stdin.drain()
    except (ConnectionError, RuntimeError):  # uvloop's word for a pipe whose reader is gone
        pass  # it has read what it wanted, and says so itself
    finally:
        stdin.close()


async def _body(request: Request) -> bytes:
    """Return the body, which the door bounds, unpacked if it is packed, which is bounded too."""
    data = await request.body()
    coding = request.headers.get("content-encoding", "identity")
    if coding in ("gzip", "x-gzip"):
        unpacking: Any = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            data = unpacking.decompress(data, limits.MAX_ASKED_OF_GIT)
        except zlib.error:
            raise ArgumentError("the request is not gzip", parameter="content-encoding") from None
        if unpacking.unconsumed_tail:
            raise TooLargeError(f"the request is over {limits.MAX_ASKED_OF_GIT} bytes")
    elif coding != "identity":
        raise ArgumentError(f"{coding[:40]!r} is no coding that is known here", parameter="content-encoding")
    return data


def _references(folder: Path) -> str:
    """Return branches and tags as the dumb protocol lists them."""
    found = Repository(folder, is_durable=False).references()
    return "".join(f"{commit}\t{name}\n" for name, commit in sorted(found.items()))
