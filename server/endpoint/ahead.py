"""Who waits for the end of a run is told of it while it is being written down here.

An agent sends only what its own disk holds, and sends it again until we have acknowledged it. So an end that has come
this far is not lost by anything that can happen to this server, and to wait for our own commit as well would make every
one-off run some milliseconds longer. What makes it honest:

- It is told only if the records prove themselves: they continue the chain that is on our disk, with nothing between.
- They are on their way to the disk before it is told, and whoever reads after that waits until they are there
  (:meth:`server.store.database.Database.begin_told`). So nobody reads that it has not happened.
- A server that is killed in between does not know of it, and says so: the run stays ``queued`` or ``running`` until its
  agent is back and sends the same records again (:func:`server.services.runs.settle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from protocol.errors import LedgerError
from server import limits
from server.core import Core
from server.ledger import Batch, checked_batch, end_of_run
from server.services import runs
from server.signals import Shown

END: Final = b"run.end"  # stands in each record of that kind as it does here


class Held:
    """Where the chain of one agent stands on our disk, as far as this link has told.

    Args:
        sequence: Of the newest record; 0 while there is none.
        digest: Its hash.
    """

    def __init__(self, sequence: int, digest: bytes) -> None:
        self._sequence = sequence
        self._digest = digest

    def taken(self, sequence: int, digest: bytes) -> None:
        """A batch is on disk, and this is its newest record."""
        self._sequence, self._digest = sequence, digest

    def check(self, first: int, blobs: Sequence[bytes]) -> Batch | None:
        """Return the records of a batch if they continue what is on disk; None if they do not, as far as is known.

        What does not fit is refused where it is written, in one place for all. A large batch, or one without any end,
        is not looked at: it would hold up the loop for nothing.
        """
        if first != self._sequence + 1:  # one before it is on its way to the disk, mostly
            return None
        if len(blobs) > limits.CHECKED_AT_ONCE or not any(END in blob for blob in blobs):
            return None
        try:
            return checked_batch(blobs, first, self._digest)
        except LedgerError:
            return None


def is_of(core: Core, agent: str, run: str) -> bool:
    """Tell whether a run is of this agent: of others' its records tell nothing, whatever they claim."""
    return core.database.read_now(lambda connection: runs.agent_of(connection, run)) == agent


def to_tell(core: Core, agent: str, batch: Batch) -> list[Shown]:
    """Return the runs that somebody waits for and whose ends stand in a batch, as they will be read.

    Args:
        core: The server.
        agent: Whose records they are; of others' runs they tell nothing.
        batch: Checked.
    """
    found = []
    began = {record.run: record.time_us for record, _, _ in batch if record.kind == "run.start"}
    for record, _, _ in batch:
        if record.kind == "run.end" and core.endings.is_watched(record.run):
            ended = end_of_run(record)
            ended["started_us"] = began.get(record.run, record.time_us)
            shown = core.database.read_now(partial(runs.shown_ended, agent=agent, identity=record.run, ended=ended))
            if shown is not None:
                found.append(shown)
    return found
