"""Script versions in a bare git repository: one commit for each publication, one tag for each version.

- The bundle of ``checks/cpu`` version 1.2.0 lies below ``checks/cpu/`` of the commit that the tag ``checks/cpu@1.2.0``
  names. The branch ``main`` holds the newest version of everything, so people can read history and differences.
- A version that does not become the newest of its script (a correction of an older line) has a commit and a tag, and
  ``main`` stays.
- Git is written before the database, which decides what is published. A crash between the two leaves a tag that no row
  names; :meth:`Repository.reconcile` takes it away when the server starts, and publishing again writes over it.
- A script's folder holds its own files and no other script: publishing one must never take another from ``main``.
- What is read is only bytes: the digest is verified each time they are read from git.
- Nothing of a bundle can hide git's own files: a path with a part ``.git`` is refused.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pygit2

from protocol.bundle import MANIFEST, Bundle
from protocol.errors import ArgumentError, ConflictError, NotFoundError, OutriderError, TrustError, UnavailableError

BRANCH = "refs/heads/main"
CACHED_BUNDLES = 32  # of at most 4 MiB each; a fleet asks for the same few
MAX_TAG_BYTES = 200  # of the last part of a tag, which is a file's name while git writes it; Linux allows 255
_LIBC = ctypes.CDLL(None, use_errno=True)


class Repository:
    """The repository at ``path``; made if it is not there. Safe to use from several threads.

    Args:
        path: Of the bare repository.
        is_durable: Whether publishing waits for the disk.
        branch: That holds the newest version of everything.
    """

    def __init__(self, path: Path, *, is_durable: bool = True, branch: str = BRANCH) -> None:
        self._path = path
        self._branch = branch
        self._is_durable = is_durable  # False: it can be made anew from another one
        self._lock = threading.Lock()  # a repository object of libgit2 is not thread-safe
        is_new = not path.exists()
        self._git = pygit2.init_repository(str(path), bare=True, initial_head="main") if is_new else _open(path)
        self._cache: OrderedDict[str, Bundle] = OrderedDict()

    def publish(
        self,
        bundle: Bundle,
        author: str,
        publication: str,
        *,
        owners: Sequence[str] = (),
        is_newest: bool = True,
        is_new: bool = False,
        time_s: int | None = None,
    ) -> str:
        """Commit a bundle and tag its version; return the commit's id. The same again changes nothing.

        Args:
            bundle: Verified.
            author: Name of who signed it.
            publication: The signed statement, kept in the commit's message.
            owners: Of the script, kept there too.
            is_newest: Whether ``main`` shall hold it.
            is_new: The database knows of no such version, so what is tagged so was left by a crash.
            time_s: When it was published, in seconds since 1970; now if it is None.

        Raises:
            ConflictError: The version is there with other files, or the name lies in another script or around one.
            ArgumentError: A path or the version cannot be in a git repository.
        """
        name, version = bundle.manifest.name, bundle.manifest.version
        _check_paths(bundle.files)
        _check_tag(name, version)
        with self._lock:
            tree = self._tree(bundle.files)
            tagged = self._tagged(name, version)
            if tagged is not None:
                if _at(tagged, name).id == tree:
                    return str(tagged.id)
                if not is_new:
                    raise ConflictError(f"{name} {version} is published with other files")
                self._git.references.delete(_tag(name, version))
            head = self._head()
            if head is not None:
                _check_place(head.tree, name)
            root = self._insert(None if head is None else head.tree, name.split("/"), tree)
            who = pygit2.Signature(_signable(author), "author@outrider.invalid", time_s or int(time.time()), 0)
            owned = f"Owners: {', '.join(map(_signable, owners))}\n" if owners else ""
            message = f"{name} {version}\n\n{bundle.digest}\n{owned}{publication}\n"
            parents = [] if head is None else [head.id]
            branch = self._branch if is_newest else None
            commit = self._git.create_commit(branch, who, who, message, root, parents)
            self._git.references.create(_tag(name, version), commit)
            if self._is_durable:
                _synchronise(self._path)
            return str(commit)

    def bundle(self, name: str, version: str, digest: str) -> Bundle:
        """Return a published bundle, verified against ``digest``.

        Raises:
            NotFoundError: It is not there.
            TrustError: ``wrong_digest``: somebody changed the repository.
        """
        with self._lock:
            if digest in self._cache:
                self._cache.move_to_end(digest)
                return self._cache[digest]
            commit = self._tagged(name, version)
            if commit is None:
                raise NotFoundError(f"{name} {version} is not in the repository")
            files = dict(self._files(_at(commit, name), ""))
        try:
            bundle = Bundle.from_files(files)
        except OutriderError as error:  # what was published was whole
            raise TrustError(f"the repository holds another {name} {version}: {error}", reason="wrong_digest") from None
        bundle.verify(digest)
        with self._lock:
            self._cache[digest] = bundle
            if len(self._cache) > CACHED_BUNDLES:
                self._cache.popitem(last=False)
        return bundle

    def has(self, name: str, version: str) -> bool:
        """Tell whether a version is there."""
        with self._lock:
            return self._tagged(name, version) is not None

    def tags(self) -> frozenset[str]:
        """Return the versions that are there, as ``<name>@<version>``."""
        with self._lock:
            return frozenset(each[10:] for each in self._git.references if each.startswith("refs/tags/"))

    def references(self) -> dict[str, str]:
        """Return the commit of every branch and tag."""
        with self._lock:
            return {each: str(self._git.references[each].peel(pygit2.Commit).id) for each in self._git.references}

    def main(self) -> str | None:
        """Return the commit of the branch ``main``; None while nothing is published."""
        with self._lock:
            head = self._head()
        return None if head is None else str(head.id)

    def reconcile(self, known: Mapping[str, str]) -> int:
        """Take away what a crash left: tags of versions that were not published, and what ``main`` holds of them.

        Args:
            known: The commit of every published version, by ``<name>@<version>``.

        Returns:
            How many tags were taken away.
        """
        prefix, commits = "refs/tags/", frozenset(known.values())
        with self._lock:
            left = [each for each in self._git.references if each.startswith(prefix) and each[10:] not in known]
            for reference in left:
                self._git.references.delete(reference)
            head = newest = self._head()
            while newest is not None and str(newest.id) not in commits:
                newest = newest.parents[0] if newest.parents else None
            if head is not None and newest is None:
                self._git.references.delete(BRANCH)
            elif head is not None and newest is not None and newest.id != head.id:
                self._git.references.create(BRANCH, newest.id, force=True)
        return len(left)

    # git ---------------------------------------------------------------------------------------------------------

    def _head(self) -> pygit2.Commit | None:
        reference = self._git.references.get(self._branch)
        return None if reference is None else reference.peel(pygit2.Commit)

    def _tagged(self, name: str, version: str) -> pygit2.Commit | None:
        reference = self._git.references.get(_tag(name, version))
        return None if reference is None else reference.peel(pygit2.Commit)

    def _tree(self, files: Mapping[str, bytes]) -> pygit2.Oid:
        """Write ``files`` and return their tree."""
        builder = self._git.TreeBuilder()
        below: dict[str, dict[str, bytes]] = {}
        for path, content in files.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = content
            else:
                builder.insert(first, self._git.create_blob(content), pygit2.enums.FileMode.BLOB)
        for first, inner in below.items():
            builder.insert(first, self._tree(inner), pygit2.enums.FileMode.TREE)
        return builder.write()

    def _insert(self, tree: pygit2.Tree | None, parts: list[str], leaf: pygit2.Oid) -> pygit2.Oid:
        """Return ``tree`` with ``leaf`` in the place of what lies at ``parts``."""
        builder = self._git.TreeBuilder(tree) if tree is not None else self._git.TreeBuilder()
        if len(parts) > 1:
            inner = tree[parts[0]] if tree is not None and parts[0] in tree else None
            leaf = self._insert(inner if isinstance(inner, pygit2.Tree) else None, parts[1:], leaf)
        builder.insert(parts[0], leaf, pygit2.enums.FileMode.TREE)
        return builder.write()

    def _files(self, tree: pygit2.Tree, prefix: str) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for entry in tree:
            path = f"{prefix}{entry.name}"
            if isinstance(entry, pygit2.Tree):
                found += self._files(entry, path + "/")
            elif isinstance(entry, pygit2.Blob):
                found.append((path, entry.data))
            else:
                raise TrustError(f"the repository holds something at {path} that is no file", reason="wrong_digest")
        return found


def _synchronise(path: Path) -> None:
    """Return when all that was written below ``path`` is on the disk; the database will name it.

    One call for the whole file system takes a tenth of what git's own care for each of a dozen files does (syncfs(2)).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise UnavailableError(f"the repository cannot be written: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def _open(path: Path) -> pygit2.Repository:
    return pygit2.Repository(str(path))


def _tag(name: str, version: str) -> str:
    return f"refs/tags/{name}@{version}"


def _at(commit: pygit2.Commit, name: str) -> pygit2.Tree:
    tree = _find(commit.tree, name)
    if not isinstance(tree, pygit2.Tree):
        raise TrustError(f"the repository holds no folder {name} where it was published", reason="wrong_digest")
    return tree


def _find(tree: pygit2.Tree, path: str) -> pygit2.Object | None:
    try:
        return tree[path]
    except KeyError:
        return None


def _check_paths(files: Mapping[str, bytes]) -> None:
    for path in files:
        if any(part.lower().rstrip(". ") in (".git", "git~1") for part in path.split("/")):
            raise ArgumentError(f"the path {path!r} in the bundle is git's own", parameter="path")


def _check_tag(name: str, version: str) -> None:
    tag = _tag(name, version)
    if len(tag.rpartition("/")[2]) > MAX_TAG_BYTES or not pygit2.reference_is_valid_name(tag):
        raise ArgumentError(
            f"the version {version[:80]!r} is too long, or holds .. or ends with . or .lock", parameter="version"
        )


def _check_place(tree: pygit2.Tree, name: str) -> None:
    """Refuse a name that lies in the folder of a script or is a folder of scripts."""
    parts = name.split("/")
    for depth in range(1, len(parts)):
        around = "/".join(parts[:depth])
        if _find(tree, f"{around}/{MANIFEST}") is not None:
            raise ConflictError(f"{name} lies in {around}, which is a script")
    if _find(tree, name) is not None and _find(tree, f"{name}/{MANIFEST}") is None:
        raise ConflictError(f"{name} is a folder of other scripts")


def _signable(author: str) -> str:
    """Return a name as git can write it: without its own marks and what would begin another line."""
    return "".join(character if character.isprintable() and character not in "<>" else "_" for character in author)
