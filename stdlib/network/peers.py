"""Whose the other end of a connection within this host is: the kernel says as which user its socket was made.

Any user may listen on a port from 1024 on, as soon as whoever mostly does has ended. So that something answers on
loopback says nothing about who it is.
"""

from __future__ import annotations

from kernel.visits import begun_apart
from policies.targets import read_address
from stdlib import socket_tables, trees
from stdlib.host import Host
from stdlib.network.connection import Connection

MAX_TABLE_BYTES = 64 << 20  # 400,000 sockets


async def user_of(host: Host, connection: Connection) -> int | None:
    """Return the number of the user who has the other end of a TCP connection; None where that cannot be told.

    To be asked once the other end has said something: before it is accepted, a connection is nobody's.
    """
    own, peer = connection.ends()
    return await begun_apart(_user_of, host, peer, own)


def _user_of(host: Host, local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    for name in ("tcp", "tcp6"):  # who listens for both families has its end in the second
        text = trees.text_or_nothing(f"{host.proc}/net/{name}", MAX_TABLE_BYTES)
        for row in socket_tables.inet(text, name, ("established",)):
            ends = [(_plain(row[f"{end}_address"]), row[f"{end}_port"]) for end in ("local", "remote")]
            if ends == [local, remote] and row["inode"]:  # 0: nobody has it
                return int(row["uid"])
    return None


def _plain(address: str) -> str:
    return str(read_address(address))
