"""A worker that runs native attacks instead of scripts: what an attacker could do who took an interpreter over.

It takes the place of ``sandbox.worker`` in a zygote of the tests; walls, channel and launcher are the real ones.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
MAPPED: list[Any] = []  # kept, so that nothing is given back


def preload() -> None:
    """Nothing: all that attacks need is imported above."""


def main(channel: Any, *, language: str, bindings: list[Any], memory_bytes: int, lock: Callable[[], None]) -> None:
    try:
        lock()
    except BaseException:  # noqa: BLE001 - as the real worker
        os._exit(71)
    _, (_, _, wanted, *_) = channel.receive_start()
    try:
        value = ATTACKS[wanted["attack"]](channel, *wanted["args"])
        result = {"errno": 0, "value": value}
    except OSError as error:
        result = {"errno": error.errno}
    except MemoryError:
        result = {"errno": errno.ENOMEM}
    channel.finish(result)
    os._exit(0)


def libc(name: str, *args: Any) -> int:
    done: int = getattr(LIBC, name)(*args)
    if done < 0:
        raise OSError(ctypes.get_errno(), name)
    return done


def open_file(_channel: Any, path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def unlink(_channel: Any, path: str) -> None:
    os.unlink(path)


def connect(_channel: Any, port: int) -> None:
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))


def connect_abstract(_channel: Any, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + name)


def kill(_channel: Any, pid: int, number: int) -> None:
    os.kill(pid, number)


def fork(_channel: Any) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def run_program(_channel: Any, path: str) -> int:
    """Run a program and return its exit status."""
    child = os.fork()
    if child == 0:
        os.execv(path, [path])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ptrace_parent(_channel: Any) -> None:
    libc("ptrace", 16, os.getppid(), 0, 0)  # PTRACE_ATTACH
    os.waitpid(os.getppid(), 0)
    libc("ptrace", 17, os.getppid(), 0, 0)  # PTRACE_DETACH


def map_code(_channel: Any) -> None:
    MAPPED.append(mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))


def make_code(_channel: Any) -> None:
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    libc("mprotect", ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 4 | 1)  # PROT_EXEC, PROT_READ


def become_root(_channel: Any) -> None:
    os.setresuid(0, 0, 0)


def shared_memory(_channel: Any, key: int) -> None:
    libc("shmget", key, 0, 0)


def host_name(_channel: Any) -> str:
    return os.uname().nodename


def set_host_name(_channel: Any, name: str) -> None:
    socket.sethostname(name)


def allocate(_channel: Any, size_bytes: int) -> None:
    MAPPED.append(mmap.mmap(-1, size_bytes))


def open_descriptors(_channel: Any, count: int) -> None:
    for _ in range(count):
        os.dup(3)


def write_file(_channel: Any, path: str) -> None:
    os.close(0)  # so that the limit on descriptors does not hide the one on sizes
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, b"x")


def visible_descriptors(_channel: Any) -> list[int]:
    found = []
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


def status(_channel: Any) -> dict[str, str]:
    with open("/proc/self/status", encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def group(_channel: Any) -> str:
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        return lines.read()


def limits(_channel: Any) -> dict[str, list[int]]:
    return {
        name: list(resource.getrlimit(getattr(resource, name))) for name in dir(resource) if name.startswith("RLIMIT_")
    }


def identity(_channel: Any) -> dict[str, Any]:
    return {"uid": list(os.getresuid()), "gid": list(os.getresgid()), "groups": os.getgroups(), "pid": os.getpid()}


def list_root(_channel: Any) -> list[str]:
    return os.listdir("/")


def make_file(_channel: Any, path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def spin(_channel: Any) -> None:
    while True:
        pass


def hold(channel: Any) -> None:
    """Say that the attack has begun, and wait until the end of the world."""
    channel.output(b"begun")
    os.read(3, 1)


def die(_channel: Any, number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def leave(_channel: Any, exit_status: int) -> None:
    os._exit(exit_status)


def send(_channel: Any, data: bytes) -> None:
    """Send these bytes as they are, and then nothing more."""
    left = memoryview(data)
    while left:
        left = left[os.write(3, left) :]
    os._exit(0)


def send_and_stay(_channel: Any, data: bytes) -> None:
    os.write(3, data)
    while True:
        os.read(3, 65536) or os._exit(0)


def finish_and_spin(channel: Any) -> None:
    """Tell a result and go on as if the run were not over."""
    channel.finish("told")
    while True:
        pass


def finish_and_die(channel: Any, number: int) -> None:
    """Tell a result, and then find out something by a crash."""
    channel.finish("told")
    die(channel, number)


def call(channel: Any, name: str, *args: Any) -> Any:
    return channel.call(name, list(args), {})


ATTACKS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        open_file, unlink, connect, connect_abstract, kill, fork, run_program, ptrace_parent, map_code, make_code,
        become_root, shared_memory, host_name, set_host_name, allocate, open_descriptors, write_file,
        visible_descriptors, status, group, limits, identity, list_root, make_file, spin, hold, die, leave, send,
        send_and_stay, finish_and_spin, finish_and_die, call,
    )
}  # fmt: skip
