"""Checked system calls."""

from __future__ import annotations

import errno
import os
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mounting import told

import kernel
from kernel import files


def test_a_refused_call_raises_the_kernel_s_own_number() -> None:
    """No status that somebody could forget to look at."""
    with pytest.raises(OSError, match="pivot_root") as caught:
        kernel.pivot_root(b"/nowhere", b"/nowhere")
    assert caught.value.errno in (errno.ENOENT, errno.EPERM)
    with pytest.raises(OSError, match="prctl"):
        kernel.prctl(0x7FFFFFFF)


def test_an_unknown_processor_is_refused() -> None:
    """Numbers that nobody checked would be other calls."""
    with pytest.raises(OSError, match="riscv64"):
        kernel.architecture("riscv64")


def test_both_processors_know_the_same_calls() -> None:
    """A name without a number would be a filter with a hole, or none."""
    x86_64, aarch64 = (kernel.ARCHITECTURES[name] for name in ("x86_64", "aarch64"))
    assert set(x86_64.calls) == set(aarch64.calls)


def test_numbers_beside_the_tables_are_the_same_on_both_processors() -> None:
    """Two calls are made without a table; libseccomp knows both processors."""
    import pyseccomp

    for machine in kernel.ARCHITECTURES:
        arch = getattr(pyseccomp.Arch, machine.upper())
        for name, number in (("clone3", kernel._CLONE3), ("openat2", files._OPENAT2)):
            assert pyseccomp.resolve_syscall(arch, name) == number, (machine, name)


def test_a_sibling_belongs_to_the_parent_s_parent() -> None:
    """So the process between can end, and its memory with it."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        pid, pidfd = kernel.fork_sibling()
        if pid == 0:
            os.write(writing, b"%d %d" % (os.getppid(), os.getpid()))
            os._exit(5)
        os._exit(0 if pidfd > 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(between, 0)[1]) == 0
    os.close(writing)
    parent, sibling = map(int, os.read(reading, 100).split())
    os.close(reading)
    assert parent == os.getpid()
    assert os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]) == 5


def test_a_child_is_born_into_a_group_or_not_at_all() -> None:
    """A descriptor that is no group is refused; the child does not begin elsewhere."""
    descriptor = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    with pytest.raises(OSError, match="clone3"):
        kernel.fork_child(descriptor)
    os.close(descriptor)
    pid, pidfd = kernel.fork_child()
    if pid == 0:
        os._exit(3)
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


@pytest.mark.parametrize("value", [2**32, -(2**31) - 1, 0x7FFF_1234_5678])
def test_nothing_of_more_than_32_bits_is_made_ready(value: int) -> None:
    """Only so many would be passed on, and the call would mean something else: an address is given as bytes."""
    with pytest.raises(OSError, match="is no argument"):
        kernel.batch([kernel.ready("close", value)])


def test_a_call_that_is_ready_gets_every_bit_of_its_arguments() -> None:
    """Numbers up to the last bit, the address of bytes, and noughts where nothing was given, as some calls demand."""
    most = resource.getrlimit(resource.RLIMIT_CORE)
    soft = struct.pack("QQ", 12345, most[1] if most[1] != resource.RLIM_INFINITY else 2**64 - 1)
    reading, writing = os.pipe()
    try:
        limit = kernel.ready("prlimit64", 0, resource.RLIMIT_CORE, soft)
        above = kernel.ready("close_range", 0xFFFFFFFF, 0xFFFFFFFF)
        kernel.make([limit, above, kernel.ready("dup3", writing, 100, os.O_CLOEXEC)])
        assert resource.getrlimit(resource.RLIMIT_CORE) == (12345, most[1])
        os.close(100)
        with pytest.raises(OSError, match="Bad file descriptor"):
            kernel.make([kernel.ready("close", 0xFFFFFFFF)])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, most)
        os.close(reading)
        os.close(writing)


def test_a_batch_is_made_in_order_and_stops_where_the_kernel_refuses() -> None:
    """What comes after a wall that does not stand is not done as if it did."""
    reading, writing = os.pipe()
    pid, pidfd = kernel.fork()
    if pid == 0:
        number = kernel.ready("prctl", 0x7FFFFFFF, what="the one that fails")
        one, two = (kernel.ready("dup3", writing, target, os.O_CLOEXEC) for target in (100, 101))
        try:
            kernel.make_batch(kernel.batch([one, number, two]))
        except OSError as error:
            made = [os.path.exists(f"/proc/self/fd/{target}") for target in (100, 101)]
            os.write(writing, f"{error.errno} {error.strerror} {made}".encode())
        os._exit(0)
    os.close(writing)
    told = os.read(reading, 1000).decode()
    os.close(reading)
    os.waitpid(pid, 0)
    os.close(pidfd)
    assert told == f"{errno.EINVAL} the one that fails: {os.strerror(errno.EINVAL)} [True, False]"


def test_a_child_that_has_ended_is_reaped_with_what_it_used() -> None:
    """The same that ``os.wait4`` tells."""
    assert kernel.reap() is None
    pid, pidfd = kernel.fork()
    if pid == 0:
        begun = time.process_time()
        while time.process_time() - begun < 0.05:
            pass
        os._exit(7)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    os.close(pidfd)
    reaped = kernel.reap()
    assert reaped is not None
    reaped_pid, status, cpu_us, peak_bytes = reaped
    assert (reaped_pid, os.waitstatus_to_exitcode(status)) == (pid, 7)
    assert 40_000 < cpu_us < 5_000_000
    assert 2**20 < peak_bytes < 2**33
    assert kernel.reap() is None


@pytest.mark.parametrize("ask", [kernel.pid_of, kernel._pid_in_words])
def test_a_pidfd_tells_its_process_until_that_is_reaped(ask: Callable[[int], int]) -> None:
    """By the kernel's own call, and on a kernel without it by what it writes about descriptors."""
    pid, pidfd = kernel.fork()
    if pid == 0:
        os._exit(0)
    assert ask(pidfd) == pid
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        ask(pidfd)
    os.close(pidfd)


def test_what_is_no_pidfd_has_no_process() -> None:
    """A worker that was not born yet has the descriptor -1."""
    with pytest.raises(ProcessLookupError):
        kernel.pid_of(-1)
    with open("/dev/null", "rb") as no_pidfd, pytest.raises(OSError, match="no pidfd"):
        kernel.pid_of(no_pidfd.fileno())


def test_what_is_in_memory_is_opened_without_asking(tmp_path: Path) -> None:
    """And only to be looked at. Whatever is wrong is said with the kernel's own number, also that it cannot do this."""
    (tmp_path / "file").write_text("x")
    os.stat(tmp_path / "file")
    try:
        fd = files.open_cached(str(tmp_path / "file"))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        pytest.skip("this kernel has no such lookup")
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(fd, 1)
        assert os.fstat(fd).st_ino == (tmp_path / "file").stat().st_ino
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
    for path, number in (("/proc/self/root/etc", errno.ELOOP), (f"{tmp_path}/file/x", errno.ENOTDIR)):
        with pytest.raises(OSError, match=r".") as caught:
            files.open_cached(path)
        assert caught.value.errno in (number, errno.EAGAIN)


ASKING = """
from kernel.files import open_cached
fuse = Fuse(sys.argv[1] + "/m")
found = []
for name in ("x", "y"):
    try:
        os.close(open_cached(f"{sys.argv[1]}/m/{name}"))
        found.append("")
    except BlockingIOError as error:
        found.append(type(error).__name__)
print(json.dumps(found))
fuse.end()
"""


def test_what_a_server_would_have_to_be_asked_for_is_not_opened(tmp_path: Path) -> None:
    """A name that its file system has not told yet; the one that it has told is in memory, whoever told it."""
    assert told(ASKING, str(tmp_path)) == ["", "BlockingIOError"]
