"""The output of one terminal: recorded first, then shown, and kept in memory as long as somebody is to be sent it.

- Nothing is shown that was not recorded before.
- What is kept is bounded, whoever is behind; what is older is read from the recording.
"""

from __future__ import annotations

import asyncio
from typing import Final

from protocol.terminal import WINDOW_BYTES, Audience
from server.sessions.outgoing import Outgoing
from server.sessions.recording import Recording
from server.sessions.timeline import Timeline
from server.sessions.viewers import Viewers

RECENT_BYTES: Final = 64 << 10  # of output kept in memory in any case; what is older is read from the recording
UNSENT_BYTES: Final = 2 * WINDOW_BYTES  # kept as long as somebody was not sent it, who is on the way to the newest
_SMALL_BYTES: Final = 4 << 10  # that cost less if they are copied twice


class Output:
    """What the program prints.

    Args:
        recording: Where it is recorded.
        timeline: When it was printed.
        audience: How far the recording goes, and how far each viewer is.
        viewers: Whom it is shown to.
        outgoing: Confirms it.
    """

    def __init__(
        self, recording: Recording, timeline: Timeline, audience: Audience, viewers: Viewers, outgoing: Outgoing
    ) -> None:
        self._recording = recording
        self._timeline = timeline
        self._audience = audience
        self._viewers = viewers.there
        self._outgoing = outgoing
        self._recent = bytearray()  # the newest output, without a hole

    def take(self, offset: int, us: int, data: bytes) -> None:
        """Record what the agent sent, and show it.

        Args:
            offset: Of its first byte.
            us: When it was printed, as the agent says.
            data: Not empty.

        Raises:
            UnavailableError: It cannot be recorded, so nobody is shown it.
        """
        timeline = self._timeline
        if offset > self._recording.offset:
            self._recent.clear()  # what comes now does not follow it
        new = self._recording.output(us if us <= timeline.surely_us else timeline.at(us), offset, data)
        if not new:
            return
        self._recent += new
        audience = self._audience
        audience.stored = self._recording.offset
        if (
            audience.stored - audience.confirmed >= audience.step
        ):  # with less there is nothing to confirm, whoever saw it
            self._outgoing.confirm_if_due()
        for viewer in self._viewers.values():
            if viewer.sends is None or not viewer.sends():
                viewer.wake.set()
        if len(self._recent) > 2 * RECENT_BYTES:  # half of it at once, so that a key does not move all of it
            self._forget_sent()

    def _forget_sent(self) -> None:
        """Keep in memory what somebody is still to be sent, up to a bound, and the newest."""
        stored = self._audience.stored
        unsent = [stored - watching.sent for watching in self._audience.viewers.values()]
        keep = max([RECENT_BYTES, *(size for size in unsent if size <= UNSENT_BYTES)])
        del self._recent[:-keep]

    def recent(self, begin: int, end: int, head: bytes = b"") -> bytes | None:
        """Return ``head`` and recorded output from ``begin`` to ``end``; None if it is not in memory any more."""
        first = self._audience.stored - len(self._recent)
        if begin < first:
            return None
        if end - begin < _SMALL_BYTES:
            return head + self._recent[begin - first : end - first]
        with memoryview(self._recent) as whole:
            return b"".join((head, whole[begin - first : end - first]))  # copied once

    async def read(self, begin: int, end: int) -> bytes:
        """Return recorded output from ``begin`` to at most ``end``, from memory or else from the recording."""
        data = self.recent(begin, end)
        if data is not None:
            return data
        return await asyncio.to_thread(self._recording.read_output, begin, end)
