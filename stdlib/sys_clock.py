"""``sys.clock``: time of day, zone, and whether anybody keeps the clock."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from protocol.tiers import Tier
from stdlib import trees
from stdlib.clocks import discipline
from stdlib.declaring import call
from stdlib.host import Host


@call("sys.clock", tier=Tier.OBSERVE, lua="local ok = sys.clock().ntp_synced", python='ok = sys.clock()["ntp_synced"]')
def clock(host: Host) -> dict[str, Any]:
    """Return the host's clock.

    ``time`` (seconds since 1970 UTC), ``utc`` (the same as RFC 3339 text), ``zone`` (name in the time zone database,
    UTC if none is set), ``utc_offset`` (seconds east of UTC now; nothing if the zone is not known here), ``ntp_synced``
    (whether the kernel's clock is disciplined), ``offset_ms`` (what is still being corrected: not the distance to a
    server), ``max_error_ms``, ``est_error_ms``. Source: adjtimex(2). Where the agent may not ask the kernel (systemd's
    ProtectClock), these are nothing, but for ``ntp_synced`` where systemd-timesyncd leaves its mark.
    """
    now, kept, zone = host.clock(), discipline(), _zone(host)
    moment = datetime.fromtimestamp(now, UTC)
    return {
        "time": now, "utc": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "zone": zone,
        "utc_offset": _offset_s(zone, moment), "ntp_synced": kept.is_synchronised if kept else _mark(host),
        "offset_ms": kept and kept.offset_ms, "max_error_ms": kept and kept.max_error_ms,
        "est_error_ms": kept and kept.estimated_error_ms,
    }  # fmt: skip


def _mark(host: Host) -> bool | None:
    """Tell what systemd-timesyncd(8) says; None if it is not the one that keeps the clock."""
    if not os.path.isdir(f"{host.run}/systemd/timesync"):
        return None
    return os.path.exists(f"{host.run}/systemd/timesync/synchronized")


def _zone(host: Host) -> str:
    try:
        place = os.readlink(f"{host.etc}/localtime")
    except OSError:  # no link: a copy of a zone's file, or none at all, which means UTC (localtime(5))
        return trees.value(f"{host.etc}/timezone") or "UTC"
    return place.partition("zoneinfo/")[2] or "UTC"


def _offset_s(zone: str, moment: datetime) -> int | None:
    try:
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return int((offset or timedelta()).total_seconds())
