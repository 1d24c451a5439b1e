"""Script versions in a bare git repository: one commit for each publication, one tag for each version.

- The bundle of ``checks/cpu`` version 1.2.0 lies below ``checks/cpu/`` of the commit that the tag ``checks/cpu@1.2.0``
  names. The branch ``main`` holds the newest version of everything, so people can read history and differences.
- Git is written before the database. A crash between the two leaves a tag that no row names; publishing again finds the
  same tree and goes on.
- What is read is only bytes: the caller verifies the digest each time.
- Nothing of a bundle can hide git's own files: a path with a part ``.git`` is refused.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pygit2

from protocol.bundle import Bundle
from protocol.errors import ArgumentError, ConflictError, InternalError, NotFoundError

BRANCH = "refs/heads/main"
CACHED_BUNDLES = 32  # of at most 4 MiB each; a fleet asks for the same few


class Repository:
    """The repository at ``path``; made if it is not there. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()  # a repository object of libgit2 is not thread-safe
        is_new = not path.exists()
        self._git = pygit2.init_repository(str(path), bare=True, initial_head="main") if is_new else _open(path)
        self._cache: OrderedDict[str, Bundle] = OrderedDict()

    def publish(self, bundle: Bundle, author: str, publication: str) -> str:
        """Commit a bundle and tag its version; return the commit's id. The same again changes nothing.

        Args:
            bundle: Verified.
            author: Name of who signed it.
            publication: The signed statement, kept in the commit's message.

        Raises:
            ConflictError: The version is there with other files.
            ArgumentError: A path cannot be in a git repository.
        """
        name, version = bundle.manifest.name, bundle.manifest.version
        _check_paths(bundle.files)
        with self._lock:
            tree = self._tree(bundle.files)
            tagged = self._tagged(name, version)
            if tagged is not None:
                if _at(tagged, name).id != tree:
                    raise ConflictError(f"{name} {version} is published with other files")
                return str(tagged.id)
            head = self._head()
            root = self._insert(None if head is None else head.tree, name.split("/"), tree)
            who = pygit2.Signature(author, "author@outrider.invalid")
            message = f"{name} {version}\n\n{bundle.digest}\n{publication}\n"
            parents = [] if head is None else [head.id]
            commit = self._git.create_commit(BRANCH, who, who, message, root, parents)
            self._git.references.create(_tag(name, version), commit)
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
        bundle = Bundle.from_files(files)
        bundle.verify(digest)
        with self._lock:
            self._cache[digest] = bundle
            if len(self._cache) > CACHED_BUNDLES:
                self._cache.popitem(last=False)
        return bundle

    # git ---------------------------------------------------------------------------------------------------------

    def _head(self) -> pygit2.Commit | None:
        reference = self._git.references.get(BRANCH)
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
                raise InternalError(f"the repository holds something at {path} that is no file")
        return found


def _open(path: Path) -> pygit2.Repository:
    return pygit2.Repository(str(path))


def _tag(name: str, version: str) -> str:
    return f"refs/tags/{name}@{version}"


def _at(commit: pygit2.Commit, name: str) -> pygit2.Tree:
    tree = commit.tree[name]
    if not isinstance(tree, pygit2.Tree):
        raise InternalError(f"the repository holds no folder {name}")
    return tree


def _check_paths(files: Mapping[str, bytes]) -> None:
    for path in files:
        if any(part.lower().rstrip(". ") in (".git", "git~1") for part in path.split("/")):
            raise ArgumentError(f"the path {path!r} in the bundle is git's own", parameter="path")
