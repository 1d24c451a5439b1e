"""Answers of the server that go on, read in pieces of any size with few copies: a file of gigabytes is one of them.

The client for everything else takes an answer apart in small pieces, which costs more than all the rest of a download.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from protocol.errors import TooLargeError
from protocol.freed_memory import keep_freed

MAX_PROBLEM_BYTES: Final = 1 << 20


class BrokenAnswerError(Exception):
    """The connection broke, or could not be made; the text says how."""


class Stream:
    """One request whose answer is read as it comes. Close it.

    Args:
        server: URL, as the context has it.
        roots: Who may vouch for it, for https.
        connect_s: Seconds until it must be there.
    """

    def __init__(self, server: str, roots: ssl.SSLContext, connect_s: float) -> None:
        keep_freed()
        parts = urlsplit(server)
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=connect_s, context=roots
            )
        else:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=connect_s)
        self._answer: http.client.HTTPResponse | None = None

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None, silent_s: float | None
    ) -> int:
        """Send the request, and return the status of the answer.

        Args:
            method: Of HTTP.
            path: With its query.
            headers: Without those of the body.
            body: Sent as JSON; None for none.
            silent_s: Seconds without a byte after which the connection counts as broken; None for ever.

        Raises:
            BrokenAnswerError: There is no answer.
        """
        data = None if body is None else json.dumps(body).encode()
        sent = dict(headers) if data is None else {**headers, "Content-Type": "application/json"}
        try:
            self._connection.connect()
            self._connection.sock.settimeout(silent_s)
            self._connection.request(method, path, body=data, headers=sent)
            self._answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise BrokenAnswerError(str(error) or type(error).__name__) from None
        return self._answer.status

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end.

        Raises:
            BrokenAnswerError: The connection broke.
        """
        if self._answer is None:
            return b""
        try:
            return self._answer.read(size)
        except http.client.IncompleteRead as error:
            raise BrokenAnswerError(f"it ended {error.expected or 'some'} bytes early") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BrokenAnswerError(str(error) or type(error).__name__) from None

    def problem(self) -> bytes:
        """Return all of an answer that tells of an error; raises as :meth:`read`, and TooLargeError."""
        data = self.read(MAX_PROBLEM_BYTES + 1)
        if len(data) > MAX_PROBLEM_BYTES:
            raise TooLargeError(f"the answer is larger than {MAX_PROBLEM_BYTES} bytes")
        return data

    def stop(self) -> None:
        """Break the answer off; whoever reads it on another thread is woken. Idempotent."""
        sock = self._connection.sock
        if sock is not None:
            try:
                sock.shutdown(2)
            except OSError:  # it is closed already
                return

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._answer is not None:
            self._answer.close()
        self._connection.close()
