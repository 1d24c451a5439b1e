"""A worker that runs an attack in place of a script: what one could do who took the interpreter over.

As an entry of a zygote it stands where ``sandbox.worker`` stands; walls, channel and launcher are the real ones. All
that attacks need is imported here, because a locked process can open no file.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import resource
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

import msgpack

from sandbox.channel import Channel, framed
from sandbox.runtimes import CallError

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
MODULES = (mmap, platform, resource, signal, socket, struct)  # what attacks import by themselves

#: Numbers that are the same for all processors from 424 on (asm-generic/unistd.h), and those of the older ones.
_X86_64 = {
    "ptrace": 101, "mount": 165, "shmget": 29, "keyctl": 250, "add_key": 248, "perf_event_open": 298, "bpf": 321,
    "userfaultfd": 323, "memfd_create": 319, "execveat": 322, "process_vm_readv": 310, "process_vm_writev": 311,
    "setns": 308, "unshare": 272, "finit_module": 313, "syslog": 103, "personality": 135, "pkey_mprotect": 329,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "splice": 275, "rt_sigaction": 13, "statx": 332,
    "fanotify_init": 300, "mknodat": 259, "chroot": 161, "capset": 126, "capget": 125, "kcmp": 312, "prctl": 157,
    "modify_ldt": 154, "vmsplice": 278, "inotify_init1": 294, "seccomp": 317, "sethostname": 170, "getpid": 39,
    "futex": 202,
}  # fmt: skip
_AARCH64 = {
    "ptrace": 117, "mount": 40, "shmget": 194, "keyctl": 219, "add_key": 217, "perf_event_open": 241, "bpf": 280,
    "userfaultfd": 282, "memfd_create": 279, "execveat": 281, "process_vm_readv": 270, "process_vm_writev": 271,
    "setns": 268, "unshare": 97, "finit_module": 273, "syslog": 116, "personality": 92, "pkey_mprotect": 288,
    "name_to_handle_at": 264, "open_by_handle_at": 265, "splice": 76, "rt_sigaction": 134, "statx": 291,
    "fanotify_init": 262, "mknodat": 33, "chroot": 51, "capset": 91, "capget": 90, "kcmp": 272, "prctl": 167,
    "vmsplice": 75, "inotify_init1": 26, "seccomp": 277, "sethostname": 161, "getpid": 172,
    "futex": 98,
}  # fmt: skip
_NEW = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "clone3": 435, "openat2": 437,
    "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440,
}  # fmt: skip
NO_CALL = 0xFFF  # on no processor; what one of them lacks is tried with it, and is held like any other number


def numbers(machine: str) -> dict[str, int]:
    """Return the number of each call on ``machine``, for calls that it does not have ``NO_CALL``."""
    own = _X86_64 if machine == "x86_64" else _AARCH64
    return dict.fromkeys(_X86_64 | _AARCH64, NO_CALL) | own | _NEW


NUMBERS = numbers(platform.machine())


class Worker:
    """What an attack holds: the channel to the gate, the kernel, and where its prey is."""

    def __init__(self, channel: Channel, descriptor: int, parameters: dict[str, Any]) -> None:
        self.channel = channel
        self.secret: str = parameters["secret"]  # a file outside; whoever reads it has escaped
        self.touched: str = parameters["touched"]  # a file that is not there; whoever makes it has escaped
        self.open: str = parameters["open"]  # the one directory that calls may read
        self.port: int = parameters["port"]  # of a listener on the loopback, which tells the token
        self.agent: int = parameters["agent"]  # the pid of the process behind the gate
        self.descriptor = descriptor  # of the channel

    def syscall(self, name: str | int, *args: Any) -> int:
        """Make a system call; ``OSError`` if the kernel refuses."""
        number = NUMBERS[name] if isinstance(name, str) else name
        done = int(LIBC.syscall(ctypes.c_long(number), *(_as_word(arg) for arg in args)))
        if done < 0:
            raise OSError(ctypes.get_errno(), str(name))
        return done

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        """Make one call through the gate."""
        return self.channel.call(name, list(args), named)

    def write(self, data: bytes) -> None:
        """Write these very bytes to the gate."""
        left = memoryview(data)
        while left:
            left = left[os.write(self.descriptor, left) :]

    def frame(self, message: Any) -> None:
        """Write one frame with a message that need not be one."""
        self.write(framed(msgpack.packb(message, use_bin_type=True)))

    def finish(self, value: Any) -> None:
        """Tell the result, as an honest worker does at its end."""
        self.channel.finish(value)


def _as_word(value: Any) -> Any:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return value


def perform(channel: Channel, descriptor: int, source: str, parameters: dict[str, Any]) -> None:
    """Run the attack in ``source`` and tell what came of it."""
    names: dict[str, Any] = {"__name__": "attack"}
    exec(compile(source, "attack.py", "exec"), names)
    attack: Callable[[Worker], Any] = names["attack"]
    value, told = None, None
    try:
        value = attack(Worker(channel, descriptor, parameters))
    except CallError as error:
        told = [error.message, None, error.code]
    except OSError as error:
        value = {"errno": errno.errorcode.get(error.errno or 0, str(error.errno))}
    channel.finish(value, told)


def preload() -> None:
    """Nothing: all that attacks need is imported above."""


def main(channel: Any, *, language: str, bindings: list[Any], memory_bytes: int, lock: Callable[[], None]) -> None:
    """Be a worker."""
    os.set_inheritable(3, True)  # else a worker that becomes another program is killed before that has done anything
    try:
        lock()
    except BaseException:  # noqa: BLE001 - as the real worker
        os._exit(71)
    try:
        _, (_, files, parameters, *_) = channel.receive_start()
        perform(channel, 3, dict(files)["attack.py"].decode(), parameters)
    except BaseException as error:  # noqa: BLE001 - a worker ends here, whatever happened
        channel.output(f"{type(error).__name__}: {error}".encode())
        os._exit(70)
    os._exit(0)
