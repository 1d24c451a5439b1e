"""``net.mysql_status`` and ``net.pg_status``: what databases say about themselves, over their own protocols, read-only.

The questions are ours, so a script chooses where to ask and as whom, and nothing else. TLS is spoken wherever a server
offers it, and then the server must prove who it is.
"""

from __future__ import annotations

import ipaddress
import os
from functools import partial
from typing import Annotated, Any, Final, Literal

from policies.targets import NetTarget
from protocol.errors import ArgumentError, DeniedError, UnavailableError
from protocol.tiers import Tier
from stdlib import accounts, trees
from stdlib.call_specs import Permit
from stdlib.declaring import call
from stdlib.handles import Private
from stdlib.host import Host
from stdlib.net_probes import AuthorityText, HostText, Port, Timeout, place
from stdlib.network.connection import CertificateError, Connection
from stdlib.network.database_readings import POSTGRES, REPLICATION, STATUS, VARIABLES, mysql, postgres, replication
from stdlib.network.mysql import MySql
from stdlib.network.peers import user_of
from stdlib.network.postgres import Login, Postgres, offers_tls
from stdlib.network.reach import Timings, endpoints, within
from stdlib.network.trust import context
from stdlib.parameters import Length

User = Annotated[str, Length(63)]
Password = Annotated[Private, Length(1024)]
Tls = Literal["prefer", "require", "never"]
DATABASE_USERS: Final = frozenset({"mysql", "mariadb", "_mysql"})  # as whom packages have MySQL and MariaDB run
MAX_PASSWD_BYTES: Final = 8 << 20


async def _connected(system: Host, permit: Permit, asked: NetTarget, timeout_s: float) -> Connection:
    timings = Timings(system.monotonic)
    return await Connection.open(await endpoints(system, permit, asked, timings=timings), timings, timeout_s)


async def _start_tls(connection: Connection, name: str, ca: str) -> bool:
    try:
        await connection.start_tls(await context(ca), name)
    except CertificateError as error:
        raise UnavailableError(
            f"{connection.name}: cannot prove who it is: {error.message} (give its authority as ca, or tls = never)"
        ) from None
    return True


def _revealed(password: Private | None) -> bytes:
    data = b"" if password is None else password.reveal()
    if b"\0" in data:
        raise ArgumentError("password: holds a NUL", parameter="password")
    return data


async def _is_of_this_host(host: Host, connection: Connection) -> bool:
    """Tell whether a server is on this very host and runs as root, as the agent's own user or as a user whom databases
    have: any other user may listen on its port while it is away.
    """
    if connection.ip is None or not ipaddress.ip_address(connection.ip).is_loopback:
        return False
    user = await user_of(host, connection)
    local = accounts.users(trees.text_or_nothing(f"{host.etc}/passwd", MAX_PASSWD_BYTES))
    return user in {0, os.getuid(), *(row["uid"] for row in local if row["name"] in DATABASE_USERS)}


@call(
    "net.mysql_status",
    tier=Tier.INSPECT,
    decides=place(),
    lua='local status = net.mysql_status("db.example.org", "monitor", {password = "sesame"})',
    python='status = net.mysql_status("db.example.org", "monitor", password="sesame")',
)
async def mysql_status(
    system: Host,
    permit: Permit,
    host: HostText,
    user: User,
    password: Password | None = None,
    port: Port = 3306,
    tls: Tls = "prefer",
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    ca: AuthorityText = "",
) -> dict[str, Any]:
    """Return what a MySQL or MariaDB server says about itself, in groups; what its version does not say is nothing.

    ``version``; ``core`` (aborted_clients, connections, queries, uptime in seconds), ``threads`` (connected, created,
    running), ``thread.cache_size``, ``key.buffer_size``, ``max.connections``, ``bytes`` (received, sent), ``innodb``,
    ``qcache``, ``handler`` (the counters of ``SHOW GLOBAL STATUS`` without these words), and ``replication`` of a
    replica, nothing elsewhere or if the user may not see it (that takes ``REPLICATION CLIENT``).

    ``password`` can be a secret. Proofs: ``mysql_native_password`` and ``caching_sha2_password``. With ``tls`` as
    ``prefer`` TLS is spoken if it is offered, and the server must prove to be ``host`` (``ca`` as for ``net.http``).
    Without TLS a server that wants the whole password gets it, encrypted, only on loopback and only if it runs as root
    or as a database's user.

    Raises:
        DeniedError: The server refuses the user.
        UnavailableError: It cannot be reached, cannot prove who it is, or wants a proof that is not known here.
    """
    asked, secret = NetTarget.of(host, int(port)), _revealed(password)
    async with within(timeout, f"asking {asked}"), await _connected(system, permit, asked, timeout) as connection:
        server = MySql(connection, is_trusted=partial(_is_of_this_host, system, connection))

        async def start_tls(plain: Connection) -> bool:
            return await _start_tls(plain, asked.host, ca)

        await server.login(user, secret, None if tls == "never" else start_tls, is_tls_needed=tls == "require")
        _, status = await server.ask(STATUS)
        _, variables = await server.ask(VARIABLES)
        told = mysql(server.version, status, variables)
        for question in REPLICATION:
            try:
                names, rows = await server.ask(question)
            except DeniedError:
                break  # the user may not see it
            except UnavailableError:
                continue  # this server calls it otherwise
            told["replication"] = replication(status, names, rows[0]) if rows else None
            break
        await server.end()
    return told


@call(
    "net.pg_status",
    tier=Tier.INSPECT,
    decides=place(),
    lua='local status = net.pg_status("db.example.org", "monitor", {password = "sesame"})',
    python='status = net.pg_status("db.example.org", "monitor", password="sesame")',
)
async def pg_status(
    system: Host,
    permit: Permit,
    host: HostText,
    user: User,
    password: Password | None = None,
    port: Port = 5432,
    database: User = "postgres",
    tls: Tls = "prefer",
    timeout: Timeout = 10.0,  # noqa: ASYNC109 - the name that scripts use
    ca: AuthorityText = "",
) -> dict[str, Any]:
    """Return what a PostgreSQL server (10 or later) says about itself; what the user may not see is nothing.

    ``version``, ``uptime`` (seconds), ``in_recovery``, ``behind`` (seconds since a standby replayed something),
    ``max_connections``, ``size`` (bytes of the databases that the user may connect to); ``connections`` (total, active,
    idle, idle_in_transaction, waiting for locks, longest_transaction in seconds); ``databases``, sums over all of them
    (count, commits, rollbacks, blocks_read, blocks_hit, rows_returned, rows_fetched, rows_inserted, rows_updated,
    rows_deleted, conflicts, deadlocks, temp_files, temp_bytes); ``replication`` (replicas, replay_lag in seconds,
    replay_lag_bytes). The user needs no more than the role ``pg_monitor``.

    ``password``, ``tls`` and ``ca`` as for ``net.mysql_status``. Proofs: SCRAM-SHA-256 and md5.

    Raises:
        DeniedError: The server refuses the user.
        UnavailableError: It cannot be reached, cannot prove who it is, or wants a proof that is not known here.
    """
    asked, secret = NetTarget.of(host, int(port)), _revealed(password)
    async with within(timeout, f"asking {asked}"), await _connected(system, permit, asked, timeout) as connection:
        is_proven = False
        if tls != "never" and await offers_tls(connection):
            is_proven = await _start_tls(connection, asked.host, ca)
        elif tls == "require":
            raise UnavailableError(f"{asked}: offers no TLS")
        server = Postgres(connection, is_proven=is_proven)
        await server.login(Login(user, secret, database, max(1, int(timeout * 1000))))
        answers: dict[str, Any] = {}
        for name, question in POSTGRES.items():
            try:
                rows = await server.ask(question)
            except DeniedError:
                rows = []
            answers[name] = rows[0] if rows else None
        await server.end()
    return postgres(answers)
