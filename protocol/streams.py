"""One stream of a link at one end: its credit in both directions, and the bytes that wait for their turn.

- A stream carries bytes from the side that opened it, and the other way too if it was opened so.
- Neither side sends more than the other gave credit for; so a stream cannot fill memory at the receiver.
- It is done once both directions are finished and the frame that says so was taken.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from protocol import limits, messages
from protocol.errors import ProtocolError, TooLargeError
from protocol.messages import Kind

_PIECE_BYTES: Final = 4 << 10  # from here on two pieces cost less than a copy


class Stream:
    """State of one stream.

    Args:
        number: Its id.
        is_ours: Did this side open it?
        is_two_way: May the side that did not open it send?
        send_credit: Bytes that the peer lets us send at first.
    """

    __slots__ = (
        "_is_finish_due", "_waiting", "head", "in_turn", "is_ours", "may_receive", "may_send", "number",
        "receive_credit", "send_credit",
    )  # fmt: skip

    def __init__(self, number: int, *, is_ours: bool, is_two_way: bool, send_credit: int) -> None:
        self.number = number
        self.head = messages.data_head(number)  # of its frames
        self.is_ours = is_ours
        self.may_send = is_ours or is_two_way
        self.may_receive = is_two_way or not is_ours
        self.send_credit = send_credit  # bytes the peer still lets us send
        self.receive_credit = limits.INITIAL_CREDIT_BYTES if self.may_receive else 0  # bytes the peer may still send
        self.in_turn = False  # stands in the link's queue of streams that have frames
        self._waiting: deque[bytes | memoryview] = deque()  # at most one data frame's bytes each
        self._is_finish_due = False

    @property
    def has_frames(self) -> bool:
        """Is there a frame to take?"""
        return bool(self._waiting) or self._is_finish_due

    @property
    def is_done(self) -> bool:
        """Is nothing to come in either direction?"""
        return not (self.may_send or self.may_receive or self.has_frames)

    def queue(self, data: bytes | memoryview) -> int:
        """Queue as much of ``data`` as the credit allows; return how many bytes that was."""
        size = min(len(data), self.send_credit)
        if type(data) is bytes and size == len(data) <= limits.MAX_STREAM_DATA_BYTES:
            if data:
                self._waiting.append(data)  # as it came: whoever hands a stream on copies nothing
            self.send_credit -= size
            return size
        view = memoryview(data)
        stays = type(view.obj) is bytes  # and cannot be changed by who sent it, so that parts of it need no copy
        for at in range(0, size, limits.MAX_STREAM_DATA_BYTES):
            part = view[at : min(at + limits.MAX_STREAM_DATA_BYTES, size)]
            self._waiting.append(part if stays else bytes(part))
        self.send_credit -= size
        return size

    def finish(self) -> None:
        """Send no more after what waits."""
        self.may_send = False
        self._is_finish_due = True

    def next_frame(self) -> bytes:
        """Return the next frame; there must be one (``has_frames``)."""
        return b"".join(self.next_pieces())

    def next_pieces(self) -> tuple[bytes, bytes | memoryview]:
        """Return the same in two pieces, so that a long one is not copied; of others the second is empty."""
        if self._waiting:
            data = self._waiting.popleft()
            if len(data) < _PIECE_BYTES:
                return messages.data_frame(self.head, data), b""
            return messages.data_pieces(self.head, data)
        self._is_finish_due = False
        return messages.pack(Kind.FINISH, self.number), b""

    def grant(self, credit: int) -> int:
        """Let the peer send ``credit`` more bytes; return how many of them are within the bound."""
        if not self.may_receive:
            return 0
        granted = max(0, min(credit, limits.MAX_CREDIT_BYTES - self.receive_credit))
        self.receive_credit += granted
        return granted

    def received(self, size: int) -> None:
        """Account for ``size`` bytes that arrived.

        Raises:
            ProtocolError: The peer had finished, may not send, or had no credit for them.
        """
        if not self.may_receive:
            raise ProtocolError(f"data on stream {self.number}, on which the peer may not send")
        if size > self.receive_credit:
            raise ProtocolError(f"the peer sends more on stream {self.number} than it may")
        self.receive_credit -= size

    def credited(self, credit: int) -> None:
        """Account for ``credit`` bytes more that the peer lets us send.

        Raises:
            TooLargeError: More than anybody has reason to give.
        """
        if self.send_credit + credit > limits.MAX_CREDIT_BYTES:
            raise TooLargeError("the peer gives too much credit")
        self.send_credit += credit

    def ended(self) -> None:
        """Account for the end of what the peer sends.

        Raises:
            ProtocolError: It had ended before, or the peer may not send at all.
        """
        if not self.may_receive:
            raise ProtocolError(f"stream {self.number} ends twice")
        self.may_receive = False
