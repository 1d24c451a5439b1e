"""URLs of scripts, read strictly: what is not plainly one place on one host is refused, not guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from policies.targets import MAX_PORT, read_host
from protocol.errors import ArgumentError

MAX_CHARACTERS: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}
_URL = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^/?#:@\[\]\\]+)(?::([0-9]{1,5}))?([/?][!-~]*)?", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, slots=True)
class Url:
    """One place."""

    scheme: str  # http or https
    host: str  # in the form of ``read_host``
    port: int
    path: str  # with the query; begins with a slash

    @classmethod
    def parse(cls, text: str) -> Url:
        """Return the place that ``text`` names. No user, no password, no fragment.

        Raises:
            ArgumentError: It is no such URL.
        """
        found = _URL.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
        if found is None or "#" in text or "\\" in text:
            raise ArgumentError("must be http://HOST or https://HOST, with a port, a path and a query at most")
        scheme = found[1].lower()
        port = int(found[3]) if found[3] else _PORTS[scheme]
        if not 1 <= port <= MAX_PORT:
            raise ArgumentError(f"{port} is no port")
        path = found[4] or "/"
        return cls(scheme, read_host(found[2].strip("[]")), port, path if path[0] == "/" else f"/{path}")

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme == "https"

    def join(self, location: str) -> Url:
        """Return where a redirect to ``location`` leads; a fragment of it is dropped.

        Raises:
            ArgumentError: Nowhere that we would go.
        """
        try:
            joined = urljoin(str(self), location.partition("#")[0])
        except ValueError:
            raise ArgumentError("leads nowhere") from None
        return Url.parse(joined)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"
