"""``sys.*`` of the kernel's settings: only below /proc/sys, and nothing that root alone may read."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import Made, make
from running import gate, perform

from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import sys_kernel
from stdlib.sysctls import key_of, relative_path


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = make(tmp_path)
    for path, content in {
        "vm/swappiness": "60\n", "vm/dirty_ratio": "20\n", "net/ipv4/ip_forward": "0\n",
        "net/ipv4/conf/eth0.100/forwarding": "1\n", "net/ipv4/tcp_fastopen_key": "secret-of-tcp\n",
        "net/ipv6/conf/eth0/stable_secret": "secret-of-ip\n", "kernel/multi": "a\tb\nc\n",
    }.items():  # fmt: skip
        made.put(f"proc/sys/{path}", content)
    for path in ("net/ipv4/tcp_fastopen_key", "net/ipv6/conf/eth0/stable_secret"):
        (made.place / "proc/sys" / path).chmod(0o600)
    made.put("proc/outside", "x\n")
    (made.place / "proc/sys/link").symlink_to("../outside")
    return made


async def test_values_and_branches(made: Made) -> None:
    assert await perform("sys.sysctl", "vm.swappiness", host=made.host) == "60"
    assert await perform("sys.sysctl", "kernel.multi", host=made.host) == "a\tb\nc"
    assert await perform("sys.sysctl", "net.ipv4.conf.eth0/100.forwarding", host=made.host) == "1"
    assert await perform("sys.sysctl", "vm", host=made.host) == {"vm.dirty_ratio": "20", "vm.swappiness": "60"}
    assert await perform("sys.sysctl", "net", host=made.host) == {
        "net.ipv4.conf.eth0/100.forwarding": "1", "net.ipv4.ip_forward": "0",
    }  # fmt: skip


async def test_secrets_of_root_are_not_told(made: Made) -> None:
    for key in ("net.ipv4.tcp_fastopen_key", "net.ipv6.conf.eth0.stable_secret"):
        with pytest.raises(DeniedError, match="root only"):
            await perform("sys.sysctl", key, host=made.host)


@pytest.mark.skipif(not Path("/proc/sys/net/ipv4/tcp_fastopen_key").exists(), reason="this kernel has no such key")
async def test_secrets_of_this_machine_are_not_told_either() -> None:
    with pytest.raises(DeniedError):
        await perform("sys.sysctl", "net.ipv4.tcp_fastopen_key")
    told = await perform("sys.sysctl", "net.ipv4")
    assert "net.ipv4.tcp_fastopen_key" not in told
    assert "net.ipv4.ip_forward" in told


@pytest.mark.parametrize(
    "key",
    [
        "", ".", "..", "vm..swappiness", "//", "/etc/passwd", "vm/../../outside", "..//outside", "vm.//.x",
        "vm swappiness",
        "vm.swappiness\n", "*", "a" * 300, "é", "/.outside", "vm.*",
    ],
)  # fmt: skip
async def test_a_key_never_leads_out(made: Made, key: str) -> None:
    with pytest.raises((ArgumentError, NotFoundError)):
        await perform("sys.sysctl", key, host=made.host)
    with pytest.raises((ArgumentError, NotFoundError)):
        await perform("sys.sysctl_set", key, "1", host=made.host)
    assert (made.place / "proc/outside").read_text() == "x\n"


async def test_a_link_is_neither_read_nor_written(made: Made) -> None:
    with pytest.raises(DeniedError):
        await perform("sys.sysctl", "link", host=made.host)
    with pytest.raises(ArgumentError):
        await perform("sys.sysctl_set", "link", "1", host=made.host)
    assert (made.place / "proc/outside").read_text() == "x\n"


@pytest.mark.parametrize("path", ["vm/swappiness", "net/ipv4/conf/eth0.100/forwarding"])
def test_keys_and_paths(path: str) -> None:
    assert relative_path(key_of(path)) == path


async def test_a_branch_is_bounded(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys_kernel, "MAX_KEYS", 1)
    assert len(await perform("sys.sysctl", "vm", host=made.host)) == 1


async def test_a_setting_is_set(made: Made) -> None:
    assert await perform("sys.sysctl_set", "vm.swappiness", "10", host=made.host) == {"before": "60", "after": "10"}
    assert (made.place / "proc/sys/vm/swappiness").read_text() == "10\n"
    told = await perform("sys.sysctl_set", "net.ipv4.tcp_fastopen_key", "x", host=made.host)
    assert told == {"before": None, "after": None}


@pytest.mark.parametrize("value", ["1\n2", "\x00", "\x1b", "x" * 1025])
async def test_a_value_is_one_line(made: Made, value: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        await perform("sys.sysctl_set", "vm.swappiness", value, host=made.host)
    assert caught.value.parameter == "value"
    assert (made.place / "proc/sys/vm/swappiness").read_text() == "60\n"


async def test_what_cannot_be_set(made: Made) -> None:
    with pytest.raises(NotFoundError):
        await perform("sys.sysctl_set", "vm.nothing", "1", host=made.host)
    with pytest.raises(ArgumentError, match="branch"):
        await perform("sys.sysctl_set", "vm", "1", host=made.host)
    with pytest.raises(UnavailableError, match="cannot be set"):
        await perform("sys.sysctl_set", "kernel.ostype", "x")  # nobody can write this one, on any machine


async def test_setting_needs_the_highest_tier(made: Made) -> None:
    for tier, ok in ((Tier.OPERATE, False), (Tier.ADMIN, True)):
        reply = await gate(tier, host=made.host).call("sys.sysctl_set", ["vm.swappiness", "10"], {})
        assert reply.ok is ok
