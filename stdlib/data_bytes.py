"""Calls of the worker's own on texts and bytes: patterns, encodings, hashes, compression. Done in ``sandbox.pure``."""

from __future__ import annotations

from typing import Annotated

from stdlib.data import both
from stdlib.declaring import local
from stdlib.parameters import Bounds, Data

MATCHES = Bounds(1, 10_000, "matches")


@local("regex.test", result="bool", **both('is_error = regex.test("(?i)error|fail", "it Failed")'))
def regex_test(pattern: str, text: Data) -> None:
    """Tell whether ``pattern`` matches anywhere in ``text``. The syntax is that of RE2: see ``docs/data.md``."""


@local(
    "regex.find", result="dict[str, Any] | None", **both('found = regex.find("(?P<key>[a-z]+)=([0-9]+)", "free=12")')
)
def regex_find(pattern: str, text: Data) -> None:
    """Return the leftmost match as ``{text, groups, names}``, or nothing.

    ``groups`` are all groups in order, ``names`` those that have a name; a group that took no part is nothing. If
    ``text`` is bytes that are not UTF-8, so is what is returned.
    """


@local("regex.find_all", result="list[dict[str, Any]]", **both('numbers = regex.find_all("[0-9]+", "12 of 40")'))
def regex_find_all(pattern: str, text: Data, limit: Annotated[int, MATCHES] = 1000) -> None:
    """Return the first ``limit`` matches that do not overlap, as ``regex.find`` returns one."""


@local("regex.split", result="list[str]", **both('words = regex.split("[ ,]+", "a, b c")'))
def regex_split(pattern: str, text: Data, limit: Annotated[int, MATCHES] = 10_000) -> None:
    """Return what stands between the first ``limit`` matches, and after the last of them."""


@local("regex.replace", result="str", **both('text = regex.replace("([a-z]+)=", "free=12", "$1: ")'))
def regex_replace(pattern: str, text: Data, replacement: str, limit: Annotated[int, MATCHES] = 10_000) -> None:
    """Return ``text`` with its first ``limit`` matches replaced.

    In the replacement, ``$0`` to ``$9``, ``${12}`` and ``${name}`` are groups and ``$$`` is a dollar.
    """


@local("regex.escape", result="str", **both('pattern = regex.escape("a.b")'))
def regex_escape(text: str) -> None:
    """Return a pattern that matches just ``text``."""


@local("base64.encode", result="str", **both('text = base64.encode("abc")'))
def base64_encode(data: Data, url: bool = False, padding: bool = True) -> None:
    """Return text for bytes (RFC 4648), on one line; with ``url`` in the alphabet for URLs and file names."""


@local("base64.decode", result="bytes", **both('data = base64.decode("YWJj")'))
def base64_decode(text: str, url: bool = False, padding: bool = True) -> None:
    """Return the bytes that ``text`` stands for. Strict: line breaks and all but the canonical form are refused.

    With ``padding`` false there must be none.
    """


@local("hex.encode", result="str", **both('digits = hex.encode("abc")'))
def hex_encode(data: Data) -> None:
    """Return two digits in lower case for each byte."""


@local("hex.decode", result="bytes", **both('data = hex.decode("616263")'))
def hex_decode(text: str) -> None:
    """Return the bytes of the digits in ``text``, of either case; nothing may stand between them."""


@local("digest.sha256", result="str", **both('digits = digest.sha256("abc")'))
def digest_sha256(data: Data) -> None:
    """Return the SHA-256 hash of bytes, in hexadecimal digits; ``hex.decode`` gives its bytes."""


@local("digest.sha512", result="str", **both('digits = digest.sha512("abc")'))
def digest_sha512(data: Data) -> None:
    """Return the SHA-512 hash of bytes, in hexadecimal digits."""


@local("digest.sha1", result="str", **both('digits = digest.sha1("abc")'))
def digest_sha1(data: Data) -> None:
    """Return the SHA-1 hash of bytes, in hexadecimal digits. It is broken: only for what others hashed with it."""


@local("digest.md5", result="str", **both('digits = digest.md5("abc")'))
def digest_md5(data: Data) -> None:
    """Return the MD5 hash of bytes, in hexadecimal digits. It is broken: only for what others hashed with it."""


@local(
    "digest.blake2b",
    result="str",
    lua='local digits = digest.blake2b("abc", {size = 32})',
    python='digits = digest.blake2b("abc", size=32)',
)
def digest_blake2b(data: Data, size: Annotated[int, Bounds(1, 64, "bytes")] = 64) -> None:
    """Return the BLAKE2b hash of bytes, in hexadecimal digits; ``size`` is that of the hash."""


@local("hmac.sha256", result="str", **both('digits = hmac.sha256("key", "text")'))
def hmac_sha256(key: Data, data: Data) -> None:
    """Return the hash of bytes under a key (RFC 2104), in hexadecimal digits."""


@local("hmac.sha512", result="str", **both('digits = hmac.sha512("key", "text")'))
def hmac_sha512(key: Data, data: Data) -> None:
    """Return the hash of bytes under a key, in hexadecimal digits."""


@local("hmac.sha1", result="str", **both('digits = hmac.sha1("key", "text")'))
def hmac_sha1(key: Data, data: Data) -> None:
    """Return the hash of bytes under a key, in hexadecimal digits; only for what others made with it."""


@local("hmac.equal", result="bool", **both('is_equal = hmac.equal("6b65", "6b65")'))
def hmac_equal(first: Data, second: Data) -> None:
    """Tell whether two texts or bytes are equal, in a time that does not tell where they differ."""


@local("gzip.compress", result="bytes", **both('data = gzip.compress("abc")'))
def gzip_compress(data: Data, level: Annotated[int, Bounds(1, 9)] = 6) -> None:
    """Return bytes in gzip's format, without a name or a time: equal bytes give equal ones."""


@local("gzip.decompress", result="bytes", **both('data = gzip.decompress(gzip.compress("abc"))'))
def gzip_decompress(data: Data, most: Annotated[int, Bounds(1, 8 << 20, "bytes")] = 8 << 20) -> None:
    """Return what gzip's format holds; ``too_large`` if that is more than ``most`` bytes, found out on the way."""
