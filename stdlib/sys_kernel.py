"""``sys.*`` of the kernel's settings below /proc/sys.

At tier ``observe`` only what every user of the host may read is told: the keys of TCP fast open and the secrets that
addresses are made of lie there too, readable by root alone.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

from policies.model import Facts
from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import trees
from stdlib.call_specs import Decided
from stdlib.declaring import call
from stdlib.host import Host
from stdlib.parameters import Length
from stdlib.sysctls import KEY, MAX_KEY_CHARACTERS, VALUE, key_of, relative_path

MAX_KEYS = 3_000  # of one branch; a host with fifty interfaces has 10,000 in all
_MAX_DEPTH = 8


@call(
    "sys.sysctl",
    tier=Tier.OBSERVE,
    lua='local type = sys.sysctl("kernel.ostype")',
    python='type = sys.sysctl("kernel.ostype")',
)
def sysctl(host: Host, key: Annotated[str, Length(MAX_KEY_CHARACTERS), KEY]) -> str | dict[str, str]:
    """Return the value of the kernel's setting ``key`` as text; of a branch such as ``vm``, a map of all below it.

    A dot within a name is written as a slash. A branch gives at most 3000 settings. Settings that only root may read
    are denied, and left out of a branch. Source: /proc/sys.
    """
    root = f"{host.proc}/sys"
    path = f"{root}/{relative_path(key)}"
    try:
        status = os.lstat(path)
    except OSError:
        raise NotFoundError(f"this kernel has no setting {key!r:.80}") from None
    if stat.S_ISDIR(status.st_mode):
        rows = ((key_of(found.removeprefix(f"{root}/")), trees.value(found)) for found in _files(path, _MAX_DEPTH))
        return {name: value for (name, value), _ in zip(rows, range(MAX_KEYS), strict=False) if value is not None}
    if not _is_public(status):
        raise DeniedError(f"{key} can be read by root only", rule="sys.sysctl: what any user may read")
    try:
        return trees.read(path, 64 << 10, follow=False).text.rstrip("\n")
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from None


def _is_public(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IROTH)


def _files(place: str, depth: int) -> Iterator[str]:
    """Yield the files below a directory that anybody may read, by name; no links, so nothing outside of it."""
    for name in trees.names(place):
        path = f"{place}/{name}"
        with suppress(OSError):  # an interface may go away meanwhile, and its settings with it
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and depth:
                yield from _files(path, depth - 1)
            elif _is_public(status):
                yield path


def _decide(host: Host, arguments: Mapping[str, Any]) -> Decided:
    """A rule may name settings as ``commands`` and values as ``arguments``."""
    del host
    return Decided((Facts(command=arguments["key"], arguments=(arguments["value"],)),))


@call(
    "sys.sysctl_set",
    tier=Tier.ADMIN,
    changes=True,
    decides=_decide,
    lua='local done = sys.sysctl_set("vm.swappiness", "10")',
    python='done = sys.sysctl_set("vm.swappiness", "10")',
)
def sysctl_set(
    host: Host, key: Annotated[str, Length(MAX_KEY_CHARACTERS), KEY], value: Annotated[str, Length(1024), VALUE]
) -> dict[str, Any]:
    """Set the kernel's setting ``key`` to ``value`` until the next boot.

    Returns ``before`` and ``after`` (nothing where only root may read it). Source: /proc/sys.

    Raises:
        ArgumentError: The kernel does not take that value.
        NotFoundError: There is no such setting.
        UnavailableError: It cannot be written (systemd's ProtectKernelTunables).
    """
    path = f"{host.proc}/sys/{relative_path(key)}"
    before = _public_value(path)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_TRUNC)
        try:
            os.write(fd, f"{value}\n".encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)
    except OSError as error:
        raise _refusal(error, key) from None
    return {"before": before, "after": _public_value(path)}


def _public_value(path: str) -> str | None:
    try:
        return trees.value(path) if _is_public(os.lstat(path)) else None
    except OSError:
        return None


def _refusal(error: OSError, key: str) -> ArgumentError | NotFoundError | UnavailableError:
    if error.errno == errno.ENOENT:
        return NotFoundError(f"this kernel has no setting {key!r:.80}")
    if error.errno in (errno.EINVAL, errno.ERANGE):
        return ArgumentError(f"value: the kernel does not take it for {key}", parameter="value")
    if error.errno in (errno.EISDIR, errno.ELOOP):
        return ArgumentError(f"key: {key} is a branch", parameter="key")
    return UnavailableError(f"{key} cannot be set: {error.strerror}")
