"""How a client proves a password to MySQL and PostgreSQL. Pure: randomness is passed in, and no word goes out in clear.

Sources: MySQL Internals "Authentication Methods" (native password, caching SHA-2), PostgreSQL's documentation chapter
"Password Authentication" (md5), RFC 5802 and RFC 7677 (SCRAM-SHA-256), RFC 4013 (SASLprep).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from typing import Final

from protocol.errors import UnavailableError

MIN_ITERATIONS: Final = 4096  # RFC 7677 section 4
MAX_ITERATIONS: Final = 1_000_000  # half a second of a processor; a hostile server could ask for more
_FIRST: Final = re.compile(r"r=([!-+\--~]{1,256}),s=([A-Za-z0-9+/=]{1,512}),i=([0-9]{1,9})")
_LAST: Final = re.compile(r"v=([A-Za-z0-9+/=]{1,128})(?:,.*)?")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def native(password: bytes, nonce: bytes) -> bytes:
    """Return the answer of ``mysql_native_password`` to a nonce of 20 bytes; nothing for an empty password."""
    if not password:
        return b""
    once = hashlib.sha1(password, usedforsecurity=False).digest()
    twice = hashlib.sha1(once, usedforsecurity=False).digest()
    return _xor(once, hashlib.sha1(nonce + twice, usedforsecurity=False).digest())


def caching_sha2(password: bytes, nonce: bytes) -> bytes:
    """Return the fast answer of ``caching_sha2_password`` to a nonce of 20 bytes; nothing for an empty password."""
    if not password:
        return b""
    once = hashlib.sha256(password).digest()
    twice = hashlib.sha256(once).digest()
    return _xor(once, hashlib.sha256(twice + nonce).digest())


def hidden(password: bytes, nonce: bytes) -> bytes:
    """Return the password with its NUL as it is encrypted for a full exchange of ``caching_sha2_password``."""
    plain = password + b"\0"
    return _xor(plain, (nonce * (len(plain) // len(nonce) + 1))[: len(plain)])


def md5(user: bytes, password: bytes, salt: bytes) -> bytes:
    """Return the answer of PostgreSQL's ``md5`` to a salt of 4 bytes."""
    inner = hashlib.md5(password + user, usedforsecurity=False).hexdigest().encode()
    return b"md5" + hashlib.md5(inner + salt, usedforsecurity=False).hexdigest().encode()


def prepared(password: bytes) -> bytes:
    """Return a password in the form of SASLprep; as it is if it cannot be, as PostgreSQL does."""
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
        stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
        stringprep.in_table_c9, stringprep.in_table_a1,
    )  # fmt: skip
    if not normal or any(table(char) for char in normal for table in prohibited):
        return password
    return normal.encode()


class Scram:
    """A client of SCRAM-SHA-256, without channel binding; PostgreSQL takes the user from elsewhere.

    Args:
        password: As it was given.
        nonce: Fresh, printable, of at least 18 random bytes.
    """

    def __init__(self, password: bytes, nonce: str) -> None:
        self._password = prepared(password)
        self._nonce = nonce
        self._bare = f"n=,r={nonce}"
        self._proof_of_server = b""

    @property
    def first(self) -> bytes:
        """The first message."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the answer to the server's first message.

        Raises:
            UnavailableError: It is none, or asks for too little or too much.
        """
        found = _FIRST.fullmatch(challenge.decode("ascii", "replace"))
        if found is None or not found[1].startswith(self._nonce) or len(found[1]) == len(self._nonce):
            raise UnavailableError("the server does not speak SCRAM")
        try:
            salt, iterations = base64.b64decode(found[2], validate=True), int(found[3])
        except binascii.Error:
            raise UnavailableError("the server does not speak SCRAM") from None
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise UnavailableError(f"the server asks for {iterations} iterations of SCRAM")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={found[1]}"
        message = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        proof = _xor(key, hmac.digest(hashlib.sha256(key).digest(), message, "sha256"))
        self._proof_of_server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, outcome: bytes) -> None:
        """Return if the server's last message proves that it knows the password too.

        Raises:
            UnavailableError: It does not.
        """
        found = _LAST.fullmatch(outcome.decode("ascii", "replace"))
        expected = base64.b64encode(self._proof_of_server).decode()
        if found is None or not self._proof_of_server or not hmac.compare_digest(found[1], expected):
            raise UnavailableError("the server did not prove that it knows the password")
