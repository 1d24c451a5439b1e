"""What of the script repository whom may clone: repositories of their own, with the objects that a reader may have.

- Git may give whoever asks any object that it holds (protocol version 2 allows it to be asked for by its id), and a
  history holds what a later commit took away. So what somebody may not read is not in the repository that they are
  served from: no filter, no alternates.
- ``account.git`` holds every version that is not private, ``public.git`` those that are public. Both are made from the
  database and the repository of all, can be deleted at any time, and only ever grow: visibility is a version's own.
- Whoever has private scripts gets a repository of their own, ``own/<hash of the principal>.git``: what ``account.git``
  holds, by borrowing its objects, all of which they may have; and a branch ``private`` with their own. It is made anew
  when there is something in it that they may not see any more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from server.repository import Repository
from server.services.visibility import ACCOUNT, PRIVATE, PUBLIC, Viewer, versions_for
from server.store.tables import scripts

FOLDER: Final = "views"
OWN: Final = "own"
PRIVATE_BRANCH: Final = "refs/heads/private"
SHOWN: Final[dict[str, tuple[str, ...]]] = {"account": (ACCOUNT, PUBLIC), "public": (PUBLIC,)}


class Views:
    """The repositories that are served. Safe to use from several threads.

    Args:
        directory: The server's.
        everything: The repository of all versions.
    """

    def __init__(self, directory: Path, everything: Repository) -> None:
        self._folder = directory / FOLDER
        self._everything = everything
        self._lock = threading.Lock()
        self._made: dict[str, Repository] = {}

    def path(self, view: str) -> Path:
        """Return where the repository of a view lies."""
        return self._folder / f"{view}.git"

    def refresh(self, view: str, rows: Sequence[Row[Any]]) -> Path:
        """Bring a view to what is published now and return where it lies.

        Args:
            view: One of SHOWN.
            rows: As :func:`rows_of` gives them.

        Raises:
            OutriderError: A version cannot be read; then the view stays as it was up to there.
        """
        with self._lock:
            if view not in self._made:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._made[view] = Repository(self.path(view), is_durable=False)
            self._add(self._made[view], rows)
        return self.path(view)

    def refresh_own(self, principal: str, shared: Sequence[Row[Any]], own: Sequence[Row[Any]]) -> Path:
        """Bring somebody's own repository to what is published now and return where it lies.

        Args:
            principal: Whose it is.
            shared: What everybody with a token may have, as :func:`rows_of` gives it.
            own: What is private and theirs, as :func:`own_rows` gives it.

        Raises:
            OutriderError: As :meth:`refresh`.
        """
        lender = self.refresh("account", shared)
        path = self._folder / OWN / f"{hashlib.sha256(principal.encode()).hexdigest()[:32]}.git"
        with self._lock:
            lent = self._made["account"].references()
            wanted = {f"{row.name}@{row.version}" for row in own}
            if path.exists() and not _tags_beside(path, lent) <= wanted:
                shutil.rmtree(path)
            if not path.exists():
                _borrow(path, lender)
            made = Repository(path, is_durable=False, branch=PRIVATE_BRANCH)
            self._add(made, own)
            _write_references(path, lent)
        return path

    def _add(self, made: Repository, rows: Sequence[Row[Any]]) -> None:
        """Copy what a repository lacks."""
        tagged = made.tags()
        newest: dict[str, str] = {}
        for row in rows:
            newest[row.name] = max(row.rank, newest.get(row.name, ""))
            if f"{row.name}@{row.version}" not in tagged:
                self._copy(made, row, is_newest=row.rank == newest[row.name])

    def _copy(self, made: Repository, row: Row[Any], *, is_newest: bool) -> None:
        bundle = self._everything.bundle(row.name, row.version, row.digest)
        made.publish(
            bundle, row.author, row.publication, owners=row.owners, is_newest=is_newest, is_new=True,
            time_s=row.published_us // 1_000_000,
        )  # fmt: skip


def rows_of(connection: Connection, view: str) -> list[Row[Any]]:
    """Return the versions that a view holds, oldest first."""
    query = select(scripts).where(scripts.c.visibility.in_(SHOWN[view]), scripts.c.rank != "")
    return list(connection.execute(query.order_by(scripts.c.published_us, scripts.c.digest)))


def own_rows(connection: Connection, viewer: Viewer) -> list[Row[Any]]:
    """Return the private versions that a viewer may see, oldest first."""
    query = select(scripts).where(scripts.c.visibility == PRIVATE, versions_for(viewer), scripts.c.rank != "")
    return list(connection.execute(query.order_by(scripts.c.published_us, scripts.c.digest)))


def _borrow(path: Path, lender: Path) -> None:
    """Make a repository that has the objects of another one, and its own."""
    beside = path.with_name(f"{path.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(mode=0o700, exist_ok=True)
    Repository(beside, is_durable=False)
    (beside / "objects" / "info").mkdir(exist_ok=True)
    (beside / "objects" / "info" / "alternates").write_text(f"{lender / 'objects'}\n")
    beside.rename(path)


def _tags_beside(path: Path, lent: Mapping[str, str]) -> set[str]:
    """Return the versions in a repository that do not come from the lender."""
    return {tag for tag in Repository(path, is_durable=False).tags() if f"refs/tags/{tag}" not in lent}


def _write_references(path: Path, lent: Mapping[str, str]) -> None:
    """Give a repository the branches and tags of the lender, in the one file that gitrepository-layout has for many."""
    lines = ["# pack-refs with: peeled fully-peeled sorted \n"]
    lines += [f"{commit} {name}\n" for name, commit in sorted(lent.items())]
    beside = path / "packed-refs.new"
    beside.write_text("".join(lines))
    os.replace(beside, path / "packed-refs")
