"""The numbers that attacks are made with: a wrong one would be another attack, and a kill would prove nothing of it."""

from __future__ import annotations

import attacker
import pytest

import kernel

TABLES = {"x86_64": attacker._X86_64, "aarch64": attacker._AARCH64}
ONLY_THERE = {"x86_64": {"modify_ldt"}, "aarch64": set()}  # segments are x86's alone
TOO_NEW = {"process_madvise", "pidfd_getfd", "openat2"}  # for an older libseccomp


@pytest.mark.parametrize("machine", TABLES)
def test_numbers_of_attacks_agree_with_another_implementation(machine: str) -> None:
    """On both processors, wherever this test runs."""
    import pyseccomp

    arch = getattr(pyseccomp.Arch, machine.upper())
    for name, number in (TABLES[machine] | attacker._NEW).items():
        known = pyseccomp.resolve_syscall(arch, name)
        assert known == number or (known < 0 and name in TOO_NEW), (machine, name, known)


def test_both_processors_can_be_attacked_with_the_same_calls() -> None:
    """All but those that one of them does not have."""
    shared = [set(table) - ONLY_THERE[machine] for machine, table in TABLES.items()]
    assert shared[0] == shared[1]


def test_every_attack_can_be_made_on_both_processors() -> None:
    """Also with a call that one of them lacks: it was a KeyError on the first aarch64 machine that ran the battery."""
    x86_64, aarch64 = attacker.numbers("x86_64"), attacker.numbers("aarch64")
    assert set(x86_64) == set(aarch64)
    assert attacker.NO_CALL not in x86_64.values()
    assert {name for name, number in aarch64.items() if number == attacker.NO_CALL} == ONLY_THERE["x86_64"]


@pytest.mark.parametrize("machine", TABLES)
def test_attacks_and_walls_mean_the_same_calls(machine: str) -> None:
    """Two tables were typed; where both have a name they agree."""
    ours = kernel.ARCHITECTURES[machine].calls
    assert {name: number for name, number in TABLES[machine].items() if name in ours} == {
        name: ours[name] for name in TABLES[machine] if name in ours
    }
