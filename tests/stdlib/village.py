"""A small world in which every example of a call can really be run: names, addresses and services on its own loopback.

A process that calls :func:`enter` leaves the machine's network and mounts behind (namespaces of its own): it has a
loopback with a few addresses, its own copy on write of /etc, /var, /run, /tmp and /usr/sbin, and files of the tests in
place of those of /proc and /sys that a machine may lack or that an example would change. Nothing of the machine is
changed, and nothing outside is reached.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from pathlib import Path

import databases
from exemplary import exemplary
from netlab import Authority, Serve, answer, saying

CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE, MS_BIND = 0x20000, 0x40000000, 0x4000, 1 << 18, 4096
COPIED = ("etc", "var", "run", "tmp", "usr/sbin")
ROOM = Path("/mnt")  # FHS: for mounts of the moment
TOOLS = ("systemctl", "journalctl", "smartctl", "nft", "apt-get", "shutdown")  # useradd is the real one
WEB, MAIL, DATABASE, REDIS, GATEWAY = (f"192.0.2.{number}" for number in (80, 25, 33, 79, 1))
WEB6 = "2001:db8::80"
HOSTS = f"""\
127.0.0.1 localhost {socket.gethostname()}
{WEB} www.example.org
{WEB6} www.example.org
{MAIL} mail.example.org
{DATABASE} db.example.org
{REDIS} redis.example.org
{GATEWAY} gateway.example.org
"""
STATUS_PAGE = b"Total Accesses: 9\nBusyWorkers: 1\nIdleWorkers: 4\nScoreboard: _W.\n"
SERVED = {"/health": b"fine", "/server-status": STATUS_PAGE, "/a.tgz": b"a download"}
SERVICE_S = 60.0  # that one has to come up
_libc = ctypes.CDLL(None, use_errno=True)


class NoVillage(Exception):
    """This machine does not let the tests make one; says why."""


def _mount(source: str, target: Path, kind: str = "none", flags: int = 0, data: str = "") -> None:
    given = (source.encode(), str(target).encode(), kind.encode(), flags, data.encode())
    if _libc.mount(*given) != 0:
        raise NoVillage(f"mount of {target}: {os.strerror(ctypes.get_errno())}")


def enter() -> None:
    """Move this process, which must have one thread, into a world of its own.

    Raises:
        NoVillage: The machine does not let it.
    """
    if os.geteuid() != 0:
        raise NoVillage("only root may make namespaces with mounts on every machine")
    if _libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise NoVillage(f"unshare: {os.strerror(ctypes.get_errno())}")
    _mount("none", Path("/"), flags=MS_REC | MS_PRIVATE)
    _mount("tmpfs", ROOM, "tmpfs")
    for name in COPIED:
        upper, work = ROOM / name / "upper", ROOM / name / "work"
        upper.mkdir(parents=True)
        work.mkdir()
        upper.chmod(os.stat(f"/{name}").st_mode & 0o7777)
        _mount("overlay", Path("/", name), "overlay", data=f"lowerdir=/{name},upperdir={upper},workdir={work}")
    _furnish()
    for words in (
        ["link", "set", "lo", "up"],
        *(["address", "add", f"{address}/32", "dev", "lo"] for address in (WEB, MAIL, DATABASE, REDIS, GATEWAY)),
        ["address", "add", f"{WEB6}/128", "dev", "lo", "nodad"],
    ):
        subprocess.run(["ip", *words], check=True, timeout=30)


def _furnish() -> None:
    """Put what the examples speak of where it belongs, and stand-ins over what they would change."""
    made = exemplary(ROOM / "made").place
    for name in TOOLS:
        for path in (made / "tools").glob(f"{name}*"):
            target = Path("/usr/sbin", path.name)
            target.unlink(missing_ok=True)
            target.write_text(path.read_text().replace(f"PLACE={made}", "PLACE="))
            target.chmod(0o755)
    for name in ("run/systemd/system", "var/log/journal", "var/log/wtmp", "run/utmp", "var/log/audit", "etc/cron.d"):
        source, target = made / name, Path("/", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    for name in ("proc/modules", "proc/diskstats", "proc/sys/vm/swappiness", "proc/pressure/memory", "dev/kmsg"):
        if os.path.exists(f"/{name}"):
            _mount(str(made / name), Path("/", name), flags=MS_BIND)
    for name in ("sys/class/hwmon", "sys/class/thermal", "sys/block"):
        if os.path.isdir(f"/{name}"):
            _mount(str(made / name), Path("/", name), flags=MS_BIND)
    if os.stat("/proc/sys/vm/swappiness").st_dev != os.stat(ROOM).st_dev:
        raise NoVillage("the kernel's own setting would be changed")
    Path("/etc/hosts").unlink(missing_ok=True)
    Path("/etc/hosts").write_text(HOSTS)
    for name in ("/etc/default", "/etc/apt"):
        Path(name).mkdir(exist_ok=True)
    Path("/etc/hostname").write_text("village\n")
    with Path("/etc/passwd").open("a") as file:
        file.write("mia:x:1001:1001:Mia M,,,:/home/mia:/bin/sh\n")


# services -------------------------------------------------------------------------------------------------------------


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        while (await reader.readline()).strip():
            continue
        path = line.split()[1].decode().partition("?")[0]
        writer.write(answer(SERVED.get(path, b""), "200 OK" if path in SERVED else "404 Not Found"))
        await writer.drain()


async def _greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something first and read what comes."""
    writer.write(b"welcome\r\n")
    while await reader.read(1024):
        continue


def _quietly(serve: Serve) -> Serve:
    """Who leaves without a word is no failure."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    return one


class _Echo(asyncio.DatagramProtocol):
    """Answers each datagram, and one that is only waited for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: object) -> None:
        self.transport.sendto(data, address)  # type: ignore[attr-defined]  # a datagram transport


def _relay(to_port: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to_port)
        try:
            await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))
        finally:
            far_writer.close()

    return serve


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


@contextmanager
def _redis() -> Iterator[None]:
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("no redis-server is installed")
    words = [program, "--bind", REDIS, "--port", "6379", "--save", "", "--protected-mode", "no", "--dir", "/tmp"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _answers(REDIS, 6379), "redis")
        yield
    finally:
        process.terminate()
        process.wait(60)


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1.0).close()
    except OSError:
        return False
    return True


def _until(is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + SERVICE_S
    while not is_so():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{what} did not come up")
        databases.select_a_moment()


async def knocking(address: str, port: int) -> None:
    """Visit whoever listens there, again and again: nobody tells when somebody begins to listen."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
        await asyncio.to_thread(databases.select_a_moment)


class Village:
    """The services. What could not be started is in ``missing``: example's call -> why."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.authority = Authority()
        self._open = AsyncExitStack()
        self._blocking = ExitStack()

    async def __aenter__(self) -> Village:
        authorities = self.authority.pem
        tls = self.authority.server("www.example.org")
        for address in (WEB, WEB6):
            await self._serve(_web, address, 80)
            await self._serve(_web, address, 443, ssl=tls)
        await self._serve(saying(b"220 mail.example.org ESMTP\r\n"), MAIL, 25)
        await self._serve(_greets, "127.0.0.1", 6379)
        os.makedirs("/run/mysqld", exist_ok=True)
        server = await asyncio.start_unix_server(_quietly(_greets), "/run/mysqld/mysqld.sock")
        self._open.callback(server.close)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Echo, ("127.0.0.1", 123))
        self._open.callback(transport.close)
        task = asyncio.create_task(knocking("127.0.0.1", 8080))
        self._open.callback(task.cancel)
        databases.PASSWORD = "sesame"
        for call, start, port in (
            ("net.redis_info", _redis, 0), ("net.mysql_status", databases.mariadb, 3306),
            ("net.pg_status", databases.postgres, 5432),
        ):  # fmt: skip
            try:
                running = await asyncio.to_thread(self._blocking.enter_context, start())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told as the reason
                self.missing[call] = f"{type(error).__name__}: {error}"[:300]
                continue
            if port:
                authorities += running.authority.pem
                await self._serve(_relay(running.port), DATABASE, port)
        Path("/tmp/ca.pem").write_text(authorities)
        return self

    async def _serve(self, serve: Callable[..., Awaitable[None]], address: str, port: int, **more: object) -> None:
        server = await asyncio.start_server(_quietly(serve), address, port, **more)
        self._open.callback(server.close)

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()
        await asyncio.to_thread(self._blocking.close)
