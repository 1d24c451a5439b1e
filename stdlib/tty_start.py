"""How a program comes into a terminal of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from policies.model import Facts
from protocol.errors import UnavailableError
from stdlib.host import Host
from stdlib.proc_run import starter
from stdlib.tty_screen import Size
from stdlib.tty_terminal import Terminal, set_size

if TYPE_CHECKING:
    from stdlib.processes.start import Program


async def opened(
    host: Host, program: Program, size: Size, name: str, facts: Facts, *, grace_s: float = 0.0
) -> Terminal:
    """Return a terminal of its own with ``program`` in it.

    Raises:
        UnavailableError: No terminal can be had, or no program can be started now.
        OutriderError: As :meth:`stdlib.processes.start.Processes.start`.
    """
    try:
        master, slave = os.openpty()
    except OSError as error:
        raise UnavailableError(f"no terminal can be had now: {error.strerror}") from None
    try:
        try:
            os.set_inheritable(master, False)
            set_size(slave, size)
            if program.identity is not None:
                with suppress(PermissionError):  # root without that right; they have it open in any case
                    os.fchown(slave, program.identity.uid, -1)  # so that they can open it by name
            started = await starter(host).start(program, terminal=slave)
        finally:
            os.close(slave)
    except BaseException:
        os.close(master)
        raise
    return Terminal(started, master, size, name, facts, grace_s=grace_s)
