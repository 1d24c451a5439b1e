"""Scripts as they lie on disk: a bundle folder with ``manifest.yaml``, or a bare ``.lua`` or ``.py`` file.

Hidden files, editors' backups and ``__pycache__`` are not part of a bundle; a symbolic link is refused, because what it
points to is not in the folder. Everything is bounded before it is read.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from protocol.bundle import MANIFEST, Bundle, is_left_out
from protocol.errors import ArgumentError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES
from protocol.manifest import Manifest, implied
from protocol.tiers import Tier

BARE_TIER = Tier.OBSERVE  # of a bare file that no flag raises


@dataclass(frozen=True)
class Script:
    """A script ready to be looked at or run."""

    manifest: Manifest
    files: dict[str, bytes]
    is_bare: bool  # there is no manifest: parameters are taken as they come


def read_script(path: Path, tier: Tier | None = None) -> Script:
    """Return the script at ``path``.

    Args:
        path: A bundle folder, or a bare ``.lua`` or ``.py`` file.
        tier: Of a bare file; BARE_TIER unless given. A folder's manifest states its own.

    Raises:
        ArgumentError: It is neither, or cannot be read.
        DocumentError: The manifest is wrong, at the place named.
        TooLargeError: It is over the bounds of a bundle.
    """
    if path.is_dir():
        bundle = read_bundle(path)
        return Script(bundle.manifest, dict(bundle.files), is_bare=False)
    if path.suffix not in {".lua", ".py"}:
        if path.name == MANIFEST:
            return read_script(path.parent, tier)
        problem = "is not a bundle folder, nor a .lua or .py file" if path.exists() else "there is no such script"
        raise ArgumentError(problem, where=str(path))
    data = _read(path, MAX_BUNDLE_BYTES)
    return Script(implied(path.name, BARE_TIER if tier is None else tier), {path.name: data}, is_bare=True)


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in a folder; raises as ``read_script``."""
    if not (folder / MANIFEST).is_file():
        raise ArgumentError(f"holds no {MANIFEST} (make a script with: outrider script new NAME)", where=str(folder))
    files: dict[str, bytes] = {}
    left = MAX_BUNDLE_BYTES
    for path in _paths(folder):
        if len(files) >= MAX_BUNDLE_FILES:
            raise TooLargeError(f"holds more than {MAX_BUNDLE_FILES} files", where=str(folder))
        data = _read(path, left)
        left -= len(data)
        files[path.relative_to(folder).as_posix()] = data
    return Bundle.from_files(files)


def _paths(folder: Path) -> list[Path]:
    found: list[Path] = []
    for at, directories, names in os.walk(folder, onerror=_unreadable):
        directories[:] = sorted(name for name in directories if not is_left_out(name))
        found += [Path(at) / name for name in names if not is_left_out(name)]
        linked = [name for name in directories if (Path(at) / name).is_symlink()]
        if linked:
            raise ArgumentError("is a symbolic link; a bundle holds only files", where=str(Path(at) / linked[0]))
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise ArgumentError(f"cannot be read: {error.strerror}", where=str(error.filename))


def _read(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file that is not a link; a device or pipe would never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        reason = "is a symbolic link; a bundle holds only files" if path.is_symlink() else error.strerror
        raise ArgumentError(f"cannot be read: {reason}", where=str(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ArgumentError("is not a regular file", where=str(path))
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise TooLargeError(f"makes the script larger than {MAX_BUNDLE_BYTES} bytes", where=str(path))
    return data
