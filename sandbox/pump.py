"""Takes what a stream's source gives and packs it into answers, a bounded batch for each pull.

A source is an iterator that may block (driven on a thread) or an asynchronous iterator (driven on the loop). It gives
items; a list stands for several of them at once, ``Columns`` for rows, ``bytes`` go as they are. Nothing is asked of a
source before the script wants it, except that a quick one is kept one batch ahead: so a script that stops reading costs
that much.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from kernel.visits import VISITS
from protocol.columns import Columns
from protocol.errors import InternalError, OutriderError
from protocol.redaction import Redactor
from sandbox.channel import RAW, batch_body, blocks_body, check_raw, raw_body

BATCH_ITEMS: Final = 512
BATCH_ROWS: Final = 4096  # of blocks of columns, which cost a fifth
BATCH_BYTES: Final = 128 * 1024  # about: texts are counted, and something for each item
BATCH_NS: Final = 10_000_000  # a slow source is not waited for when there is something to give
ITEM_BYTES: Final = 64  # what an item counts for beside its texts

_NUMBERS: Final = (int, float, bool)

Source = Iterator[Any] | AsyncIterator[Any]

_log = logging.getLogger("outrider.sandbox.gate")


@dataclass(frozen=True, slots=True)
class Batch:
    """The answer to one pull."""

    content: bytes  # encoded; or, of one that is nothing but bytes, those as the source gave them
    items: int
    is_end: bool
    is_quick: bool = False  # it holds so much that its source is likely to have the next one soon
    is_bytes: bool = False

    @property
    def body(self) -> bytes:
        """The encoded answer; of bytes a copy of them."""
        return raw_body(self.content) if self.is_bytes else self.content

    @property
    def size_bytes(self) -> int:
        """Of the encoded answer."""
        return len(self.content) + len(RAW) if self.is_bytes else len(self.content)


@dataclass(slots=True)
class _Filling:
    """Items on their way into one batch."""

    items: list[Any] = field(default_factory=list)
    blocks: list[Columns] = field(default_factory=list)  # in place of items; a batch has one or the other
    rows: int = 0  # of all blocks
    size_bytes: int = 0
    until_ns: int = field(default_factory=lambda: time.monotonic_ns() + BATCH_NS)

    def has_room_for(self, item: Any) -> bool:
        kind = type(item)
        if kind is bytes:
            return not self.items and not self.blocks
        return not self.items if kind is Columns else not self.blocks

    def add(self, item: Any) -> None:
        if type(item) is Columns:
            if item.count:
                self.blocks.append(item)
                self.rows += item.count
                self.size_bytes += ITEM_BYTES + item.size_bytes
            return
        for one in item if type(item) is list else (item,):
            self.items.append(one)
            self.size_bytes += ITEM_BYTES + _size(one)

    @property
    def is_full(self) -> bool:
        return len(self.items) >= BATCH_ITEMS or self.rows >= BATCH_ROWS or self.size_bytes >= BATCH_BYTES

    @property
    def is_quick(self) -> bool:
        return self.is_full or self.rows >= BATCH_ITEMS

    @property
    def is_due(self) -> bool:
        return self.is_full or time.monotonic_ns() >= self.until_ns

    def batch(self, *, is_end: bool = False, summary: Any = None) -> Batch:
        if self.blocks:
            return Batch(blocks_body(self.blocks, is_end, summary), self.rows, is_end, self.is_quick)
        return Batch(batch_body(self.items, is_end, summary), len(self.items), is_end, self.is_quick)


def _of_bytes(data: bytes) -> Batch:
    check_raw(data)
    return Batch(data, 1, False, is_quick=len(data) >= BATCH_BYTES, is_bytes=True)


def _size(item: Any) -> int:
    kind = type(item)
    if kind is str or kind is bytes:
        return len(item)
    if kind is dict:
        item = item.values()
    elif kind is not list:
        return 16
    return sum(
        [len(value) if type(value) is str else 16 if type(value) in _NUMBERS else _size(value) for value in item]
    )


class Pump:
    """One stream. Used from the loop, by one pull at a time.

    Args:
        source: Not started.
        redactor: Takes secrets out of what it gives, also where one is split over two pieces of bytes.
    """

    def __init__(self, source: Source, redactor: Redactor | None = None) -> None:
        self._source = source
        self._redactor = redactor or Redactor()
        self._begun = b""  # the end of what came, which may be the beginning of a secret
        self._carried: Any = None  # what did not fit into the batch that was given
        self._failed: OutriderError | None = None  # what the source raised after items that were still given
        self._ahead: asyncio.Future[Batch] | None = None
        self._first: Batch | None = None
        self._is_closed = False

    def prime(self) -> None:
        """Take the first batch of a source that may block, so that what is wrong from the start fails the call.

        Called on the thread that made the source; raises what the source raises.
        """
        if isinstance(self._source, Iterator):
            self._first = self._fill(self._source)

    async def pull(self) -> Batch:
        """Return the next batch.

        Raises:
            OutriderError: The source failed; nothing more comes.

        Cancellation:
            Safe; the stream is to be closed.
        """
        if isinstance(self._source, AsyncIterator):
            return await self._fill_async(self._source)
        batch, self._first = self._first, None
        if batch is None:
            if self._ahead is None:
                self._ahead = self._start(self._source)
            batch = await asyncio.shield(self._ahead)  # if nobody waits for it any more, it is closed behind the thread
            self._ahead = None
        if batch.is_quick and not batch.is_end and not self._failed:
            self._ahead = self._start(self._source)
        return batch

    async def close(self) -> None:
        """Close the source: its ``finally`` runs. Waits for a thread that is still in it. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            self._ahead.exception()  # whatever it was, nobody wants it any more
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
        elif (close := getattr(self._source, "close", None)) is not None:
            await VISITS.begin(close)

    def _start(self, source: Iterator[Any]) -> asyncio.Future[Batch]:
        return VISITS.begin(partial(self._fill, source))

    def _fill(self, source: Iterator[Any]) -> Batch:
        filling = _Filling()
        if self._failed is not None:
            raise self._failed
        item, self._carried = self._carried, None
        try:
            while True:  # at least once, however long this thread stood still: what was carried is in nobody's hands
                item = self._plain(next(source)) if item is None else item
                if not filling.has_room_for(item):
                    self._carried = item
                    break
                if type(item) is bytes and item:
                    item = self._clean(item)
                    if item:
                        return _of_bytes(item)
                else:
                    filling.add(item)
                if filling.is_due:
                    break
                item = None
        except StopIteration as stop:
            self._end(filling)
            return filling.batch(is_end=True, summary=self._redactor.plain(stop.value))
        except Exception as error:  # noqa: BLE001 - a fault of ours in one stream; its text must not reach the script
            self._failed = _ours(error)
            if not filling.items and not filling.blocks:
                raise self._failed from None
        return filling.batch()

    async def _fill_async(self, source: AsyncIterator[Any]) -> Batch:
        filling = _Filling()
        try:
            item = await anext(source)
            while type(item) is bytes and item:
                item = self._clean(item)
                if item:
                    return _of_bytes(item)
                item = await anext(source)
        except StopAsyncIteration:
            self._end(filling)
            tell = getattr(source, "summary", None)
            return filling.batch(is_end=True, summary=None if tell is None else self._redactor.plain(tell()))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise _ours(error) from None
        filling.add(self._redactor.plain(item))
        return filling.batch()

    def _plain(self, item: Any) -> Any:
        """Return an item without secrets; bytes are cleaned piece by piece."""
        if type(item) is bytes or self._redactor.is_idle:
            return item
        return self._redactor.plain(item.rows() if type(item) is Columns else item)

    def _clean(self, data: bytes) -> bytes:
        """Return what of ``data`` can be given now; the rest comes with the next piece, or at the end."""
        if self._redactor.is_idle and not self._begun:
            return data
        data = self._redactor.octets(self._begun + data)
        kept = self._redactor.begun(data)
        self._begun = data[len(data) - kept :]
        return data[: len(data) - kept]

    def _end(self, filling: _Filling) -> None:
        if self._begun:
            filling.add(self._begun)
            self._begun = b""


def _ours(error: Exception) -> OutriderError:
    if isinstance(error, OutriderError):
        return error
    _log.error("a stream failed unexpectedly", exc_info=error)
    return InternalError("the stream failed; the agent's log says why")
