"""What the demo schedules: the bundled checks, with parameters that fit this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.local.folder import read_bundle
from protocol.bundle import Bundle
from scripts import bundled

DISK = "checks/disk"
_NO_DISK = re.compile(r"^(loop|ram|zram|fd|sr|nbd)\d")


@dataclass(frozen=True)
class Check:
    """One bundled check and how the demo runs it."""

    bundle: Bundle
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name in the one namespace."""
        return self.bundle.manifest.name


def gather(root: Path = Path("/")) -> list[Check]:
    """Return the bundled checks with their parameters for this machine; ``DISK`` only where it has one."""
    device = disk(root)
    targets = {"checks/filesystem": "/", "checks/network": interface(root), DISK: device}
    found = []
    for _, folder in sorted(bundled().items()):
        bundle = read_bundle(folder)
        name = bundle.manifest.name
        if name == DISK and device is None:
            continue
        parameters = dict.fromkeys(bundle.manifest.parameters, targets[name]) if name in targets else {}
        found.append(Check(bundle, parameters))
    return found


def interface(root: Path = Path("/")) -> str:
    """Return the first network interface that is not loopback, or loopback."""
    names = sorted(path.name for path in (root / "sys/class/net").iterdir())
    return next((name for name in names if name != "lo"), "lo")


def disk(root: Path = Path("/")) -> str | None:
    """Return the block device that did most input and output since boot; None if the kernel counts for none."""
    rows = [line.split() for line in (root / "proc/diskstats").read_text(encoding="ascii").splitlines()]
    counted = [(int(row[3]) + int(row[7]), row[2]) for row in rows if len(row) >= 14 and not _NO_DISK.match(row[2])]
    return max(counted)[1] if counted else None
