"""A script as a commit of the author's own git repository has it, whatever lies in the working tree.

The git program reads it, since it knows every way in which a repository can be stored; nothing of the repository is
executed: no hooks, no filters, no checkout. The same files are left out as in a folder, so both give the same digest.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from protocol.bundle import MANIFEST, Bundle
from protocol.commits import LISTING, bundle_entries
from protocol.errors import ArgumentError, TooLargeError

TIMEOUT_S: Final = 60.0
MAX_LISTED_BYTES: Final = 1 << 20  # of what git lists; 256 files with the longest paths


def read_commit(folder: Path, reference: str) -> tuple[Bundle, str]:
    """Return the bundle below ``folder`` in the commit that ``reference`` names, and that commit's id.

    Args:
        folder: In the working tree of a git repository.
        reference: A branch, tag, commit or whatever else git understands.

    Raises:
        ArgumentError: There is no such commit, it holds no script there, or not only plain files.
        DocumentError: The manifest is wrong, at the place named.
        TooLargeError: It is over the bounds of a bundle.
    """
    if reference.startswith("-"):
        raise ArgumentError(f"{reference!r:.60} is not a commit", where="--from-git")
    named = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    if named is None:
        raise ArgumentError(f"{reference!r:.60} is not a commit of the repository in {folder}", where="--from-git")
    commit = named.decode("ascii").strip()
    prefix = (_git(folder, "rev-parse", "--show-prefix") or b"").rstrip(b"\n")
    listed = _git(folder, *LISTING, commit, "--", prefix.decode() or ".")
    if len(listed or b"") > MAX_LISTED_BYTES:
        raise TooLargeError("the commit lists too many files there")
    entries = bundle_entries(listed or b"", prefix)
    if MANIFEST not in entries:
        raise ArgumentError(f"holds no {MANIFEST} in commit {commit[:12]}", where=str(folder))
    files = {path: _blob(folder, entry.object) for path, entry in entries.items()}
    return Bundle.from_files(files), commit


def _blob(folder: Path, name: str) -> bytes:
    data = _git(folder, "cat-file", "blob", name)
    if data is None:
        raise ArgumentError(f"the object {name[:12]} is missing in the repository", where="--from-git")
    return data


def _git(folder: Path, *words: str) -> bytes | None:
    """Return what git writes; None if it refuses."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *words]
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, and a reference that cannot be an option
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise ArgumentError("git is not installed", where="--from-git") from None
    except subprocess.TimeoutExpired:
        raise ArgumentError("git did not answer in time", where="--from-git") from None
    return done.stdout if done.returncode == 0 else None
