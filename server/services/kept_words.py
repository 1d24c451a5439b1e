"""The words of lists over a restart of the server: kept in a file, so that who looks first does not wait for proofs.

The file is a cache. The server signs it, so that nobody who can write it, but has not the key, puts a word into a list;
one that is damaged, foreign or of another form counts as none. A word in it is held against what it was made from like
every other (:mod:`server.services.standing`), so an old one says nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from protocol.errors import OutriderError
from protocol.signing import Envelope, open_envelope, sign
from server.config import write_private
from server.core import Core

LOG = structlog.get_logger()
FILE: Final = "words.json"
MAX_BYTES: Final = 32 << 20  # 20,000 words have some 8 MB
_KIND: Final = "words"
_SAVING: Final = threading.Lock()  # who looks ahead may save while the server ends and saves too
Word = tuple[str, tuple[tuple[Any, ...], datetime, datetime, str]]
"""A digest, and what its word was made from, since when and until when it holds, and the word."""


def save(core: Core, words: Callable[[], Iterable[Word]]) -> None:
    """Keep words in place of those that were kept. A disk that refuses is logged: nothing is lost but time.

    Args:
        core: The server.
        words: Gives them when it is their turn: of two who save, the last must not save what was before the first.
    """
    try:
        with _SAVING:
            content = json.dumps([_plain(*word) for word in words()], separators=(",", ":"))
            body = {"type": _KIND, "digest": hashlib.sha256(content.encode()).hexdigest()}
            write_private(core.config.directory / FILE, f"{sign(_KIND, body, core.key).to_json()}\n{content}\n")
    except (OSError, OutriderError) as error:
        LOG.warning("how scripts stand could not be kept for the next start", why=str(error))


def load(core: Core) -> Iterator[Word]:
    """Yield the words that were kept by this server, if there are any."""
    try:
        told, content = _read(core.config.directory / FILE)
        opened = open_envelope(Envelope.from_json(told), _KIND, {core.key.public.key_id: core.key.public})
        if opened.body["digest"] != hashlib.sha256(content.encode()).hexdigest():
            raise ValueError("it is not what was signed")
        yield from [_word(item) for item in json.loads(content)]
    except FileNotFoundError:
        return
    except (OSError, OutriderError, ValueError, KeyError, TypeError, RecursionError) as error:
        LOG.warning("how scripts stood is found out anew", why=str(error))


def _read(path: Path) -> tuple[str, str]:
    with path.open(encoding="utf-8") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    told, _, content = text.partition("\n")
    return told, content.removesuffix("\n")


def _plain(digest: str, held: tuple[tuple[Any, ...], datetime, datetime, str]) -> list[Any]:
    (*marks, publication), since, until, word = held
    return [digest, marks, publication.hex(), since.isoformat(), until.isoformat(), word]


def _word(item: Any) -> Word:
    digest, marks, publication, since, until, word = item
    made_from = (*marks, bytes.fromhex(publication))
    return str(digest), (made_from, datetime.fromisoformat(since), datetime.fromisoformat(until), str(word))
