"""``outrider blob``: bytes by their SHA-256, to and from the server, for scripts (fs.fetch, fs.extract) and from them.

A file is read once for its hash and once to be sent. What comes is checked against the hash that was asked for before
it gets its name; what broke off goes on.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from cli.ages import day
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand
from cli.output import Column, counted, field
from cli.values import sure
from protocol.errors import ArgumentError, TrustError, UnavailableError
from protocol.transfer import PIECE_BYTES, PREFIX, blob_hash


def _sources(blob: dict[str, Any]) -> str:
    return " ".join(f"{source['who']}:{source['name'] or '-'}" for source in blob["sources"])


COLUMNS = (
    field("hash", "hash"),
    field("bytes", "size", is_number=True),
    Column("from", _sources),
    Column("put", lambda blob: day(blob["created"])),
    Column("until", lambda blob: day(blob["expires"])),
)


@click.group(cls=Group)
def noun() -> None:
    """Files that scripts and people put on the server, by their SHA-256."""


@noun.command("ls", cls=ServerCommand)
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@pass_invocation
def ls(invocation: Invocation, limit: int) -> None:
    """List blobs, the newest first: who put them there, and how long they are kept.

    \b
    Examples:
      outrider blob ls
      outrider blob ls --json
    """
    invocation.output.table(invocation.api.items("blobs", limit=limit), COLUMNS, empty="no blobs")


@noun.command("put", cls=ServerCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it [default: the name of FILE].")
@pass_invocation
def put(invocation: Invocation, file: Path, name: str | None) -> None:
    """Put a file on the server and print its hash, which scripts fetch it by. What broke off goes on where it ended.

    \b
    Examples:
      outrider blob put site.tar.gz
      outrider run web-1 deploy/site --arg bundle=$(outrider blob put site.tar.gz)
    """
    told = from_file(invocation, file, name)
    if invocation.as_json:
        invocation.output.data(told)
    else:
        click.echo(told["hash"])
        invocation.output.say(f"{counted(told['size'], 'byte')}, kept until {day(told['expires'])}")


@noun.command("get", cls=ServerCommand)
@click.argument("blob", metavar="HASH")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="File to write; - for stdout.")
@pass_invocation
def get(invocation: Invocation, blob: str, target: Path | None) -> None:
    """Get a blob, whole and with the right hash or not at all. What broke off goes on where it ended.

    \b
    Examples:
      outrider blob get sha256:9f86d0... -o site.tar.gz
      outrider blob get sha256:9f86d0... | tar tz
    """
    wanted = blob_hash(blob, parameter="HASH")
    if target is None and sys.stdout.isatty():
        raise click.UsageError("A blob is not for a terminal: use -o FILE, or a pipe.")
    if target is None or str(target) == "-":
        to_stdout(invocation, wanted)
        return
    try:
        size = to_file(invocation, wanted, target)
    except OSError as error:
        raise UnavailableError(f"{error.filename or target} cannot be written: {error.strerror}") from None
    if invocation.as_json:
        invocation.output.data({"hash": wanted, "size": size, "file": str(target)})
    else:
        invocation.output.say(f"{target}: {counted(size, 'byte')}")


@noun.command("rm", cls=ServerCommand)
@click.argument("blob", metavar="HASH")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def rm(invocation: Invocation, blob: str, yes: bool) -> None:
    """Take a blob away. What others have put there is for administrators to remove.

    \b
    Examples:
      outrider blob rm sha256:9f86d0... --yes
    """
    wanted = blob_hash(blob, parameter="HASH")
    sure(invocation, f"Remove the blob {wanted}?", yes)
    invocation.api.delete(f"blobs/{wanted}")
    if invocation.as_json:
        invocation.output.data({"removed": wanted})
    else:
        invocation.output.say(f"removed {wanted}")


def from_file(invocation: Invocation, file: Path, name: str | None) -> dict[str, Any]:
    """Put a file on the server as a blob, from where it broke off before, and return what the server says of it.

    Raises:
        ArgumentError: The file cannot be read.
    """
    try:
        with file.open("rb") as opened:
            digest, size = hash_of(opened)
            there = int(invocation.api.get(f"blobs/{digest}/arrived", size=size)["arrived"])
            if there:
                invocation.output.say(f"{counted(there, 'byte')} of {size:,} are there already")
            opened.seek(there)
            called = file.name if name is None else name
            return dict(invocation.api.upload(f"blobs/{digest}", pieces(opened), size, offset=there, name=called))
    except OSError as error:
        raise ArgumentError(f"cannot be read: {error.strerror}", where=str(file)) from None


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what is left of a file."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def hash_of(file: IO[bytes]) -> tuple[str, int]:
    """Return the hash and size of what is left of a file."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces(file):
        digest.update(piece)
        size += len(piece)
    return PREFIX + digest.hexdigest(), size


def to_stdout(invocation: Invocation, wanted: str) -> None:
    """Write a blob to standard output; ``TrustError`` at its end if it was another one."""
    digest = hashlib.sha256()
    for piece in invocation.api.download(f"blobs/{wanted}"):
        digest.update(piece)
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    _check(digest, wanted)


def to_file(invocation: Invocation, wanted: str, target: Path) -> int:
    """Write beside the target, check, then give it its name; return how many bytes that was."""
    part = target.with_name(f".{target.name}.{wanted.removeprefix(PREFIX)[:16]}.part")
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "r+b") as file:
        digest = hashlib.sha256()
        for piece in pieces(file):
            digest.update(piece)
        if PREFIX + digest.hexdigest() != wanted:
            for piece in invocation.api.download(f"blobs/{wanted}", file.tell()):
                digest.update(piece)
                file.write(piece)
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    try:
        _check(digest, wanted)
    except TrustError:
        part.unlink()
        raise
    umask = os.umask(0)
    os.umask(umask)
    part.chmod(0o666 & ~umask)
    part.replace(target)
    return size


def _check(digest: Any, wanted: str) -> None:
    if PREFIX + digest.hexdigest() != wanted:
        raise TrustError("what the server sent does not have the hash that was asked for", reason="wrong_digest")
