"""The kernel's tables of sockets below /proc/net, read. Pure: text in, rows out; a line that is none is left out.

Source: proc_net_tcp.rst of the kernel; net/ipv4/udp.c, net/unix/af_unix.c. Made for tables of ten thousand sockets: a
line is taken apart only as far as it is wanted.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

#: net/tcp_states.h
STATES = {
    "01": "established", "02": "syn_sent", "03": "syn_recv", "04": "fin_wait1", "05": "fin_wait2", "06": "time_wait",
    "07": "close", "08": "close_wait", "09": "last_ack", "0A": "listen", "0B": "closing", "0C": "new_syn_recv",
}  # fmt: skip
_UNIX_TYPES = {"0001": "stream", "0002": "datagram", "0005": "seqpacket"}
_UNIX_STATES = {"01": "unconnected", "02": "connecting", "03": "connected", "04": "disconnecting"}  # linux/net.h
_ACCEPTS = 0x10000  # __SO_ACCEPTCON


def inet(text: str, protocol: str, states: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the sockets of a table of tcp, udp or raw, of either family.

    Args:
        text: The table.
        protocol: Told with each socket.
        states: Only those in one of these; None for all.
    """
    for line in text.split("\n")[1:]:
        words = line.split(None, 10)
        if len(words) < 10:
            continue
        state = STATES.get(words[3], words[3])
        if states is not None and state not in states:
            continue
        local, remote, queues = words[1].split(":"), words[2].split(":"), words[4].split(":")
        yield {
            "protocol": protocol, "family": "ipv4" if len(local[0]) == 8 else "ipv6", "state": state,
            "local_address": _address(local[0]), "local_port": int(local[1], 16),
            "remote_address": _address(remote[0]), "remote_port": int(remote[1], 16),
            "send_queue": int(queues[0], 16), "receive_queue": int(queues[1], 16), "uid": int(words[7]),
            "inode": int(words[9]),
        }  # fmt: skip


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """Return an address that the kernel printed as numbers of 32 bits in the host's byte order."""
    raw = b"".join(int(text[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def local(text: str) -> Iterator[dict[str, Any]]:
    """Yield the sockets of the table of unix. Where the kernel keeps them is left out."""
    for line in text.split("\n")[1:]:
        words = line.split(None, 7)
        if len(words) < 7:
            continue
        accepts = int(words[3], 16) & _ACCEPTS
        yield {
            "protocol": "unix", "type": _UNIX_TYPES.get(words[4], words[4]),
            "state": "listen" if accepts else _UNIX_STATES.get(words[5], words[5]), "inode": int(words[6]),
            "path": words[7] if len(words) > 7 else None,
        }  # fmt: skip
