"""What scripts remember on this host (``state.*``, ``rate``, ``dedup``): where it lies, and that damage is never quiet.

The store itself, its bounds and its transactions are ``stdlib.store``. It works on the threads of calls, never on the
event loop, and its file is only made when the first script keeps something.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.logs import LOG
from agent.statedir import StateDir
from stdlib.store import Store

Tell = Callable[[str], None]


def script_state(state: StateDir, tell: Tell) -> Store:
    """Return the store of this agent.

    Args:
        state: Where its file lies.
        tell: Called in the thread of a call with one sentence when a damaged file was set aside; it goes on record.
    """

    def damaged(what: str) -> None:
        LOG.critical("%s", what)
        tell(what)

    return Store(state.state, on_damage=damaged)
