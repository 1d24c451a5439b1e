"""The zygote's stack."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandbox.jail.rlimits import STACK_BYTES

LENGTH = """
import resource, sys
from sandbox import stack
resource.setrlimit(resource.RLIMIT_STACK, tuple(map(int, sys.argv[1:])))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(stack.reserve(), stack.reserve(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("soft_bytes", "hard_bytes", "length_bytes"),
    [
        (STACK_BYTES, STACK_BYTES, STACK_BYTES),
        (STACK_BYTES // 4, STACK_BYTES, STACK_BYTES),
        (STACK_BYTES // 4, STACK_BYTES // 2, STACK_BYTES // 2),
    ],
)
def test_it_is_as_long_as_it_may_be(soft_bytes: int, hard_bytes: int, length_bytes: int) -> None:
    """At once, once, and no longer than the host allows; and it is room, not memory."""
    done = subprocess.run(
        [sys.executable, "-c", LENGTH, str(soft_bytes), str(hard_bytes)], capture_output=True, check=True, text=True
    )
    first, second, more_kib = map(int, done.stdout.split())
    assert first == second == length_bytes
    assert more_kib < 512


FULL = """
import resource, sys
from sandbox import stack
from sandbox.jail.rlimits import address_space_bytes
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if sys.argv[1] == "reserve":
    stack.reserve()
left = right = None
for _ in range(20_000):
    left, right = (left,), (right,)
memo = {}
resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes(), address_space_bytes()))
memo[left] = right  # hashes one tuple in the other: a call in C for each
print(len(memo))
"""


def recursion_in_c(what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", FULL, what], capture_output=True, check=False, text=True)


def test_who_has_no_memory_left_has_a_stack_left() -> None:
    """Without it, the first call beyond what the stack had grown to is a crash."""
    assert recursion_in_c("reserve").stdout == "1\n"
    assert recursion_in_c("leave").returncode < 0


TIGHT = """
import resource
from sandbox import stack
from sandbox.jail.rlimits import address_space_bytes
resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes(), address_space_bytes()))
try:
    stack.reserve()
except OSError as error:
    print(error)
"""


def test_a_host_that_does_not_give_it_says_so() -> None:
    """As an error: whoever starts the zygote hears why it cannot be."""
    done = subprocess.run([sys.executable, "-c", TIGHT], capture_output=True, check=True, text=True)
    assert f"a stack of {STACK_BYTES} bytes" in done.stdout
