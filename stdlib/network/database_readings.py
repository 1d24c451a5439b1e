"""What databases say about themselves: our questions, and what becomes of the answers. Pure.

MySQL and MariaDB: the names are those of checks.md, which the old monitoring agents had; what a version does not say is
nothing. PostgreSQL: sums over its statistics views.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

STATUS: Final = "SHOW GLOBAL STATUS"
VARIABLES: Final = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('thread_cache_size','key_buffer_size','max_connections',"
    "'innodb_buffer_pool_size','query_cache_size')"
)
#: Newest first: servers from MySQL 8.4 on know only the first, MariaDB and older ones only the second.
REPLICATION: Final = ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS")

_INNODB: Final = (
    "row_lock_time", "row_lock_time_avg", "row_lock_time_max", "row_lock_waits", "rows_deleted", "rows_inserted",
    "rows_read", "rows_updated", "buffer_pool_pages_data", "buffer_pool_pages_dirty", "buffer_pool_pages_free",
    "buffer_pool_pages_total", "buffer_pool_pages_flushed", "pages_created", "pages_read", "pages_written",
    "buffer_pool_read_requests", "buffer_pool_reads", "data_pending_fsyncs", "data_pending_reads",
    "data_pending_writes", "os_log_pending_fsyncs", "os_log_pending_writes",
)  # fmt: skip
_QCACHE: Final = (
    "free_blocks", "total_blocks", "free_memory", "hits", "inserts", "lowmem_prunes", "not_cached", "queries_in_cache",
)  # fmt: skip
_HANDLER: Final = (
    "delete", "read_first", "read_key", "read_next", "read_prev", "read_rnd", "read_rnd_next", "update", "write",
    "commit", "rollback", "savepoint", "savepoint_rollback",
)  # fmt: skip

#: Group and name of ours -> name in the status, in lower case.
_STATUS: Final[Mapping[tuple[str, str], str]] = {
    ("core", "aborted_clients"): "aborted_clients", ("core", "connections"): "connections",
    ("core", "queries"): "queries", ("core", "uptime"): "uptime",
    ("threads", "connected"): "threads_connected", ("threads", "created"): "threads_created",
    ("threads", "running"): "threads_running",
    ("bytes", "received"): "bytes_received", ("bytes", "sent"): "bytes_sent",
    **{("innodb", name): f"innodb_{name}" for name in _INNODB},
    **{("qcache", name): f"qcache_{name}" for name in _QCACHE},
    **{("handler", name): f"handler_{name}" for name in _HANDLER},
}  # fmt: skip
_VARIABLES: Final[Mapping[tuple[str, str], str]] = {
    ("thread", "cache_size"): "thread_cache_size", ("key", "buffer_size"): "key_buffer_size",
    ("max", "connections"): "max_connections", ("innodb", "buffer_pool_size"): "innodb_buffer_pool_size",
    ("qcache", "size"): "query_cache_size",
}  # fmt: skip
#: Name of ours -> names of the column, in lower case, newest first.
_REPLICATION_TEXTS: Final = {
    "slave_running": ("slave_running",), "slave_io_running": ("replica_io_running", "slave_io_running"),
    "slave_sql_running": ("replica_sql_running", "slave_sql_running"),
    "slave_io_state": ("replica_io_state", "slave_io_state"), "last_error": ("last_error",),
    "last_io_error": ("last_io_error",),
}  # fmt: skip
_REPLICATION_NUMBERS: Final = {
    "read_master_log_pos": ("read_source_log_pos", "read_master_log_pos"),
    "exec_master_log_pos": ("exec_source_log_pos", "exec_master_log_pos"),
    "relay_log_pos": ("relay_log_pos",), "relay_log_size": ("relay_log_space",),
    "seconds_behind_master": ("seconds_behind_source", "seconds_behind_master"),
    "last_errno": ("last_errno",), "last_io_errno": ("last_io_errno",),
    "slave_open_temp_tables": ("replica_open_temp_tables", "slave_open_temp_tables"),
    "slave_retried_transactions": ("retried_transactions", "slave_retried_transactions"),
}  # fmt: skip

Row = Sequence[str | None]


def mysql(version: str, status: Sequence[Row], variables: Sequence[Row]) -> dict[str, Any]:
    """Return what a server says of itself, by group; ``replication`` is added by whoever may see it."""
    told: dict[str, Any] = {"version": version, "replication": None}
    for names, rows in ((_STATUS, status), (_VARIABLES, variables)):
        said = {str(row[0]).lower(): row[1] for row in rows if len(row) == 2}
        for (group, name), theirs in names.items():
            told.setdefault(group, {})[name] = number(said.get(theirs))
    return told


def replication(status: Sequence[Row], names: Sequence[str], row: Row) -> dict[str, Any]:
    """Return what a replica says of itself."""
    said: dict[str, str | None] = {str(item[0]).lower(): item[1] for item in status if len(item) == 2}
    said |= {name.lower(): value for name, value in zip(names, row, strict=False)}

    def first(known: Sequence[str]) -> str | None:
        return next((said[name] for name in known if said.get(name) is not None), None)

    texts = {name: (first(known) or "")[:1000] for name, known in _REPLICATION_TEXTS.items()}
    return texts | {name: number(first(known)) for name, known in _REPLICATION_NUMBERS.items()}


def number(text: str | None) -> int | float | None:
    """Return the number that a server writes; None for none."""
    if text is None or not re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", text):
        return None
    return float(text) if "." in text else int(text)


#: Each gives one row. What a managed service hides from its users is nothing.
POSTGRES: Final[Mapping[str, str]] = {
    "server": (
        "SELECT current_setting('server_version'), extract(epoch FROM now() - pg_postmaster_start_time()),"
        " pg_is_in_recovery(), current_setting('max_connections'),"
        " extract(epoch FROM now() - pg_last_xact_replay_timestamp())"
    ),
    "connections": (
        "SELECT count(*), count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state = 'idle'),"
        " count(*) FILTER (WHERE state LIKE 'idle in transaction%'),"
        " count(*) FILTER (WHERE wait_event_type = 'Lock'),"
        " coalesce(extract(epoch FROM now() - min(xact_start)), 0)"
        " FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ),
    "databases": (
        "SELECT count(*), sum(xact_commit), sum(xact_rollback), sum(blks_read), sum(blks_hit), sum(tup_returned),"
        " sum(tup_fetched), sum(tup_inserted), sum(tup_updated), sum(tup_deleted), sum(conflicts), sum(deadlocks),"
        " sum(temp_files), sum(temp_bytes) FROM pg_stat_database WHERE datname IS NOT NULL"
    ),
    "size": (
        "SELECT sum(pg_database_size(oid)) FROM pg_database"
        " WHERE datallowconn AND has_database_privilege(oid, 'CONNECT')"
    ),
    "replication": (
        "SELECT count(*), max(extract(epoch FROM replay_lag)), max(pg_wal_lsn_diff("
        "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, replay_lsn))"
        " FROM pg_stat_replication"
    ),
}  # fmt: skip
_POSTGRES_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "connections": ("total", "active", "idle", "idle_in_transaction", "waiting", "longest_transaction"),
    "databases": (
        "count", "commits", "rollbacks", "blocks_read", "blocks_hit", "rows_returned", "rows_fetched", "rows_inserted",
        "rows_updated", "rows_deleted", "conflicts", "deadlocks", "temp_files", "temp_bytes",
    ),
    "replication": ("replicas", "replay_lag", "replay_lag_bytes"),
}  # fmt: skip


def postgres(answers: Mapping[str, Row | None]) -> dict[str, Any]:
    """Return what a server says of itself, from one row for each of ``POSTGRES``; None for what it did not answer."""
    version, uptime, is_standby, most, behind = _row(answers.get("server"), 5)
    told: dict[str, Any] = {
        "version": version, "uptime": number(uptime), "in_recovery": is_standby == "t",
        "max_connections": number(most), "behind": number(behind), "size": number(_row(answers.get("size"), 1)[0]),
    }  # fmt: skip
    for group, names in _POSTGRES_NAMES.items():
        row = _row(answers.get(group), len(names))
        told[group] = {name: number(value) for name, value in zip(names, row, strict=True)}
    return told


def _row(row: Row | None, size: int) -> Row:
    return row if row is not None and len(row) == size else [None] * size
