"""What package managers write down and print, read. Pure: text in, rows out; a line that is none is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: The format that rpm is asked for: one package a line.
RPM_FORMAT = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{LONGSIZE}\\n"
_DPKG = re.compile(r"^(Package|Status|Architecture|Version|Installed-Size): (.*)$", re.MULTILINE)
# As `apt-get -s upgrade` prints what it would do: Inst name [installed] (candidate origin [arch])
_APT = re.compile(r"Inst (\S+)(?: \[([^\]]*)\])? \((\S+) ?([^)\[]*)(?:\[([^\]]*)\])?\)")
_DNF = re.compile(r"(\S+)\.([A-Za-z0-9_]+)\s+(\S+)\s+(\S+)")
_APT_PERIODIC = re.compile(r'^\s*APT::Periodic::Unattended-Upgrade\s+"?(\d+)"?\s*;', re.MULTILINE)


def _row(name: str, version: str, arch: str | None, size: int | None) -> dict[str, Any]:
    return {"name": name, "version": version, "arch": arch, "size": size}


def dpkg(status: str) -> Iterator[dict[str, Any]]:
    """Yield the installed packages of dpkg's status file. Source: dpkg(1), deb-control(5); sizes there are in KiB."""
    for block in status.split("\n\n"):
        told = dict(_DPKG.findall(block))
        if told.get("Status", "").endswith(" installed") and "Package" in told:
            size = told.get("Installed-Size", "")
            yield _row(
                told["Package"], told.get("Version", ""), told.get("Architecture"),
                int(size) * 1024 if size.isdecimal() else None,
            )  # fmt: skip


def rpm(printed: str) -> Iterator[dict[str, Any]]:
    """Yield the packages that rpm printed in RPM_FORMAT."""
    for line in printed.split("\n"):
        fields = line.split("\t")
        if len(fields) == 5:
            name, epoch, version, arch, size = fields
            full = version if epoch in ("0", "(none)") else f"{epoch}:{version}"
            yield _row(name, full, None if arch == "(none)" else arch, int(size) if size.isdecimal() else None)


def apk(installed: str) -> Iterator[dict[str, Any]]:
    """Yield the packages of Alpine's database. Source: apk-tools, the installed database: one letter a field."""
    for block in installed.split("\n\n"):
        told = {line[0]: line[2:] for line in block.split("\n") if line[1:2] == ":"}
        if "P" in told and "V" in told:
            size = told.get("I", "")
            yield _row(told["P"], told["V"], told.get("A"), int(size) if size.isdecimal() else None)


def pacman(description: str) -> dict[str, Any] | None:
    """Return the package that one of pacman's ``desc`` files is about."""
    told = {}
    for block in description.split("\n\n"):
        head, _, rest = block.strip().partition("\n")
        told[head] = rest
    if "%NAME%" not in told or "%VERSION%" not in told:
        return None
    size = told.get("%SIZE%", "")
    return _row(told["%NAME%"], told["%VERSION%"], told.get("%ARCH%"), int(size) if size.isdecimal() else None)


def apt_pending(printed: str) -> Iterator[dict[str, Any]]:
    """Yield what apt-get would upgrade. Security updates come from an origin that says so."""
    for line in printed.split("\n"):
        match = _APT.match(line)
        if match and match[2]:  # without an installed version it is a new dependency, not an update
            name, installed, candidate, origin, _ = match.groups()
            yield {
                "name": name, "installed": installed, "candidate": candidate,
                "security": "-security" in origin.lower(),
            }  # fmt: skip


def dnf_pending(printed: str) -> Iterator[dict[str, Any]]:
    """Yield what ``dnf check-update`` printed, up to what it would replace rather than update."""
    for line in printed.split("\n"):
        if line.startswith("Obsoleting"):
            return
        match = _DNF.fullmatch(line.strip())
        if match:
            yield {"name": match[1], "installed": None, "candidate": match[3], "security": None}


def apt_is_automatic(configuration: str) -> bool:
    """Tell whether apt's periodic job upgrades by itself: the last setting counts."""
    told = _APT_PERIODIC.findall(configuration)
    return bool(told) and told[-1] != "0"


def dnf_is_automatic(configuration: str) -> bool:
    """Tell whether dnf-automatic applies what it finds."""
    told = re.findall(r"^\s*apply_updates\s*=\s*(\S+)", configuration, re.MULTILINE)
    return bool(told) and told[-1].lower() in ("yes", "true", "1", "on")
