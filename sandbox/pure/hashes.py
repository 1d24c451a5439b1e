"""The hash functions, from the interpreter's own modules: ``hashlib`` would load a whole library of cryptography."""

from __future__ import annotations

import _blake2
from collections.abc import Callable
from typing import Any

from sandbox.python_formats import HASHES

Hash = Callable[[bytes], Any]

BLOCK_BYTES = {"md5": 64, "sha1": 64, "sha256": 64, "sha512": 128}  # FIPS 180-4, section 1; RFC 1321, section 3
NAMED: dict[str, Hash] = {name: HASHES[name] for name in BLOCK_BYTES}
blake2b: Callable[..., Any] = _blake2.blake2b
