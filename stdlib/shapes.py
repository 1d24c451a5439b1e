"""What the maps hold that calls give: their fields and the types of those, down to the last. Pure.

The annotation of an implementation says that it gives a map (``dict[str, Any]``), its text says what that means; here
is which fields there are, as far down as maps and lists go. Read by what looks at results that tests of a manifest
declare, and by the reference; the agent never loads it. A test holds it against what calls really give.

A shape is written as a Python expression: ``{name: str, size: int | None}`` is a map of these fields, ``[str]`` a list
of texts, ``{...: int}`` a map whose keys come from the host, and a name in capitals one of ``NAMED``,
whose fields ``**`` takes over into a map of more.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from stdlib.network import database_readings, readings

#: What several calls give.
NAMED = {
    "STATUS": """{type: str, size: int, mode: str, uid: int, gid: int, owner: str | None, group: str | None,
        atime: float, mtime: float, ctime: float, inode: int, nlink: int}""",
    "ENTRY": "{path: str | bytes, name: str | bytes, type: str, depth: int, size: int, mtime: float}",
    "WRITTEN": "{created: bool, old_hash: str | None, new_hash: str, journal: str | None, no_undo: str | None}",
    "TROUBLE": "{path: str, code: str, message: str}",
    "PROCESS": """{pid: int, ppid: int, name: str, user: str | None, state: str, nice: int, prio: int, threads: int,
        started: float, size: int, rss: int, share: int | None, cpu_user: float, cpu_sys: float, faults: int}""",
    "RAN": """{code: int | None, signal: int | None, stdout: str | bytes, stderr: str | bytes, truncated: bool,
        ms: float}""",
    "ENDED": "{code: int | None, signal: int | None, cpu: float, peak_bytes: int, stragglers: int}",
    "COUNTERS": """{reads: int, writes: int, read_bytes: int, write_bytes: int, rtime: int, wtime: int, time: int,
        qtime: int, in_flight: int}""",
    "SERVICE": """{name: str, description: str | None, load: str | None, state: str | None, sub: str | None,
        enabled: str | None, pid: int | None, since: float | None}""",
    "ACCOUNT": """{name: str, uid: int, gid: int, full_name: str | None, home: str, shell: str, groups: [str],
        system: bool, source: str, password: str | None, password_changed: float | None, min_days: int | None,
        max_days: int | None, warn_days: int | None, inactive_days: int | None, expires: float | None}""",
    "CERTIFICATE": """{subject: str | None, issuer: str | None, sans: [str], start: float | None, end: float | None,
        end_in: float | None, error: str | None}""",
    "TIMES": """{tt_resolve: float | None, tt_connect: float | None, tt_tls: float | None,
        tt_firstbyte: float | None}""",
    "STALL": "{avg10: float, avg60: float, avg300: float, total: int}",
    "STALLS": "{some: STALL, full: STALL}",
}  # fmt: skip

_LISTENER = """{protocol: str, family: str, local_address: str, local_port: int, receive_queue: int, uid: int,
    user: str | None, inode: int, type: str, path: str | None}"""
_SOCKET = """{protocol: str, family: str, state: str, local_address: str, local_port: int, remote_address: str,
    remote_port: int, send_queue: int, receive_queue: int, uid: int, user: str | None, inode: int, type: str,
    path: str | None}"""


def _counts(told: dict[str, Any], **more: str) -> str:
    """Return the shape of what a reading gives of an empty answer: its groups and their counters."""
    fields = {name: more.pop(name, "") or _count(value) for name, value in told.items()} | more
    return "{" + ", ".join(f'"{name}": {shape}' for name, shape in fields.items()) + "}"


def _count(value: Any) -> str:
    if isinstance(value, dict):
        return _counts(value)
    return "str" if isinstance(value, str) else "int | float | None"


_REPLICA = _counts(database_readings.replication((), (), ()))

#: What each call gives: the map itself, one item of a list or stream, or what a handle tells.
SHAPES = {
    "consent.ask": "{granted: bool, by: str}",
    "ctx.budget":
        "{calls: int, output_bytes: int, log_lines: int, open_files: int, processes: int, metrics: int, rows: int}",
    "file.stat": "STATUS",
    "fs.changes": "{journal: str | None, call: str, path: str, no_undo: str | None}",
    "fs.chown": "{uid: int, gid: int}",
    "fs.copy": "WRITTEN",
    "fs.disk_usage": "{path: str, bytes: int, depth: int}",
    "fs.fetch": "WRITTEN",
    "fs.glob": "ENTRY",
    "fs.grep": "{path: str, line: int, text: str | bytes, before: [str | bytes], after: [str | bytes]}",
    "fs.largest": """{files: [{path: str, size: int}], seen: int, truncated: bool, denied: int, deeper: int,
        failed: int, errors: [TROUBLE]}""",
    "fs.list": "{entries: [{name: str | bytes, type: str}], more: bool}",
    "fs.lstat": "STATUS",
    "fs.mounts": "{device: str, dir: str, type: str, options: str, read_only: bool}",
    "fs.open": "{path: str}",
    "fs.open_write": "{path: str, journal: str | None}",
    "fs.patch": "{diff: str, new_hash: str | None, journal: str | None, no_undo: str | None}",
    "fs.space": "{total: int, free: int, avail: int, used: int, files: int, free_files: int}",
    "fs.stat": "STATUS",
    "fs.tail": "{lines: [str | bytes], cursor: str, more: bool, rotated: bool, missed: bool}",
    "fs.unlink": "{existed: bool, journal: str | None, no_undo: str | None}",
    "fs.walk": "ENTRY",
    "fs.watch": "{event: str, path: str, is_dir: bool}",
    "fs.write": "WRITTEN",
    "fs.write_stream": "{}",
    "fs.xattr": "{...: str | bytes}",
    "listener.accept": "{ip: str, port: int}",
    "net.connect": "{ip: str, port: int, tls: str | None}",
    "net.counters": """{rx_bytes: int, rx_packets: int, rx_errors: int, rx_dropped: int, rx_overruns: int,
        rx_frame: int, rx_compressed: int, rx_multicast: int, tx_bytes: int, tx_packets: int, tx_errors: int,
        tx_dropped: int, tx_overruns: int, tx_collisions: int, tx_carrier: int, tx_compressed: int,
        link_state: str}""",
    "net.firewall": """{chains: [{source: str, family: str | None, table: str | None, chain: str | None,
        hook: str | None, priority: int | str | None, policy: str | None}], rules: [{source: str,
        family: str | None, table: str | None, chain: str | None, rule: str}], more: bool}""",
    "net.forward": "{ip: str, port: int}",
    "net.http": """{url: str, redirects: int, code: int | None, headers: {...: str}, body: str | bytes | None,
        bytes: int, truncated: bool, matches: {...: bool}, cert: CERTIFICATE | None, ip: str | None, error: str | None,
        duration: float, **TIMES}""",
    "net.http_status_page": _counts(
        readings.status_page("Scoreboard: .\nBusyWorkers: 1"), server="str",
        **dict.fromkeys(("active", "accepts", "handled", "requests", "reading", "writing", "waiting"), "int | None"),
    ),
    "net.interfaces": """{name: str, type: str, address: str | None, netmask: str | None, broadcast: str | None,
        address6: str | None, mac: str | None, mtu: int | None, flags: [str], link_state: str, internal: bool}""",
    "net.listen": "{address: str, port: int}",
    "net.listeners": f"{{listeners: [{_LISTENER}], more: bool}}",
    "net.mysql_status": _counts(
        database_readings.mysql("", (), ()), version="str", replication=f"{_REPLICA} | None"
    ),
    "net.neighbours": """{neighbours: [{family: str, address: str, mac: str | None, interface: str, state: str,
        router: bool}], more: bool}""",
    "net.pg_status": _counts(database_readings.postgres({}), version="str | None", in_recovery="bool"),
    "net.ping": """{sent: int, received: int, available: float, min: float | None, avg: float | None,
        max: float | None, ip: str, method: str, error: str | None, tt_resolve: float | None}""",
    "net.redis_info": _counts(readings.redis("redis_version:0"), version="str", role="str | None"),
    "net.resolve": """{records: [{name: str, type: str, ttl: int | None, value: str}], server: str | None,
        ms: float}""",
    "net.routes": """{routes: [{family: str, destination: str, gateway: str | None, netmask: str | None,
        interface: str, flags: str, metric: int, references: int, used: int, mss: int | None, window: int | None,
        irtt: int | None}], more: bool}""",
    "net.socket_owners": "{owners: [{inode: int, pid: int, process: str}], more: bool, unread: int}",
    "net.sockets": f"{{sockets: [{_SOCKET}], states: {{...: int}}, more: bool}}",
    "net.tcp_check": """{ip: str | None, port: int, **TIMES, duration: float, banner: str | None, match: bool | None,
        tls: str | None, cert: CERTIFICATE | None}""",
    "net.tls_peer": """{**CERTIFICATE, ip: str | None, tls: str | None, tt_resolve: float | None,
        tt_connect: float | None, tt_tls: float | None, duration: float}""",
    "net.traceroute": """{hops: [{ttl: int, address: str | None, ms: float | None}], reached: bool, ip: str,
        tt_resolve: float | None}""",
    "net.udp": "{ip: str, port: int}",
    "net.unix": "{path: str}",
    "proc.cgroup": "{path: str | None, controllers: {...: str}}",
    "proc.command": "RAN",
    "proc.deleted_libs": "{pid: int, process: str, library: str}",
    "proc.environ": "{...: str | bytes}",
    "proc.exec": "RAN",
    "proc.get": "PROCESS",
    "proc.io": """{read_chars: int, write_chars: int, read_calls: int, write_calls: int, read_bytes: int,
        write_bytes: int, cancelled_bytes: int}""",
    "proc.limits": "{name: str, soft: int | None, hard: int | None, unit: str | None}",
    "proc.list": "PROCESS",
    "proc.open_files": "{fd: int, path: str, type: str}",
    "proc.renice": "{pid: int, name: str, before: int}",
    "proc.self": """{pid: int, uid: int, gid: int, user: str, home: str | None, cwd: str, rss: int, cpu: float}""",
    "proc.signal": "{pid: int, name: str}",
    "proc.spawn": "{pid: int, program: str}",
    "proc.start": "{pid: int, program: str}",
    "proc.tree": "{**PROCESS, depth: int}",
    "proc.wait_for": "PROCESS",
    "process.wait": "ENDED",
    "rate": "{per_second: float | None, delta: float | None, seconds: float | None, reason: str | None}",
    "secret": "{name: str}",
    "sys.audit_events": "{time: float, serial: int, type: str, fields: {...: str}}",
    "sys.block_devices": """{name: str, type: str, parent: str | None, device: str | None, size: int | None,
        read_only: bool | None, removable: bool | None, rotational: bool | None, model: str | None,
        vendor: str | None, serial: str | None, scheduler: str | None, holders: [str], file_system: str | None,
        uuid: str | None, label: str | None, mounted: [str]}""",
    "sys.clock": """{time: float, utc: str, zone: str, utc_offset: int | None, ntp_synced: bool | None,
        offset_ms: float | None, max_error_ms: float | None, est_error_ms: float | None}""",
    "sys.containers": """{containers: [{runtime: str, id: str, processes: int, pid: int, name: str | None,
        image: str | None}], more: bool}""",
    "sys.cpu": """{user: int, nice: int, sys: int, idle: int, wait: int, irq: int, soft_irq: int, stolen: int,
        total: int}""",
    "sys.cpu_info": """{name: str, vendor: str | None, model: str | None, mhz: float | None, core: int | None,
        socket: int | None, cache: int | None, total_cores: int | None, total_sockets: int | None}""",
    "sys.cron": """{jobs: [{file: str, user: str | None, m: str | None, h: str | None, dom: str | None,
        mon: str | None, dow: str | None, special: str | None, command: str}], more: bool}""",
    "sys.cron_set": "{file: str, existed: bool, line: str}",
    "sys.disk_io": "COUNTERS",
    "sys.disks": "{device: str, **COUNTERS}",
    "sys.group": "{name: str, gid: int, members: [str], source: str}",
    "sys.hardware": """{system: {vendor: str | None, product: str | None, version: str | None, family: str | None,
        serial: str | None, uuid: str | None}, board: {vendor: str | None, name: str | None, version: str | None,
        serial: str | None}, firmware: {vendor: str | None, version: str | None, date: str | None},
        chassis: {vendor: str | None, type: str | None, serial: str | None}, pci: [{address: str, "class": str | None,
        vendor: str | None, device: str | None, driver: str | None}], usb: [{name: str, vendor: str | None,
        product: str | None, manufacturer: str | None, description: str | None, "class": str | None}]}""",
    "sys.host": """{hostname: str, fqdn: str | None, os: str, kernel: str, arch: str, distro: str | None,
        version: str | None, boot_time: float | None, vm: str | None, container: str | None,
        machine_id: str | None, cloud: str | None}""",
    "sys.journal": """{entries: [{time: float | None, level: str | None, unit: str | None, identifier: str | None,
        pid: int | None, message: str | None}], cursor: str | None, more: bool}""",
    "sys.kernel_log": """{entries: [{sequence: int, time: float, uptime: float, level: str, facility: int,
        message: str}], more: bool}""",
    "sys.last_logins": """{logins: [{user: str, device: str, host: str, login: float, logout: float | None,
        ended: str | None}], boots: [{time: float, kernel: str}], log_start: float | None, more: bool}""",
    "sys.loadavg": '{"1m": float, "5m": float, "15m": float}',
    "sys.memory": """{total: int, free: int, used: int, actual_free: int, actual_used: int, used_percent: float,
        free_percent: float, ram: int, swap_total: int, swap_used: int, swap_free: int, swap_page_in: int,
        swap_page_out: int}""",
    "sys.modules": """{modules: [{name: str, size: int, instances: int | None, dependencies: [str], state: str,
        taints: str | None}], more: bool}""",
    "sys.package_install": """{manager: str, changed: [{name: str, before: str | None, after: str | None}]}""",
    "sys.packages": """{manager: str, packages: [{name: str, version: str, arch: str | None, size: int | None}],
        more: bool}""",
    "sys.pressure": "{cpu: STALLS, memory: STALLS, io: STALLS, irq: STALLS}",
    "sys.reboot": "{at: float | None}",
    "sys.sensors": """{kind: str, chip: str, label: str | None, value: float, unit: str, max: float | None,
        critical: float | None}""",
    "sys.service": """{**SERVICE, type: str | None, result: str | None, exit_status: int | None, restarts: int | None,
        restart: str | None, memory: int | None, tasks: int | None, cpu: float | None, file: str | None,
        user: str | None, names: [str], requires: [str], ended: float | None, group: str | None}""",
    "sys.services": "{manager: str, services: [SERVICE], more: bool}",
    "sys.smart": """{passed: bool | None, model: str | None, serial: str | None, firmware: str | None,
        protocol: str | None, temperature: int | float | None, power_on_hours: int | None, power_cycles: int | None,
        attributes: [{id: int | None, name: str | None, value: int | None, worst: int | None, threshold: int | None,
        raw: int | None, failed: str | None}], nvme: {...: Any} | None}""",
    "sys.sysctl": "{...: str}",
    "sys.sysctl_set": "{before: str | None, after: str | None}",
    "sys.timers": """{name: str, unit: str | None, state: str | None, enabled: str | None, next: float | None,
        last: float | None, result: str | None, persistent: bool | None}""",
    "sys.updates": """{manager: str, pending: [{name: str, installed: str | None, candidate: str | None,
        security: bool | None}], more: bool, checked: float | None, reboot_required: bool | None,
        reboot_packages: [str] | None, automatic: bool | None, method: str | None}""",
    "sys.user": "ACCOUNT",
    "sys.user_change": "ACCOUNT",
    "sys.users": "{users: [ACCOUNT], more: bool}",
    "sys.who": "{user: str, device: str, time: float, host: str, pid: int}",
    "tty.expect": "{pattern: str | None, match: str | None, groups: [str | None], before: str}",
    "tty.login": "{pid: int, program: str}",
    "tty.open": "{pid: int, program: str}",
    "tty.screen": """{cols: int, rows: int, lines: [str], cursor: {row: int, col: int, hidden: bool}, title: str,
        alternate: bool, exact: bool}""",
    "tty.sessions": """{id: str, kind: str, user: str, started: float, size: {cols: int, rows: int} | None,
        watchers: [str], recording: bool}""",
    "tty.wait": "ENDED",
    "tunnel.counts": "{sent: int, received: int}",
    "writer.finish": "WRITTEN",
}  # fmt: skip
SHAPES["sys.service_control"] = SHAPES["sys.service"]

Shape = ast.expr


@cache
def named(name: str) -> Shape:
    """Return one of ``NAMED``."""
    return _parsed(NAMED[name])


@cache
def shape_of(call: str) -> Shape | None:
    """Return the shape of the maps that a call gives; None if it gives none, or only in the sandbox itself."""
    return _parsed(SHAPES[call]) if call in SHAPES else None


def fields_of(shape: ast.Dict) -> dict[Any, Shape]:
    """Return the fields of a map in their order; under ``...`` what all others hold, if keys come from the host."""
    found: dict[Any, Shape] = {}
    for key, held in zip(shape.keys, shape.values, strict=True):
        if key is None:  # fields taken over
            taken = named(ast.unparse(held))
            found |= fields_of(taken) if isinstance(taken, ast.Dict) else {}
        elif isinstance(key, ast.Constant):
            found[key.value] = held
        else:
            found[ast.unparse(key)] = held
    return found


def _parsed(text: str) -> Shape:
    return ast.parse(text, mode="eval").body
