"""The bundles that a local run may require: folders given with ``--library``, each known by its digest alone.

Nothing is signed here, and nothing is fetched. What counts is that a folder has exactly the digest that the manifest
pins, so that what is tried is what will run on hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cli.local.folder import read_bundle
from protocol.bundle import Bundle
from protocol.errors import ArgumentError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES
from protocol.manifest import Manifest, Requirement
from sandbox.modules import Libraries, Library

MAX_BUNDLES: Final = 32  # agent.libraries.MAX_LIBRARIES
WHERE: Final = "--library"


class Shelf:
    """Bundles by digest."""

    def __init__(self, bundles: Iterable[Bundle] = ()) -> None:
        self._bundles = {bundle.digest: bundle for bundle in bundles}

    @classmethod
    def read(cls, folders: Iterable[Path]) -> Shelf:
        """Return the bundles in ``folders``; raises as ``folder.read_bundle``."""
        return cls(read_bundle(folder) for folder in folders)

    def libraries(self, manifest: Manifest, files: Mapping[str, bytes]) -> Libraries:
        """Return what a script requires, directly or not, in its language.

        Raises:
            ArgumentError: Something is not here, or has another name than the manifest says.
            TooLargeError: Too many, or too large together.
        """
        held: dict[str, Library] = {}
        seen: set[str] = set()
        size_bytes = sum(map(len, files.values()))
        waiting = list(manifest.requires)
        while waiting:
            wanted = waiting.pop()
            found = self.bundle(wanted)
            if wanted.digest in seen:
                continue
            seen.add(wanted.digest)
            if len(seen) > MAX_BUNDLES:
                raise TooLargeError(f"{manifest.name} requires more than {MAX_BUNDLES} bundles", where=WHERE)
            inner = found.manifest
            if _family(inner.language) == _family(manifest.language):
                size_bytes += sum(map(len, found.files.values()))
                held[wanted.digest] = Library(inner.name, inner.main, found.files, pins(inner))
                waiting += inner.requires
        if size_bytes > MAX_BUNDLE_BYTES:
            raise TooLargeError(f"{manifest.name} and its libraries have over {MAX_BUNDLE_BYTES} bytes", where=WHERE)
        return Libraries(pins(manifest), held)

    def bundle(self, wanted: Requirement) -> Bundle:
        """Return the bundle that a manifest pins.

        Raises:
            ArgumentError: It is not here, or is called otherwise.
        """
        found = self._bundles.get(wanted.digest)
        if found is None:
            same = [digest for digest, bundle in self._bundles.items() if bundle.manifest.name == wanted.name]
            there = f"the folder of that name has {same[0]}" if same else "no folder has that name"
            raise ArgumentError(f"{wanted.name} {wanted.digest} is required: {there}", where=WHERE)
        if found.manifest.name != wanted.name:
            raise ArgumentError(f"{wanted.name} is required with the digest of {found.manifest.name}", where=WHERE)
        return found


def pins(manifest: Manifest) -> dict[str, str]:
    """Return what a manifest requires, name to digest."""
    return {item.name: item.digest for item in manifest.requires}


def _family(language: str) -> str:
    return "lua" if language == "luajit" else language
