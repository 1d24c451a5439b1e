"""``sys.*`` of packages: the files and the words of each package manager."""

from __future__ import annotations

from pathlib import Path

import pytest
from exemplary import APT, STATUS
from made import Made, make
from running import perform

from protocol.errors import UnavailableError
from stdlib import package_lists

OTHERS = """
Package: gone
Status: deinstall ok config-files
Version: 1

Package: libc6
Status: install ok installed
Multi-Arch: same
Architecture: amd64
Version: 2.36-9
Description: Version: of nothing
 Package: not-one

Package: half
Status: install reinstreq half-installed
Version: 1
"""


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


async def test_dpkg(made: Made) -> None:
    made.put("var/lib/dpkg/status", STATUS + OTHERS)
    told = await perform("sys.packages", host=made.host)
    assert told == {
        "manager": "dpkg", "more": False,
        "packages": [
            {"name": "bash", "version": "5.2.15-2+b8", "arch": "amd64", "size": 7163 * 1024},
            {"name": "libc6", "version": "2.36-9", "arch": "amd64", "size": None},
        ],
    }  # fmt: skip
    page = await perform("sys.packages", "", 1, 1, host=made.host)
    assert ([row["name"] for row in page["packages"]], page["more"]) == (["libc6"], False)
    assert [row["name"] for row in (await perform("sys.packages", "as", host=made.host))["packages"]] == ["bash"]
    assert (await perform("sys.packages", limit=1, host=made.host))["more"]


async def test_rpm(made: Made) -> None:
    made.put("var/lib/dpkg/status", "")  # what a dpkg leaves that only builds packages
    made.tool(
        "rpm",
        "bash\t0\t5.1.8-6.el9\tx86_64\t7738634\ngpg-pubkey\t0\t5a6340b3-1\t(none)\t0\nvim\t2\t8.2-1\tx86_64\t5\nodd\n",
    )
    told = await perform("sys.packages", host=made.host)
    assert told["manager"] == "rpm"
    assert [(row["name"], row["version"], row["arch"]) for row in told["packages"]] == [
        ("bash", "5.1.8-6.el9", "x86_64"), ("gpg-pubkey", "5a6340b3-1", None), ("vim", "2:8.2-1", "x86_64"),
    ]  # fmt: skip
    assert made.uses("rpm") == [["--query", "--all", "--queryformat", package_lists.RPM_FORMAT]]


async def test_apk_and_pacman(made: Made, tmp_path: Path) -> None:
    made.put("lib/apk/db/installed", "C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:1\nI:634880\nT:libc\n\nP:none\n\n")
    told = await perform("sys.packages", host=made.host)
    assert told["packages"] == [{"name": "musl", "version": "1.2.4-r2", "arch": "x86_64", "size": 634880}]
    other = make(tmp_path / "other")
    other.put(
        "var/lib/pacman/local/zlib-1.3-1/desc", "%NAME%\nzlib\n\n%VERSION%\n1:1.3-1\n\n%ARCH%\nx86_64\n\n%SIZE%\n5\n\n"
    )
    other.put("var/lib/pacman/local/ALPM_DB_VERSION", "9\n")
    told = await perform("sys.packages", host=other.host)
    assert told["packages"] == [{"name": "zlib", "version": "1:1.3-1", "arch": "x86_64", "size": 5}]


async def test_none_of_them(made: Made) -> None:
    with pytest.raises(UnavailableError, match="none of dpkg, rpm, apk and pacman"):
        await perform("sys.packages", host=made.host)
    with pytest.raises(UnavailableError, match="neither apt-get nor dnf"):
        await perform("sys.updates", host=made.host)


async def test_packages_of_this_machine() -> None:
    if not any(
        Path(place).exists() for place in ("/var/lib/dpkg/status", "/usr/bin/rpm", "/lib/apk", "/var/lib/pacman")
    ):
        pytest.skip("this machine has no package manager")
    assert 0 < len((await perform("sys.packages", limit=5))["packages"]) <= 5


async def test_updates_of_apt(made: Made) -> None:
    security = "Inst openssl [3.0.15-1] (3.0.17-1 Debian-Security:12/stable-security [amd64]) []\n"
    made.tool("apt-get", f"Reading package lists...\n{APT}{security}Inst new (1.0 Debian:12/stable [amd64])\n")
    made.folder("var/lib/apt/lists")
    made.put("run/reboot-required", "*** System restart required ***\n")
    made.put("run/reboot-required.pkgs", "linux-image\nlibc6\nlinux-image\n")
    told = await perform("sys.updates", host=made.host)
    assert told.pop("checked") > 1_600_000_000
    assert told == {
        "manager": "apt", "more": False, "reboot_required": True, "reboot_packages": ["libc6", "linux-image"],
        "automatic": False, "method": "none",
        "pending": [
            {"name": "bash", "installed": "5.2.15-2+b8", "candidate": "5.2.15-2+b13", "security": False},
            {"name": "openssl", "installed": "3.0.15-1", "candidate": "3.0.17-1", "security": True},
        ],
    }  # fmt: skip
    (use,) = made.uses("apt-get")
    assert use[0] == "-s"
    assert "Dir::Cache::pkgcache=" in use, "nothing is left behind"
    made.put("var/cache/apt/pkgcache.bin", "x")
    await perform("sys.updates", host=made.host)
    assert "Dir::Cache::pkgcache=" not in made.uses("apt-get")[1]


async def test_updates_by_themselves(made: Made) -> None:
    made.tool("apt-get")
    made.put("etc/apt/apt.conf.d/20auto-upgrades", 'APT::Periodic::Unattended-Upgrade "1";\n')
    assert (await perform("sys.updates", host=made.host))["method"] == "unattended-upgrades"
    made.put(
        "etc/apt/apt.conf.d/99off",
        '// APT::Periodic::Unattended-Upgrade "1";\nAPT::Periodic::Unattended-Upgrade "0";\n',
    )
    assert not (await perform("sys.updates", host=made.host))["automatic"]


async def test_updates_of_dnf(made: Made) -> None:
    printed = "\nbash.x86_64    5.1.8-9.el9    baseos\nkernel.x86_64   5.14.0-1   baseos\n"
    printed += "Obsoleting Packages\nold.noarch 1 x\n"
    made.tool("dnf", printed, code=100)
    made.put("etc/dnf/automatic.conf", "[commands]\napply_updates = yes\n")
    told = await perform("sys.updates", limit=1, host=made.host)
    assert told["pending"] == [{"name": "bash", "installed": None, "candidate": "5.1.8-9.el9", "security": None}]
    assert (told["more"], told["method"], told["reboot_required"]) == (True, "dnf-automatic", None)
    assert made.uses("dnf") == [["-C", "-q", "check-update"]]
