"""The five tiers as one table: a change of a row is a change of what every script on every host may do."""

from __future__ import annotations

from typing import Any

import pytest

from policies.decide import Effective, Layer, decide, decide_effective, explain
from policies.load import builtin
from policies.model import Effect, Facts, Limits, Rule
from policies.paths import PathPattern
from policies.targets import NetTarget, TargetPattern
from protocol.tiers import Tier

MIB = 1 << 20
NONE = Facts()

# call, facts, then what decides in compute, observe, inspect, operate and admin:
# "+file" allows, "-file" denies, both by a rule of that file; "." is denied for want of a rule.
TABLE: list[tuple[str, Facts, str]] = [
    # what touches nothing
    ("check.metric", NONE, "+compute +compute +compute +compute +admin"),
    ("log.info", NONE, "+compute +compute +compute +compute +admin"),
    ("time.now", NONE, "+compute +compute +compute +compute +admin"),
    ("json.parse", NONE, "+compute +compute +compute +compute +admin"),
    ("param", NONE, "+compute +compute +compute +compute +admin"),
    ("language.luajit", NONE, "+compute +compute +compute +compute +admin"),  # decided like a call, and is none
    ("language.perl", NONE, ". . . . +admin"),
    ("check", NONE, ". . . . +admin"),  # a family is not a call
    ("checks.metric", NONE, ". . . . +admin"),  # nor is what only begins like one
    ("parameter", NONE, ". . . . +admin"),
    # metadata
    ("fs.stat", Facts(path="/etc/hostname"), ". +observe +observe +observe +admin"),
    ("fs.stat", Facts(path="/"), ". +observe +observe +observe +admin"),
    ("fs.stat", NONE, ". . . . +admin"),  # a rule about paths says nothing about a call without one
    ("fs.lstat", Facts(path="/srv/a"), ". +observe +observe +observe +admin"),
    ("fs.space", Facts(path="/var"), ". +observe +observe +observe +admin"),
    ("fs.mounts", NONE, ". +observe +observe +observe +admin"),
    ("fs.list", Facts(path="/"), ". +observe +inspect +inspect +admin"),
    ("fs.list", Facts(path="/etc"), ". +observe +inspect +inspect +admin"),
    ("fs.list", Facts(path="/home"), ". +observe +inspect +inspect +admin"),
    ("fs.list", Facts(path="/home/mia"), ". . +inspect +inspect +admin"),
    ("fs.list", Facts(path="/etc/ssh"), ". -observe -observe -observe -observe"),
    ("fs.list", Facts(path="/root"), ". -observe -observe -observe -observe"),
    ("fs.list", Facts(path="/var/spool/cron"), ". -observe -observe -observe -observe"),
    ("fs.list", Facts(path="/var/spool"), ". . +inspect +inspect +admin"),
    ("fs.list", Facts(path="/var/spool/postfix"), ". . +inspect +inspect +admin"),
    ("fs.list", Facts(path="/var/spool/at"), ". -observe -observe -observe -observe"),
    ("fs.list", Facts(path="/var/spool/anacron"), ". -observe -observe -observe -observe"),
    ("fs.list", Facts(path="/run/secrets"), ". -observe -inspect -inspect -inspect"),
    *(
        (call, Facts(path=path), verdicts)
        for call in ("fs.exists", "fs.access", "fs.realpath", "fs.readlink")
        for path, verdicts in (
            ("/etc/hostname", ". +observe +observe +observe +admin"),
            ("/root/a", ". +observe +observe +observe +admin"),
        )
    ),
    *(
        (call, Facts(path=path), verdicts)
        for call in ("fs.walk", "fs.glob", "fs.disk_usage", "fs.largest")
        for path, verdicts in (
            ("/", ". +observe +inspect +inspect +admin"),
            ("/home", ". +observe +inspect +inspect +admin"),
            ("/home/mia", ". . +inspect +inspect +admin"),
            ("/etc/ssh", ". -observe -observe -observe -observe"),
            ("/root", ". -observe -observe -observe -observe"),
            ("/var/spool/postfix", ". . +inspect +inspect +admin"),
            ("/var/spool/cron", ". -observe -observe -observe -observe"),
        )
    ),
    # facts of the host
    ("proc.list", NONE, ". +observe +observe +observe +admin"),
    ("proc.self", NONE, ". +observe +observe +observe +admin"),
    ("sys.memory", NONE, ". +observe +observe +observe +admin"),
    ("sys.disk_io", NONE, ". +observe +observe +observe +admin"),
    *(
        (f"sys.{name}", NONE, ". +observe +observe +observe +admin")
        for name in (
            "block_devices", "clock", "containers", "cpu", "cpu_info", "disks", "env", "group", "hardware", "host",
            "last_logins", "loadavg", "modules", "packages", "pressure", "sensors", "service", "services", "sysctl",
            "updates", "uptime", "user", "users", "who",
        )
    ),
    *(
        (f"net.{name}", NONE, ". +observe +observe +observe +admin")
        for name in ("counters", "interfaces", "listeners", "neighbours", "routes", "sockets")
    ),
    *(
        (name, NONE, ". . +inspect +inspect +admin")
        for name in (
            "sys.audit_events", "sys.cron", "sys.journal", "sys.kernel_log", "sys.smart", "sys.timers", "net.firewall",
            "net.socket_owners",
        )
    ),
    ("sys.service_control", Facts(command="cron.service", arguments=("stop",)), ". . . +operate +admin"),
    ("sys.cron_set", Facts(command="df", program="/usr/bin/df", arguments=()), ". . . +operate +admin"),
    ("sys.cron_remove", NONE, ". . . +operate +admin"),
    ("sys.package_install", Facts(arguments=("bash",)), ". . . . +admin"),
    ("sys.sysctl_set", Facts(command="vm.swappiness", arguments=("10",)), ". . . . +admin"),
    ("sys.user_change", Facts(command="mia", arguments=("lock",)), ". . . . +admin"),
    ("sys.reboot", NONE, ". . . . +admin"),
    ("net.connect", Facts(target=NetTarget.of("10.0.0.1", 22)), ". . . . +admin"),
    ("net.tcp_check", Facts(target=NetTarget.of("10.0.0.1", 22)), ". . . . +admin"),  # nothing declares it
    ("sys.memory_map", NONE, ". . . . +admin"),
    ("net.unix", Facts(path="/run/mysqld/mysqld.sock"), ". . . +operate +admin"),
    ("net.unix", Facts(path="/run/docker.sock"), ". . . . +admin"),
    ("net.unix", Facts(path="/run/systemd/private"), ". . . . +admin"),
    ("connection.read", NONE, ". . . +operate +admin"),
    ("datagrams.send", NONE, ". . . . +admin"),
    # contents
    ("fs.read", Facts(path="/etc/hostname", bytes=1), ". . +inspect +inspect +admin"),
    ("fs.read", Facts(path="/etc/hostname", bytes=4 * MIB), ". . +inspect +inspect +admin"),
    ("fs.read", Facts(path="/etc/hostname", bytes=4 * MIB + 1), ". . . . +admin"),
    ("fs.read", Facts(path="/proc/meminfo", bytes=1), ". . +inspect +inspect +admin"),
    ("fs.read", Facts(path="/proc/1/environ", bytes=1), ". . . . +admin"),
    ("fs.read", Facts(path="/proc/sys/kernel/osrelease", bytes=1), ". . +inspect +inspect +admin"),
    ("fs.read", Facts(path="/var/log/syslog", bytes=1), ". . +inspect +inspect +admin"),
    ("fs.read", Facts(path="/home/mia/notes", bytes=1), ". . . . +admin"),
    ("fs.read", Facts(path="/etc/../home/mia/notes", bytes=1), ". . . . +admin"),  # not resolved: fits no path
    ("fs.read", Facts(path="etc/hostname", bytes=1), ". . . . +admin"),
    ("fs.read", Facts(path="/etcetera", bytes=1), ". . . . +admin"),
    *(
        (call, Facts(path=path), verdicts)
        for call in (
            "fs.read_stream", "fs.lines", "fs.tail", "fs.grep", "fs.hash", "fs.magic", "fs.xattr", "fs.watch",
            "fs.open", "file.read", "file.seek", "file.stat",
        )
        for path, verdicts in (
            ("/etc/hostname", ". . +inspect +inspect +admin"),
            ("/var/log/syslog", ". . +inspect +inspect +admin"),
            ("/proc/meminfo", ". . +inspect +inspect +admin"),
            ("/proc/1/environ", ". . . . +admin"),
            ("/home/mia/notes", ". . . . +admin"),
            ("/etc/shadow", ". . -inspect -inspect -inspect"),
            ("/root/.ssh/id_rsa", ". . -inspect -inspect -inspect"),
            ("/var/lib/outrider/agent.key", ". . -inspect -inspect -inspect"),
        )
    ),
    # commands
    ("proc.command", Facts(command="df"), ". . . +operate +admin"),  # what it stands for is not known
    *(
        ("proc.command", Facts(command=name, program=program, arguments=tuple(line.split())), verdicts)
        for name, program, line, verdicts in (
            ("df", "/usr/bin/df", "", ". . +inspect +operate +admin"),
            ("df", "/usr/bin/df", "-hP /var/log", ". . +inspect +operate +admin"),
            ("df", "/bin/sh", "-c id", ". . . +operate +admin"),
            ("df", "/usr/bin/df", "-h --output=size", ". . . +operate +admin"),
            ("ip", "/usr/sbin/ip", "-j addr show", ". . +inspect +operate +admin"),
            ("ip", "/usr/sbin/ip", "netns exec x sh", ". . . +operate +admin"),
            ("ip", "/usr/sbin/ip", "-force -batch /etc/shadow", ". . . +operate +admin"),
            ("ip", "/usr/sbin/ip", "-b /etc/shadow", ". . . +operate +admin"),
            ("ip", "/usr/sbin/ip", "link set lo down", ". . . +operate +admin"),
            ("ip", "/usr/bin/ip", "-n x addr", ". . . +operate +admin"),
            ("ss", "/usr/bin/ss", "-tulnp", ". . +inspect +operate +admin"),
            ("ss", "/usr/bin/ss", "-F /etc/shadow", ". . . +operate +admin"),
            ("ss", "/usr/bin/ss", "-K", ". . . +operate +admin"),
            ("ss", "/usr/bin/ss", "-tE", ". . . +operate +admin"),
            ("ps", "/usr/bin/ps", "-eo pid,ppid,comm", ". . +inspect +operate +admin"),
            ("ps", "/usr/bin/ps", "-eouser,etimes,comm", ". . +inspect +operate +admin"),
            ("ps", "/usr/bin/ps", "-ef", ". . . +operate +admin"),
            ("ps", "/usr/bin/ps", "-eo pid,args", ". . . +operate +admin"),
            ("ps", "/usr/bin/ps", "-e rss", ". . . +operate +admin"),  # r, s, s: signals, with the arguments
            ("ps", "/usr/bin/ps", "-E", ". . . +operate +admin"),
            ("ps", "/usr/bin/ps", "auxe", ". . . +operate +admin"),
            ("ps", "/usr/bin/ps", "-eo environ", ". . . +operate +admin"),
            ("free", "/usr/bin/free", "-h -s 1", ". . . +operate +admin"),
            ("lsblk", "/usr/bin/lsblk", "--sysroot /srv", ". . . +operate +admin"),
            ("uptime", "/usr/bin/uptime", "-p", ". . +inspect +operate +admin"),
        )
    ),
    *(
        ("proc.start", Facts(command="ps", program="/usr/bin/ps", arguments=tuple(line.split())), verdicts)
        for line, verdicts in (
            ("-eo pid,comm", ". . +inspect +operate +admin"),
            ("-ef", ". . . +operate +admin"),
            ("-eo pid,args", ". . . +operate +admin"),
            ("-eo pid,environ", ". . . . +admin"),
            ("auxe", ". . . . +admin"),
            ("-e rss", ". . . . +admin"),
        )
    ),
    ("proc.command", Facts(command="DF"), ". . . +operate +admin"),
    ("proc.command", Facts(command="restart"), ". . . +operate +admin"),
    ("proc.command", NONE, ". . . +operate +admin"),
    ("proc.exec", Facts(command="df"), ". . . . +admin"),
    # files: what services keep, and nothing that is run or believed without being asked
    *(
        ("fs.write", Facts(path=path), verdicts)
        for path, verdicts in (
            ("/etc/hostname", ". . . +operate +admin"),
            ("/etc/nginx/nginx.conf", ". . . +operate +admin"),
            ("/var/www/index.html", ". . . +operate +admin"),
            ("/home/mia/notes", ". . . +operate +admin"),
            ("/etc", ". . . . +admin"),
            ("/etc/passwd", ". . . . +admin"),
            ("/etc/passwd-", ". . . . +admin"),
            ("/etc/shadow", ". . -inspect -inspect -inspect"),
            ("/etc/sudoers.d/x", ". . -inspect -inspect -inspect"),
            ("/etc/crontab", ". . . . +admin"),
            ("/etc/cron.d/x", ". . . . +admin"),
            ("/etc/systemd/system/x.service", ". . . . +admin"),
            ("/etc/ld.so.preload", ". . . . +admin"),
            ("/etc/profile.d/x.sh", ". . . . +admin"),
            *(
                (path, ". . . . +admin")
                for path in (
                    "/etc/NetworkManager/dispatcher.d/50-x", "/etc/alternatives/editor", "/etc/anacrontab",
                    "/etc/cloud/cloud.cfg.d/x.cfg", "/etc/containers/containers.conf", "/etc/csh.login",
                    "/etc/dhcp/dhclient-exit-hooks.d/x", "/etc/docker/daemon.json", "/etc/dpkg/dpkg.cfg.d/x",
                    "/etc/environment.d/x.conf", "/etc/fish/config.fish", "/etc/fstab", "/etc/gitconfig",
                    "/etc/grub.d/40_custom", "/etc/initramfs-tools/hooks/x", "/etc/kubernetes/manifests/x.yaml",
                    "/etc/letsencrypt/renewal-hooks/deploy/x", "/etc/logrotate.conf", "/etc/logrotate.d/x",
                    "/etc/networkd-dispatcher/routable.d/x", "/etc/perl/strict.pm", "/etc/pip.conf",
                    "/etc/ppp/ip-up.d/x",
                    "/etc/python3.11/sitecustomize.py", "/etc/skel/.profile", "/etc/sysconfig/x", "/etc/tmux.conf",
                    "/etc/update-motd.d/99-x", "/etc/vim/vimrc.local", "/home/mia/bin/ls",
                    "/var/cache/apt/archives/x.deb",
                    "/var/lib/cloud/scripts/per-boot/x", "/var/lib/containers/storage/overlay/x",
                    "/var/lib/docker/volumes/x", "/var/lib/extensions/x/usr/bin/x",
                    "/var/lib/postgresql/.profile",
                    "/etc/apcupsd/onbattery", "/etc/at.allow", "/etc/dkms/post-install.d/x", "/etc/gdm3/PostLogin/x",
                    "/etc/hosts.equiv", "/etc/incron.d/x", "/etc/inetd.conf", "/etc/krb5.conf", "/etc/ldap/ldap.conf",
                    "/etc/procmailrc", "/etc/qemu/fsfreeze-hook", "/etc/samba/smb.conf", "/etc/sddm.conf.d/x",
                    "/etc/smartmontools/run.d/x", "/etc/sssd/sssd.conf", "/etc/vmware-tools/scripts/x",
                    "/etc/watchdog.d/x", "/etc/xinetd.d/x", "/etc/zfs/zed.d/x.sh", "/var/cache/nscd/passwd",
                    "/var/db/nscd/passwd", "/var/db/sudo/ts/mia", "/var/lib/lxd/x", "/var/lib/pacman/local/x/install",
                    "/var/lib/private/x/.profile", "/var/lib/rancher/k3s/agent/pod-manifests/x.yaml",
                    "/var/lib/sss/mc/passwd", "/var/lib/sudo/ts/mia", "/var/spool/atjobs/x", "/var/spool/incron/root",
                    "/var/lib/snapd/x",
                )
            ),
            ("/etc/mysql/my.cnf", ". . . +operate +admin"),
            ("/var/lib/postgresql/15/main/x", ". . . +operate +admin"),
            ("/home/mia", ". . . . +admin"),
            ("/home/mia/.bashrc", ". . . . +admin"),
            ("/home/mia/.config/autostart/x", ". . . . +admin"),
            ("/root/notes", ". . . . +admin"),
            ("/usr/local/bin/x", ". . . . +admin"),
            ("/opt/x/bin/x", ". . . . +admin"),
            ("/var/spool/cron/crontabs/root", ". . . . +admin"),
            ("/var/lib/dpkg/info/x.postinst", ". . . . +admin"),
            ("/proc/sys/kernel/core_pattern", ". . . . +admin"),
            ("/sys/kernel/uevent_helper", ". . . . +admin"),
            ("/boot/vmlinuz", ". . . . +admin"),
        )
    ),
    ("fs.write", NONE, ". . . . +admin"),
    ("file.write", Facts(path="/var/www/a"), ". . . +operate +admin"),
    ("file.write", Facts(path="/etc/hostname"), ". . . +operate +admin"),
    ("file.write", Facts(path="/etc/passwd"), ". . . . +admin"),
    ("fs.tempfile", NONE, ". . +inspect +inspect +admin"),
    ("fs.chmod", Facts(path="/etc"), ". . . . +admin"),
    ("fs.remove", Facts(path="/var/www/a"), ". . . . +admin"),
    ("fs.chown", Facts(path="/var/www/a"), ". . . . +admin"),
    *((f"proc.{name}", NONE, ". +observe +observe +observe +admin") for name in ("get", "tree", "io", "wait_for")),
    *((f"proc.{name}", NONE, ". . +inspect +inspect +admin") for name in ("cmdline", "exe", "cwd", "open_files")),
    *((f"proc.{name}", Facts(command="x"), ". . . +operate +admin") for name in ("signal", "renice")),
    *((f"proc.{name}", NONE, ". . . . +admin") for name in ("environ", "spawn")),
    ("process.write", NONE, ". . +inspect +inspect +admin"),  # of what may be started
    ("proc.start", Facts(command="df", program="/usr/bin/df", arguments=("-P",)), ". . +inspect +inspect +admin"),
    ("proc.start", Facts(command="df", program="/tmp/df", arguments=()), ". . . . +admin"),
    ("proc.start", Facts(command="restart"), ". . . . +admin"),
    ("proc.start", NONE, ". . . . +admin"),
]  # fmt: skip

ROWS = [
    (tier, call, facts, expected)
    for call, facts, row in TABLE
    for tier, expected in zip(Tier, row.split(), strict=True)
]


@pytest.mark.parametrize(("tier", "call", "facts", "expected"), ROWS)
def test_the_table(tier: Tier, call: str, facts: Facts, expected: str) -> None:
    """A tier that allows more than its row says gives every approved script more than its reviewer saw."""
    verdict = decide(builtin(tier), call, facts)
    if expected == ".":
        assert (verdict.effect, verdict.rule) == (Effect.DENY, f"{tier.label}: no rule")
    else:
        file, line_effect_call = verdict.rule.split(":", 1)
        line, effect, named = line_effect_call.split(" ")
        assert (file, effect) == (f"{expected[1:]}.yaml", "allow" if expected[0] == "+" else "deny")
        assert line.isdigit()
        assert named in (call, "*", call.split(".")[0] + ".*")
        assert verdict.effect == effect


SENSITIVE = [
    "/etc/bind/rndc.key", "/etc/chrony/chrony.keys", "/etc/dbconfig-common/phpmyadmin.conf", "/etc/ddclient.conf",
    "/etc/dma/auth.conf", "/etc/dovecot/private/dovecot.key", "/etc/efi-keys/db.key", "/etc/luks-keys/root.key",
    "/etc/msmtprc", "/etc/netplan/90-NM-a.yaml", "/etc/ntp.keys", "/etc/nullmailer/remotes",
    "/etc/phpmyadmin/config-db.php", "/etc/refind.d/keys/refind_local.key", "/etc/roundcube/debian-db.php",
    "/etc/ssmtp/ssmtp.conf", "/etc/unbound/unbound_control.key", "/var/lib/caddy/.local/share/caddy/a/a.key",
    "/var/lib/dehydrated/certs/a/privkey.pem", "/var/lib/dkms/mok.key", "/var/lib/icinga2/certs/a.key",
    "/var/lib/private/a/.ssh/id_rsa", "/var/lib/private/a/.pgpass", "/var/lib/sbctl/keys/db/db.key",
    "/sys/devices/pci0000:00/0000:00:03.0/resource0",
    "/var/lib/shim-signed/mok/MOK.priv", "/var/lib/snmp/snmpd.conf", "/var/lib/systemd/home/local.private",
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd", "/etc/krb5.keytab",
    "/etc/ceph/ceph.client.admin.keyring", "/etc/corosync/authkey", "/etc/davfs2/secrets", "/etc/pacemaker/authkey",
    "/etc/dropbear/dropbear_ed25519_host_key", "/etc/gitlab/gitlab-secrets.json", "/etc/munge/munge.key",
    "/etc/puppetlabs/puppet/ssl/private_keys/a.pem", "/etc/rsyncd.secrets", "/etc/salt/pki/minion/minion.pem",
    "/etc/samba/smbpasswd", "/etc/tinc/a/rsa_key.priv", "/proc/kpageflags", "/sys/firmware/efi/vars/PK-1/data",
    "/sys/devices/platform/host3/session1/iscsi_session/session1/password_in", "/sys/fs/pstore/dmesg-ramoops-0",
    "/sys/firmware/ibft/target0/rev-chap-secret", "/sys/kernel/config/target/iscsi/iqn.a/tpgt_1/auth/password",
    "/var/lib/apport/coredump/core.a", "/var/lib/ceph/osd/ceph-0/keyring", "/var/lib/postgresql/15/main/server.key",
    "/var/lib/containers/storage/overlay/a/diff/etc/shadow",
    "/var/lib/docker/overlay2/a/merged/etc/ssh/ssh_host_rsa_key",
    "/var/lib/docker/overlay2/a/diff/run/secrets/db", "/var/lib/iscsi/nodes/iqn.a/1,1/default",
    "/var/lib/libvirt/qemu/domain-1-a/master-key.aes", "/var/lib/machines/a/etc/gshadow-", "/var/lib/mysql/ca-key.pem",
    "/var/lib/mysql/private_key.pem", "/var/lib/postgresql/.pgpass", "/var/lib/postgresql/.ssh/id_rsa",
    "/var/lib/puppet/ssl/private_keys/a.pem", "/var/lib/rabbitmq/.erlang.cookie", "/var/lib/gitea/.gnupg/x/y",
    "/var/lib/systemd/coredump/core.sshd.0.zst", "/var/lib/systemd/pstore/1/dmesg.txt", "/var/lib/vault/raft/x",
    "/var/lib/tor/site/hs_ed25519_secret_key", "/var/log/installer/autoinstall-user-data",
    "/var/log/sudo-io/00/00/01/ttyin",
    "/etc/sudoers", "/etc/sudoers.d/ops", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private/web.key",
    "/etc/letsencrypt/archive/a/privkey1.pem", "/etc/letsencrypt/live/a/privkey.pem", "/etc/wireguard/wg0.conf",
    "/etc/NetworkManager/system-connections/home.nmconnection", "/root/.ssh/id_ed25519", "/home/mia/.ssh/id_rsa",
    "/proc/kallsyms", "/proc/modules", "/proc/iomem", "/proc/ioports", "/proc/vmallocinfo", "/proc/timer_list",
    "/proc/keys",
    "/proc/sys/net/ipv4/tcp_fastopen_key", "/proc/sys/net/ipv6/conf/eth0/stable_secret", "/sys/kernel/vmcoreinfo",
    "/sys/kernel/debug/x", "/sys/kernel/tracing/trace", "/sys/module/ext4/sections/.text",
    "/sys/firmware/efi/efivars/PK-1", "/var/log/audit/audit.log", "/var/log/btmp", "/var/log/btmp.1",
    "/var/lib/docker/containers/0a/config.v2.json", "/var/lib/kubelet/pods/1/volumes/token",
    "/var/lib/outrider/agent.key", "/var/lib/outrider-agent/spool", "/run/secrets/db", "/proc/kcore", "/proc/kmsg",
    "/etc/apt/auth.conf", "/etc/apt/auth.conf.d/pro.conf", "/etc/credstore/db", "/etc/credstore.encrypted/db",
    "/etc/cryptsetup-keys.d/data.key", "/etc/exim4/passwd.client", "/etc/ipsec.d/private/a.key", "/etc/ipsec.secrets",
    "/etc/kubernetes/admin.conf", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/etcd/ca.key", "/etc/ldap.secret",
    "/etc/libvirt/secrets/1.base64", "/etc/mysql/debian.cnf", "/etc/openvpn/client.key", "/etc/openvpn/a/server.key",
    "/etc/pki/tls/private/localhost.key", "/etc/pki/CA/private/cakey.pem", "/etc/postfix/sasl_passwd",
    "/etc/postfix/sasl_passwd.db", "/etc/ppp/chap-secrets", "/etc/rancher/k3s/k3s.yaml", "/etc/rancher/rke2/rke2.yaml",
    "/etc/swanctl/private/a.pem", "/etc/swanctl/rsa/a.pem", "/etc/swanctl/ecdsa/a.pem", "/etc/swanctl/pkcs8/a.pem",
    "/etc/swanctl/pkcs12/a.p12", "/etc/swanctl/bliss/a.pem", "/etc/wpa_supplicant/wpa_supplicant.conf", "/proc/vmcore",
    "/sys/firmware/qemu_fw_cfg/by_name/opt/ignition/raw", "/var/lib/docker/swarm/certificates/swarm-node.key",
    "/var/lib/NetworkManager/secret_key", "/var/lib/bluetooth/AA/BB/info", "/var/lib/cloud/instance/user-data.txt",
    "/var/lib/cloud/instances/i-1/user-data.txt.i", "/var/lib/cloud/instances/i-1/vendor-data.txt",
    "/var/lib/cloud/instances/i-1/obj.pkl", "/var/lib/etcd/member/snap/db", "/var/lib/iwd/home.psk",
    "/var/lib/jenkins/secrets/master.key", "/var/lib/jenkins/credentials.xml", "/var/lib/krb5kdc/principal",
    "/var/lib/rancher/k3s/server/token", "/var/lib/samba/private/secrets.tdb", "/var/lib/sss/db/cache_a.ldb",
    "/var/lib/sss/secrets/.secrets.mkey", "/var/lib/systemd/credential.secret", "/var/lib/systemd/random-seed",
    "/var/lib/tailscale/tailscaled.state",
]  # fmt: skip


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("path", SENSITIVE)
def test_what_holds_secrets_is_out_of_reach_at_every_tier(path: str, tier: Tier) -> None:
    """One readable password file and the sandbox around the script was for nothing."""
    verdict = decide(builtin(tier), "fs.read", Facts(path=path, bytes=1))
    assert verdict.effect is Effect.DENY
    if tier >= Tier.INSPECT:
        assert verdict.rule.startswith("inspect.yaml:"), "by a rule, so that no wider rule of a policy undoes it"


MIB, KIB = 1 << 20, 1 << 10
# wall and CPU in seconds, memory, calls, calls in a second, output, open files, processes, lines of the log, metrics,
# rows
LIMITS = {
    Tier.COMPUTE: Limits(10, 2, 64 * MIB, 10_000, 20_000, 256 * KIB, 8, 0, 1_000, 1_000, 1_000),
    Tier.OBSERVE: Limits(30, 2, 64 * MIB, 10_000, 20_000, 256 * KIB, 32, 0, 1_000, 1_000, 1_000),
    Tier.INSPECT: Limits(30, 2, 64 * MIB, 10_000, 20_000, 256 * KIB, 32, 8, 1_000, 1_000, 1_000),
    Tier.OPERATE: Limits(300, 10, 128 * MIB, 20_000, 20_000, 1 * MIB, 64, 16, 2_000, 1_000, 1_000),
    Tier.ADMIN: Limits(3600, 60, 256 * MIB, 100_000, 20_000, 4 * MIB, 256, 64, 5_000, 1_000, 1_000),
}


@pytest.mark.parametrize("tier", list(Tier))
def test_the_limits_of_each_tier(tier: Tier) -> None:
    """Complete, so that whoever changes a limit says so here."""
    assert builtin(tier).limits == LIMITS[tier]


@pytest.mark.parametrize("lower", list(Tier)[:-1])
def test_the_limits_grow_with_the_tier(lower: Tier) -> None:
    higher = builtin(Tier(lower + 1)).limits
    narrowed = builtin(lower).limits.narrowed(higher)
    assert narrowed == builtin(lower).limits


def rule(effect: Effect, call: str = "*", origin: str = "x.yaml:1", **more: Any) -> Rule:
    return Rule(effect, call, origin, **more)


ALLOW, DENY, ASK = (Layer(effect.value, (rule(effect),)) for effect in (Effect.ALLOW, Effect.DENY, Effect.ASK))
EMPTY = Layer("empty", ())


@pytest.mark.parametrize(
    ("layers", "effect", "decided_by"),
    [
        ([ALLOW], "allow", "x.yaml:1 allow *"),
        ([ALLOW, ALLOW], "allow", "x.yaml:1 allow *"),
        ([ALLOW, ASK], "ask", "x.yaml:1 ask *"),
        ([ALLOW, ASK, DENY], "deny", "x.yaml:1 deny *"),
        ([DENY, ALLOW], "deny", "x.yaml:1 deny *"),
        ([ASK, EMPTY], "deny", "empty: no rule"),
        ([EMPTY, ALLOW], "deny", "empty: no rule"),
        ([ALLOW, EMPTY], "deny", "empty: no rule"),
        ([], "deny", "no rule"),
    ],
)
def test_every_layer_must_allow(layers: list[Layer], effect: str, decided_by: str) -> None:
    """An approval that could widen the ceiling would make the ceiling worthless."""
    verdict = decide_effective(Effective(tuple(layers)), "fs.read", Facts(path="/etc/hostname"))
    assert (verdict.effect, verdict.rule) == (effect, decided_by)


def test_deny_wins_wherever_it_stands_in_the_layer() -> None:
    inside = PathPattern.parse("/etc/**")
    for order in ([Effect.ALLOW, Effect.ASK, Effect.DENY], [Effect.DENY, Effect.ASK, Effect.ALLOW]):
        layer = Layer("x", tuple(rule(effect, paths=(inside,)) for effect in order))
        assert decide_effective(Effective((layer,)), "fs.read", Facts(path="/etc/a")).effect is Effect.DENY


def test_a_narrow_deny_holds_against_a_wide_allow_of_another_layer() -> None:
    inspect, admin = builtin(Tier.INSPECT), builtin(Tier.ADMIN)
    both = Effective((Layer("tier", admin.rules), Layer("ceiling", inspect.rules)))
    verdict = decide_effective(both, "fs.write", Facts(path="/etc/shadow"))
    assert verdict.effect is Effect.DENY
    assert verdict.rule.startswith("inspect.yaml:")
    assert verdict.reason == "tier denies fs.write /etc/shadow"


T = NetTarget.of("t", 1)


@pytest.mark.parametrize(
    ("facts", "fits"),
    [
        (Facts(path="/a/b", command="c", target=T), True),
        (Facts(path="/a/b", command="c"), False),
        (Facts(path="/a/b", target=T), False),
        (Facts(command="c", target=T), False),
        (Facts(path="/b", command="c", target=T), False),
    ],
)
def test_a_rule_fits_only_if_each_thing_it_names_does(facts: Facts, fits: bool) -> None:
    narrow = rule(
        Effect.ALLOW, paths=(PathPattern.parse("/a/**"),), commands=("c",), targets=(TargetPattern.parse("t"),)
    )
    assert decide_effective(Effective((Layer("x", (narrow,)),)), "any.call", facts).allowed is fits


def test_the_smallest_of_each_limit_counts() -> None:
    one = Layer("one", (), Limits(wall_s=1.0, calls=50))
    two = Layer("two", (), Limits(wall_s=9.0, calls=5))
    limits = Effective((one, EMPTY, two)).limits
    assert (limits.wall_s, limits.calls) == (1.0, 5)
    assert Effective((EMPTY,)).limits == Limits(), "no layer states any: the defaults, not no limit"


def test_an_explanation_shows_every_layer() -> None:
    """Whoever is refused by the ceiling must not be sent to the approval's author."""
    told = [(name, str(verdict.effect)) for name, verdict in explain(Effective((ALLOW, ASK, EMPTY)), "fs.read", NONE)]
    assert told == [("allow", "allow"), ("ask", "ask"), ("empty", "deny")]
