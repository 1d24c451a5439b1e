"""A script version: its files, addressed by the SHA-256 of their canonical listing.

The listing is ``outrider-bundle-v1`` and one line ``<sha256> <size> <path>`` for each file, sorted by the bytes of the
path. Paths are strict, because a bundle is unpacked on many machines: relative, plain, and no two alike when case is
ignored.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from protocol import limits
from protocol.errors import ArgumentError, ProtocolError, TooLargeError, TrustError
from protocol.frames import decode, encode
from protocol.manifest import Manifest, parse

MANIFEST = "manifest.yaml"
_HEADER = b"outrider-bundle-v1\n"


class Bundle:
    """Checked files with a parsed manifest; never changes."""

    def __init__(self, files: Mapping[str, bytes], manifest: Manifest) -> None:
        self.files: Mapping[str, bytes] = MappingProxyType(dict(files))  # path -> content
        self.manifest = manifest

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Bundle:
        """Return the bundle of ``files``.

        Raises:
            ArgumentError: A path is not plain, the manifest or its main file is missing, or the manifest is wrong.
            TooLargeError: Too many files or bytes.
        """
        if len(files) > limits.MAX_BUNDLE_FILES:
            raise TooLargeError(f"a bundle holds more than {limits.MAX_BUNDLE_FILES} files")
        total = sum(len(content) for content in files.values())
        if total > limits.MAX_BUNDLE_BYTES:
            raise TooLargeError(f"a bundle of {total} bytes is over the limit of {limits.MAX_BUNDLE_BYTES}")
        _check_paths(files)
        if MANIFEST not in files:
            raise ArgumentError(f"the bundle holds no {MANIFEST}")
        manifest = parse(_text(files[MANIFEST]))
        if manifest.main not in files:
            raise ArgumentError(f"the bundle holds no {manifest.main}, which the manifest names", where="main")
        return cls(files, manifest)

    @cached_property
    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of the canonical listing in hexadecimal."""
        lines = [_HEADER]
        for path in sorted(self.files, key=lambda item: item.encode("utf-8")):
            content = self.files[path]
            head = f"{hashlib.sha256(content).hexdigest()} {len(content)} "
            lines.append(head.encode() + path.encode("utf-8") + b"\n")
        return "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()

    def pack(self) -> bytes:
        """Return the bundle as bytes for the wire."""
        files = {path: self.files[path] for path in sorted(self.files)}
        return encode(files, max_bytes=2 * limits.MAX_BUNDLE_BYTES)

    @classmethod
    def unpack(cls, packed: bytes) -> Bundle:
        """Return the bundle that ``packed`` holds; trust it only after :meth:`verify`.

        Raises:
            ProtocolError: Not a packed bundle.
            ArgumentError: As :meth:`from_files`.
        """
        files = decode(
            packed, max_bytes=2 * limits.MAX_BUNDLE_BYTES, max_depth=1, max_items=2 * limits.MAX_BUNDLE_FILES + 1
        )
        if type(files) is not dict or not all(type(content) is bytes for content in files.values()):
            raise ProtocolError("not a packed bundle")
        return cls.from_files(files)

    def verify(self, expected_digest: str) -> None:
        """Return if this is the bundle that ``expected_digest`` names.

        Raises:
            TrustError: ``wrong_digest``.
        """
        if self.digest != expected_digest:
            raise TrustError(f"the bundle is {self.digest}, not {expected_digest[:80]}", reason="wrong_digest")


def _check_paths(files: Mapping[str, bytes]) -> None:
    seen: dict[str, str] = {}
    for path in files:
        problem = path_problem(path)
        if problem:
            raise ArgumentError(f"the path {path[:120]!r} in the bundle {problem}", parameter="path")
        folded = unicodedata.normalize("NFC", path.casefold())
        if folded in seen:
            raise ArgumentError(
                f"the paths {seen[folded]!r} and {path!r} differ only in case or form", parameter="path"
            )
        seen[folded] = path
    for path in seen:
        parents = path.split("/")
        for depth in range(1, len(parents)):
            if "/".join(parents[:depth]) in seen:
                raise ArgumentError(f"{path!r} lies below a path that is a file", parameter="path")


def is_left_out(name: str) -> bool:
    """Tell whether a file or directory of this name is not part of a bundle, wherever the script lies."""
    return name.startswith(".") or name.endswith("~") or name == "__pycache__"


def path_problem(path: str) -> str | None:
    """Return what is wrong with a path in a bundle, or None."""
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not path or size > limits.MAX_PATH_BYTES:
        return "is empty or too long"
    if path.startswith("/") or "\\" in path:
        return "is not relative"
    if not path.isprintable():  # also what turns the direction of writing round, and spaces that look like others
        return "holds a control or invisible character"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "has an empty, . or .. part"
    return None


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"is not UTF-8 (byte {error.start})", where=MANIFEST) from None
