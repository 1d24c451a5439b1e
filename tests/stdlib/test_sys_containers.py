"""``sys.containers``: control groups of every engine, and names that come from files without their secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made import Made, make
from running import perform

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


@pytest.mark.parametrize(
    ("group", "runtime", "name"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "docker", ID), (f"4:memory:/docker/{ID}", "docker", ID),
        (f"0::/machine.slice/libpod-{ID}.scope/container", "podman", ID),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "containerd", ID),
        (f"0::/kubepods.slice/x.slice/crio-{ID}.scope", "cri-o", ID),
        (f"1:cpu:/kubepods/burstable/pod1/{ID}", "kubernetes", ID), ("0::/lxc.payload.web/init.scope", "lxc", "web"),
        ("0::/machine.slice/systemd-nspawn@deb.service/payload", "systemd-nspawn", "deb"),
        ("0::/machine.slice/machine-vm1.scope", "machine", "vm1"),
    ],
)  # fmt: skip
async def test_engines(made: Made, group: str, runtime: str, name: str) -> None:
    made.put("proc/12/cgroup", f"{group}\n")
    made.put("proc/7/cgroup", f"{group}\n")
    made.put("proc/1/cgroup", "0::/init.scope\n")
    made.put("proc/self/cgroup", "0::/\n")
    (row,) = (await perform("sys.containers", host=made.host))["containers"]
    assert (row["runtime"], row["id"], row["processes"], row["pid"]) == (runtime, name, 2, 7)


async def test_names_without_anything_else_of_the_files(made: Made) -> None:
    """These files hold the environments of containers, and so their passwords."""
    made.put("proc/7/cgroup", f"0::/system.slice/docker-{ID}.scope\n")
    made.put("proc/8/cgroup", f"0::/machine.slice/libpod-{OTHER}.scope\n")
    docker = {"Name": "/web", "Config": {"Image": "nginx:1", "Env": ["DB_PASSWORD=hunter2"]}}
    made.put(f"var/lib/docker/containers/{ID}/config.v2.json", json.dumps(docker))
    podman = [{"id": OTHER, "names": ["db"], "metadata": json.dumps({"image-name": "postgres:16"})}]
    made.put("var/lib/containers/storage/overlay-containers/containers.json", json.dumps(podman))
    told = await perform("sys.containers", host=made.host)
    assert [(row["name"], row["image"]) for row in told["containers"]] == [("web", "nginx:1"), ("db", "postgres:16")]
    assert "hunter2" not in str(told)
    assert (await perform("sys.containers", 1, host=made.host))["more"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"Name": 5, "Config": []}', "null"])
async def test_files_that_are_odd_hide_no_container(made: Made, content: str) -> None:
    made.put("proc/7/cgroup", f"0::/system.slice/docker-{ID}.scope\n")
    made.put(f"var/lib/docker/containers/{ID}/config.v2.json", content)
    (row,) = (await perform("sys.containers", host=made.host))["containers"]
    assert (row["id"], row["name"], row["image"]) == (ID, None, None)


async def test_none(made: Made) -> None:
    assert await perform("sys.containers", host=made.host) == {"containers": [], "more": False}
    assert isinstance((await perform("sys.containers"))["containers"], list)
