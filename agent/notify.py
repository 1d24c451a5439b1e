"""Telling systemd how we are: ready, alive, stopping. By hand, over the datagram socket it names.

Source:
    sd_notify(3), sd_watchdog_enabled(3). A leading ``@`` means the abstract namespace; the variables are taken out of
    the environment so that no child speaks in our name.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import MutableMapping

_LOG = logging.getLogger("outrider.agent")


class Notifier:
    """Speaks to the service manager; silent where there is none.

    Args:
        environment: Usually ``os.environ``; the variables of the service manager are removed from it.
        pid: Our own process id; a watchdog meant for another process is not ours.
    """

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""), pid)

    def ready(self, status: str) -> None:
        """The agent works (which does not mean that the server is there)."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """The event loop turns; due every half of :attr:`watchdog_s`."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The agent has begun to stop."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), address)
        except OSError as error:  # a service manager that does not listen must not stop the agent
            _LOG.warning("the service manager could not be told: %s", error)


def _line(text: str) -> str:
    return " ".join(text.split())


def _watchdog_s(interval_us: str, meant_for: str, pid: int) -> float | None:
    """Return the interval in seconds within which a sign of life is expected of us, or None."""
    if not interval_us.isdecimal() or int(interval_us) == 0 or (meant_for and meant_for != str(pid)):
        return None
    return int(interval_us) / 1_000_000
