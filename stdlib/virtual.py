"""What the host runs inside of: a hypervisor, a container, a provider's cloud. Told by firmware, kernel and files only.

Nobody is asked over the network: the metadata addresses of clouds give out credentials.
"""

from __future__ import annotations

import os

from stdlib import trees
from stdlib.host import Host

#: What the firmware says of itself, in lower case, and the hypervisor that says so. The first that fits counts.
_HYPERVISORS = (
    ("amazon ec2", "amazon"), ("google compute engine", "google"), ("kvm", "kvm"), ("qemu", "qemu"),
    ("vmware", "vmware"), ("virtualbox", "virtualbox"), ("innotek", "virtualbox"), ("xen", "xen"),
    ("microsoft corporation virtual machine", "microsoft"), ("hyper-v", "microsoft"), ("bhyve", "bhyve"),
    ("parallels", "parallels"), ("openstack", "kvm"), ("digitalocean", "kvm"), ("hetzner vserver", "kvm"),
)  # fmt: skip
_CLOUDS = (
    ("amazon ec2", "aws"), ("google compute engine", "gcp"), ("7783-7084-3265-9085-8269-3286-77", "azure"),
    ("oraclecloud", "oracle"), ("digitalocean", "digitalocean"), ("hetzner", "hetzner"), ("alibaba cloud", "alibaba"),
    ("akamai", "linode"), ("linode", "linode"), ("vultr", "vultr"), ("scaleway", "scaleway"), ("upcloud", "upcloud"),
    ("exoscale", "exoscale"), ("openstack", "openstack"),
)  # fmt: skip
_FIRMWARE = ("sys_vendor", "product_name", "board_vendor", "bios_vendor", "chassis_vendor", "chassis_asset_tag")


def hypervisor(host: Host) -> str | None:
    """Return the kind of the hypervisor below, ``other`` if it is none we know, None if there is none."""
    tree = f"{host.proc}/device-tree"  # what machines without such firmware have, ARM's above all
    told = f"{_firmware(host)} {trees.value(f'{tree}/hypervisor/compatible') or ''}".lower()
    for words, name in _HYPERVISORS:
        if words in told:
            return name
    kind = trees.value(f"{host.sys}/hypervisor/type")
    if kind is not None:
        return kind
    if any(name.startswith("fw-cfg@") for name in trees.names(tree)):  # QEMU's own device
        return "qemu"
    is_told = (
        "hypervisor" in _cpu_flags(host)
        or os.path.exists(f"{tree}/hypervisor")
        or trees.value(f"{tree}/compatible") == "linux,dummy-virt"  # a machine that is nothing but virtual devices
    )
    return "other" if is_told else None


def _cpu_flags(host: Host) -> set[str]:
    try:
        text = trees.read(f"{host.proc}/cpuinfo", 16 << 10).text  # the first processor's are enough
    except OSError:
        return set()
    line = next((line for line in text.split("\n") if line.startswith("flags")), "")
    return set(line.split())


def _firmware(host: Host) -> str:
    return " ".join(trees.value(f"{host.sys}/class/dmi/id/{name}") or "" for name in _FIRMWARE).lower()


def container(host: Host) -> str | None:
    """Return the kind of the container that the agent itself is in, or None.

    Source: https://systemd.io/CONTAINER_INTERFACE for what managers leave behind.
    """
    told = trees.value(f"{host.run}/systemd/container")
    if told is not None:
        return told
    for path, name in ((f"{host.run}/.containerenv", "podman"), (f"{host.proc}/self/root/.dockerenv", "docker")):
        if os.path.exists(path):
            return name
    environment = trees.value(f"{host.proc}/1/environ") or ""  # only root may read it
    return trees.settings(environment.replace("\0", "\n")).get("container") or None


def cloud(host: Host) -> str | None:
    """Return the name of the provider that the firmware names, or None."""
    told = _firmware(host)
    return next((name for words, name in _CLOUDS if words in told), None)
