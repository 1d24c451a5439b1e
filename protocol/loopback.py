"""Which host names stand for the very machine, so that plain HTTP to them crosses no network."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, a name or an address without brackets, is this machine by its form alone.

    Nothing is looked up: of names, only ``localhost`` is (RFC 6761, section 6.3).
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
