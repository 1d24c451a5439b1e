"""Wall ``seccomp`` alone, and the filter itself, run in an interpreter of its own against another implementation."""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

import pytest
from arena import attack, errno_behind, only

import kernel
from kernel import files
from sandbox.jail import seccomp
from sandbox.jail.trial import in_child
from sandbox.jail.walls import SECCOMP

KILLED = "the worker made a system call that is not allowed (SIGSYS)"
X86_64, AARCH64 = kernel.ARCHITECTURES["x86_64"], kernel.ARCHITECTURES["aarch64"]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("open_file", ["/etc/passwd"]),
        ("fork", []),
        ("kill", [1, 0]),
        ("list_root", []),
        ("open_descriptors", [1]),
        ("identity", []),
        ("shared_memory", [1]),
        ("connect", [9]),
        ("connect_abstract", ["nobody"]),
        ("run_program", ["/bin/true"]),
    ],
)
async def test_a_forbidden_call_kills(name: str, args: list[Any]) -> None:
    """And the reason says what it was; without the wall, nothing kills."""
    behind = await attack(only(SECCOMP), name, *args)
    assert (behind.status, behind.reason) == ("killed", KILLED)
    without = await attack(only(), name, *args)
    assert without.status == "ok", without


async def test_a_file_cannot_be_removed(public_file: str) -> None:
    """The attack is dead before it is done."""
    assert (await attack(only(SECCOMP), "unlink", public_file)).reason == KILLED
    assert os.path.exists(public_file)
    assert (await attack(only(), "unlink", public_file)).status == "ok"
    assert not os.path.exists(public_file)


@pytest.mark.needs_root
async def test_the_zygote_cannot_be_traced() -> None:
    """Tracing it would be control over all later runs."""
    assert (await attack(only(SECCOMP), "ptrace_parent")).reason == KILLED
    assert await errno_behind((), "ptrace_parent") == 0


@pytest.mark.needs_root
async def test_no_other_user_can_be_become() -> None:
    """The call itself is not on the list."""
    assert (await attack(only(SECCOMP), "become_root")).reason == KILLED
    assert await errno_behind((), "become_root") == 0


@pytest.mark.parametrize("name", ["map_code", "make_code"])
async def test_memory_never_becomes_code(name: str) -> None:
    """Refused and not killed: interpreters ask and live with the answer."""
    assert await errno_behind((SECCOMP,), name) == errno.EACCES
    assert await errno_behind((), name) == 0


def run(
    program: list[tuple[int, int, int, int]], audit: int, number: int, third: int = 0, fourth: int = 0, second: int = 0
) -> int:
    """Interpret a filter, as linux/bpf_common.h and linux/filter.h define it, on one system call."""
    return walked(program, audit, number, third, fourth, second)[0]


def walked(
    program: list[tuple[int, int, int, int]], audit: int, number: int, third: int = 0, fourth: int = 0, second: int = 0
) -> tuple[int, int]:
    """Return what comes of it, and in how many instructions."""
    data = struct.pack("=IIQ6Q", number, audit, 0, 0, second, third, fourth, 0, 0)
    at, accumulator, steps = 0, 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at, steps = at + 1, steps + 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x06:
            return operand, steps
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}
            at += if_true if holds[code] else if_false


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_exactly_the_list_is_allowed(architecture: kernel.Architecture) -> None:
    """Every number there is, and what lies beyond."""
    program = seccomp.instructions(architecture)
    allowed = {
        number
        for number in [*range(2000), *range(0x40000000, 0x40000800), 0xFFFFFFFF]
        if run(program, architecture.audit, number) == seccomp.ALLOW
    }
    assert allowed == {architecture.calls[name] for name in seccomp.ALLOWED if name != seccomp.DONT_WAIT}
    assert len(seccomp.ALLOWED) == 14


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_whatever_number_it_is_that_is_found_in_a_few_steps(architecture: kernel.Architecture) -> None:
    """The kernel tries them all each time that a worker puts the filter in."""
    program = seccomp.instructions(architecture)
    assert max(walked(program, architecture.audit, number)[1] for number in range(600)) <= 14


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_receiving_is_allowed_only_as_a_read_that_does_not_wait(architecture: kernel.Architecture) -> None:
    """No other flag, also not beside that one: no peeking, no error queue, no out-of-band data."""
    program = seccomp.instructions(architecture)
    number = architecture.calls[seccomp.DONT_WAIT]
    flags = {0, 0x40, 0x80000040, *(0x40 | 1 << bit for bit in range(32)), *(1 << bit for bit in range(32))}
    allowed = {flag for flag in flags if run(program, architecture.audit, number, 0, flag) == seccomp.ALLOW}
    assert allowed == {0x40}
    assert run(program, architecture.audit, number, 0x40, 0) == seccomp.KILL_PROCESS


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_a_futex_waits_and_wakes_and_does_nothing_else(architecture: kernel.Architecture) -> None:
    """With the flags of a lock of one process and of a clock; nothing that inherits priority, nothing unheard of."""
    program = seccomp.instructions(architecture)
    number = architecture.calls[seccomp.PLAIN]
    commands = {*range(1024), *(1 << bit for bit in range(32)), 0xFFFFFFFF}
    allowed = {
        command for command in commands if run(program, architecture.audit, number, second=command) == seccomp.ALLOW
    }
    assert allowed == {command | flags for command in (0, 1, 9, 10) for flags in (0, 128, 256, 384)}
    assert run(program, architecture.audit, number, 1, 1, second=6) == seccomp.KILL_PROCESS


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
@pytest.mark.parametrize("name", sorted(seccomp.NO_CODE))
def test_code_is_refused_on_both_processors(architecture: kernel.Architecture, name: str) -> None:
    """Whatever else is asked together with it."""
    program = seccomp.instructions(architecture)
    for protection in range(8):
        expected = seccomp.REFUSE if protection & 4 else seccomp.ALLOW
        assert run(program, architecture.audit, architecture.calls[name], protection) == expected


# First of each what may stand beside it: 32-bit x86, whose calls any process can make, and 32-bit ARM.
FOREIGN = [(X86_64, (0x40000003, AARCH64.audit, 0)), (AARCH64, (0x40000028, X86_64.audit, 0))]


@pytest.mark.parametrize(("architecture", "foreign"), FOREIGN)
def test_calls_of_another_architecture_kill(architecture: kernel.Architecture, foreign: tuple[int, ...]) -> None:
    """Number 1 is write on one processor and exit on another one."""
    program = seccomp.instructions(architecture)
    for audit in foreign:
        for number in (1, *architecture.calls.values()):
            assert run(program, audit, number, 0, 0x40) == seccomp.KILL_PROCESS


def test_numbers_agree_with_another_implementation() -> None:
    """libseccomp knows the tables of both processors."""
    import pyseccomp

    for machine, architecture in kernel.ARCHITECTURES.items():
        arch = getattr(pyseccomp.Arch, machine.upper())
        for name, number in architecture.calls.items():
            known = pyseccomp.resolve_syscall(arch, name)
            if known >= 0:  # an older library does not know the newest names
                assert known == number, (machine, name)
        for name, number in {"clone3": kernel._CLONE3, "openat2": files._OPENAT2}.items():
            assert pyseccomp.resolve_syscall(arch, name) in (number, -1), (machine, name)


def test_the_filter_needs_no_new_privs_first() -> None:
    """An ordinary user gets a clear error, not a process without a filter."""

    def shut(say: Any) -> None:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        kernel.make(seccomp.calls(seccomp.assemble(kernel.architecture())))
        say("shut")

    told = in_child(shut)
    assert told.told == []
    assert told.error == "seccomp: Permission denied"
