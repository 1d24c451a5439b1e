"""A made host on which every example of ``sys.*`` and of the tables of ``net.*`` that needs one goes well.

Examples that change the host run here and nowhere else.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from made import Made, make

SERVICE = """\
Id=cron.service
Description=Regular background program processing daemon
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
MainPID=612
ActiveEnterTimestamp=Thu 2026-11-26 02:37:16 UTC
Type=simple
Result=success
ExecMainStatus=0
NRestarts=0
Restart=on-failure
MemoryCurrent=1234944
TasksCurrent=1
CPUUsageNSec=1500000000
FragmentPath=/lib/systemd/system/cron.service
User=
Names=cron.service
Requires=sysinit.target system.slice
InactiveEnterTimestamp=
ControlGroup=/system.slice/cron.service
"""
OTHER_SERVICE = """\
Id=broken.service
Description=broken.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=disabled
MainPID=0
ActiveEnterTimestamp=
"""
TIMER = """\
Id=apt-daily.timer
Unit=apt-daily.service
ActiveState=active
UnitFileState=enabled
NextElapseUSecRealtime=Thu 2026-11-26 06:00:00 UTC
LastTriggerUSec=
Result=success
Persistent=yes
"""
SYSTEMCTL = """\
case "$*" in
*"-- *.service") cat "$0.services";;
*"-- *.timer") cat "$0.timers";;
*"-- cron.service") case "$1" in show) cat "$0.cron";; esac;;
*) printf 'Id=x\\nLoadState=not-found\\n';;
esac
"""
SMART = {
    "smartctl": {"exit_status": 0}, "device": {"protocol": "ATA"}, "model_name": "Disk 1", "serial_number": "S1",
    "firmware_version": "F1", "smart_status": {"passed": True}, "temperature": {"current": 31},
    "power_on_time": {"hours": 1200}, "power_cycle_count": 12,
    "ata_smart_attributes": {"table": [
        {"id": 5, "name": "Reallocated_Sector_Ct", "value": 100, "worst": 99, "thresh": 10, "when_failed": "",
         "raw": {"value": 3, "string": "3"}},
    ]},
}  # fmt: skip
NFT = {"nftables": [
    {"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "filter", "handle": 1}},
    {"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": "input",
               "prio": 0, "policy": "drop"}},
    {"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 2, "expr": [{"accept": None}]}},
]}  # fmt: skip
JOURNAL = json.dumps({
    "__CURSOR": "s=0af1;i=1;b=2c;m=3;t=4;x=5", "__REALTIME_TIMESTAMP": "1700000000000000", "PRIORITY": "3",
    "_SYSTEMD_UNIT": "cron.service", "SYSLOG_IDENTIFIER": "cron", "_PID": "612", "MESSAGE": "it failed",
})  # fmt: skip
APT = (
    "Inst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.11/stable [amd64])\nConf bash (5.2.15-2+b13 Debian:12.11/stable)\n"
)
STATUS = (
    "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b8\nInstalled-Size: 7163\n"
)
HTOP = "Package: htop\\nStatus: install ok installed\\nArchitecture: amd64\\nVersion: 3.2.2-2\\n"


def record(kind: int, pid: int, device: str, user: str, host: str, seconds: int) -> bytes:
    """One record of utmp or wtmp, as x86 has them."""
    return struct.pack(
        "=hxxi32s4s32s256s2hiii16s20s", kind, pid, device.encode(), b"", user.encode(), host.encode(), 0, 0, 0,
        seconds, 500_000, b"", b"",
    )  # fmt: skip


def exemplary(place: Path) -> Made:
    """Return the host of the examples."""
    made = make(place)
    made.folder("run/systemd/system")
    made.tool("systemctl", script=SYSTEMCTL)
    made.put("tools/systemctl.services", f"{SERVICE}\n{OTHER_SERVICE}")
    made.put("tools/systemctl.timers", TIMER)
    made.put("tools/systemctl.cron", SERVICE)
    made.folder("var/log/journal/0123456789abcdef")
    made.tool("journalctl", f"{JOURNAL}\n")
    made.folder("sys/block/sda/queue")
    made.tool("smartctl", json.dumps(SMART))
    made.tool("nft", json.dumps(NFT))
    made.put("var/lib/dpkg/status", STATUS)
    status = f"printf '\\n{HTOP}' >> $PLACE/var/lib/dpkg/status"
    made.tool("apt-get", APT, script=f'case "$*" in *" install -- htop") {status};; esac')
    made.tool("shutdown")
    made.tool("useradd", script="echo 'lea:x:1002:1002::/home/lea:/bin/sh' >> $PLACE/etc/passwd")
    made.put("proc/uptime", "100.0 50.0\n")
    made.put(
        "proc/modules", "ext4 1000000 2 - Live 0x0000000000000000\nmbcache 16384 1 ext4, Live 0xffffffffc0000000\n"
    )
    made.put("proc/pressure/memory", "some avg10=0.10 avg60=0.20 avg300=0.30 total=5\n")
    made.put("proc/diskstats", "   8  0 sda 1 2 3 4 5 6 7 8 9 10 11\n")
    made.put("proc/sys/vm/swappiness", "60\n")
    made.put("dev/kmsg", "6,1,1500000,-;Linux version 6.1\n SUBSYSTEM=x\n3,2,1600000,-;at ffff8880deadbeef it broke\n")
    made.put("sys/class/hwmon/hwmon0/name", "coretemp\n")
    made.put("sys/class/hwmon/hwmon0/temp1_input", "45000\n")
    made.put("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n")
    made.put("sys/class/hwmon/hwmon0/temp1_crit", "100000\n")
    made.put("sys/class/thermal/thermal_zone0/temp", "45000\n")
    made.put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    made.put("var/log/wtmp", record(2, 0, "~", "reboot", "6.1", 10) + record(7, 9, "pts/0", "mia", "192.0.2.7", 20))
    made.put("run/utmp", record(7, 9, "pts/0", "mia", "192.0.2.7", 20))
    made.folder("proc/9")
    made.put(
        "var/log/audit/audit.log",
        "type=USER_LOGIN msg=audit(1700000000.123:42): pid=9 uid=0 msg='op=login acct=\"mia\" res=success'\n",
    )
    made.put("etc/crontab", "17 * * * * root run-parts /etc/cron.hourly\n")
    made.folder("etc/cron.d")
    return made


#: The calls whose examples run there: what they need, a machine may lack, or it would be changed.
ON_MADE_HOST = frozenset({
    "net.firewall", "sys.audit_events", "sys.cron", "sys.cron_remove", "sys.cron_set", "sys.disk_io", "sys.journal",
    "sys.kernel_log", "sys.last_logins", "sys.modules", "sys.package_install", "sys.pressure", "sys.reboot",
    "sys.sensors", "sys.service", "sys.service_control", "sys.services", "sys.smart", "sys.sysctl_set", "sys.timers",
    "sys.updates", "sys.user_change", "sys.who", "tty.client", "tty.notice", "tty.sessions",
})  # fmt: skip


class OnePerson:
    """A person with a terminal on the made host, who hears what is said."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    def sessions(self) -> list[dict[str, Any]]:
        """That one."""
        return [{
            "id": "s_1", "kind": "terminal", "user": "tom", "started": 1.7e9, "size": {"cols": 80, "rows": 24},
            "watchers": ["tom"], "recording": True,
        }]  # fmt: skip

    def notice(self, session: str, text: str) -> None:
        """Hear it."""
        self.heard.append((session, text))

    def client(self, session: str, action: str, path: str) -> None:
        """Hear it."""
        self.heard.append((session, action, path))
