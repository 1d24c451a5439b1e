"""Where mounts show the agent's own files a second time: told from the kernel's list, and denied there as well."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from mounting import told

from agent import other_names as module
from agent.mount_list import mounts_in
from agent.other_names import OtherNames, other_names
from agent.own_files import guarded
from policies.ceiling import DEFAULT
from policies.decide import Effective, decide_effective
from policies.model import Facts
from protocol.errors import UnavailableError

STATE = "/var/lib/outrider/agent"
ROOT = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"


def names(*lines: str, path: str = STATE) -> set[str]:
    text = ROOT + "".join(f"{number} 1 {line}\n" for number, line in enumerate(lines, 2))
    return set(other_names(mounts_in(text.encode()), path, real=lambda layer: layer))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0:5 / /proc rw - proc proc rw", set()),
        ("8:2 / /home rw - ext4 /dev/sda2 rw", set()),
        ("8:1 / /srv/root rw - ext4 /dev/sda1 rw", {f"/srv/root{STATE}"}),
        ("8:1 /var /srv/chroot/var rw,nosuid shared:1 - ext4 /dev/sda1 rw", {"/srv/chroot/var/lib/outrider/agent"}),
        (f"8:1 {STATE} /mnt rw - ext4 /dev/sda1 rw", {"/mnt"}),
        (f"8:1 {STATE}/ceiling.yaml /etc/x rw - ext4 /dev/sda1 rw", {"/etc/x"}),
        (f"8:1 {STATE}/old//deleted /mnt rw - ext4 /dev/sda1 rw", {"/mnt"}),
        (f"8:1 {STATE}-2 /mnt rw - ext4 /dev/sda1 rw", set()),
        ("8:1 /var/lib /mnt/a\\040b\\134 rw - ext4 /dev/sda1 rw", {"/mnt/a b\\/outrider/agent"}),
        *((f"8:1 {STATE} /mnt/a{end}b rw - ext4 /dev/sda1 rw", {f"/mnt/a{end}b"}) for end in ("\r", "\x0c", "\x85")),
        (f"8:1 {STATE} {STATE} rw - ext4 /dev/sda1 rw", set()),  # as systemd does it for a service
        ("0:9 / /over rw - overlay overlay rw,lowerdir=/a:/var/lib,upperdir=/u,workdir=/w", {"/over/outrider/agent"}),
        ("0:9 / /over rw - overlay overlay rw,lowerdir=/a,upperdir=/var,workdir=/w", {"/over/lib/outrider/agent"}),
        ("0:9 / /merged rw - overlay overlay rw,lowerdir+=/a,lowerdir+=/var", {"/merged/lib/outrider/agent"}),
        (f"0:9 / /merged rw - overlay overlay rw,lowerdir={STATE}/x:/a", {"/merged"}),
        ("0:9 / /merged rw - overlay overlay rw,lowerdir=/a\\134:/var:/b", set()),
        ("0:9 / /var rw - overlay overlay rw,lowerdir=/ro/var::/data,upperdir=/rw/var,workdir=/w",
         {"/ro/var/lib/outrider/agent", "/rw/var/lib/outrider/agent", "/data/lib/outrider/agent"}),
        ("0:9 / /m rw - overlay o rw,lowerdir+=/a\\054b,lowerdir+=/var", {"/m/lib/outrider/agent"}),
        ("8:1 /@/var /var rw - btrfs /dev/sda1 rw", {"/@/var/lib/outrider/agent"}),
        ("", set()),
    ],
)  # fmt: skip
def test_each_kind_of_mount(line: str, found: set[str]) -> None:
    assert names(line) == found


@pytest.mark.parametrize(
    ("options", "top"),
    [
        ("lowerdir=/a:/x\\134\\054y:/b", "/x,y"),  # as mount(8) says it
        ("lowerdir+=/a,lowerdir+=/x\\054y,upperdir=/b", "/x,y"),  # as fsconfig(2) takes it: one layer, as it is
        ("lowerdir+=/x:y,datadir+=/b", "/x:y"),
        ("lowerdir=/x\\134:y:/b", "/x:y"),
        ("upperdir=/x\\054y,workdir=/w", "/x,y"),
        ("lowerdir=/x\\040y:/b", "/x y"),
    ],
)
def test_layers_of_any_name(options: str, top: str) -> None:
    """The kernel writes what separates options within one in octal."""
    assert names(f"0:9 / /over rw - overlay o rw,{options}", path=f"{top}/agent") == {"/over/agent"}


def test_names_have_names() -> None:
    """A bind mount of a bind mount, and an overlay above one."""
    found = names(
        "8:1 /var /a rw - ext4 /dev/sda1 rw",
        "0:9 / /merged rw - overlay overlay rw,lowerdir=/a/lib",
        "0:9 /outrider /b rw - overlay overlay rw,lowerdir=/a/lib",
    )
    assert found == {"/a/lib/outrider/agent", "/merged/outrider/agent", "/b/agent"}


def test_there_is_an_end_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, nothing runs, as it cannot be told what would be reached."""
    monkeypatch.setattr(module, "MAX_NAMES", 10)
    with pytest.raises(UnavailableError, match="at more than 10 places"):
        names(*(f"8:1 /var /{number} rw - ext4 /dev/sda1 rw" for number in range(20)))


def test_many_mounts_are_looked_at_in_little_time() -> None:
    """As on a host of many containers, whenever one begins or ends."""
    lines = [f"0:{n} / /c/{n} rw - overlay o rw,lowerdir=/l/{n}:/m:/n,upperdir=/u" for n in range(2000)]
    began = time.process_time()
    assert names(*lines) == set()
    assert time.process_time() - began < 1


def test_a_list_that_cannot_be_read_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be read"):
        OtherNames(STATE, str(tmp_path / "none")).now()


def test_the_list_is_read_again_when_something_is_mounted(tmp_path: Path) -> None:
    """The very same value until then: that is what makes the rules anew or not."""
    one = OtherNames(str(tmp_path))
    assert one.now() is one.now()
    fd = one._mounts._fd
    one.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_what_mounts_show_is_denied_where_they_show_it() -> None:
    ceiling = guarded(DEFAULT, Path(STATE), ["/srv/var/lib/outrider/agent", "/mnt"])
    assert ceiling.layer is not None
    for path in (f"{STATE}/x", "/srv/var/lib/outrider/agent/identity.key", "/mnt", "/mnt/x"):
        verdict = decide_effective(Effective((ceiling.layer,)), "fs.read", Facts(path=path))
        assert verdict.rule.startswith("the agent's own files: deny"), path
    for path in ("/srv/var/lib", "/srv", "/mnt"):
        verdict = decide_effective(Effective((ceiling.layer,)), "fs.rename", Facts(path=path))
        assert verdict.rule.startswith("the agent's own files: deny"), path


MOUNTED = """
import ctypes
from pathlib import Path
from agent.other_names import OtherNames
top, libc = Path(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
state = top / "lib/agent"
state.mkdir(parents=True)
(state / "key").write_text("secret")
names = OtherNames(os.path.realpath(state))
seen = [list(names.now())]

def bind(source, target):
    Path(target).mkdir(exist_ok=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), None, kernel.MS_BIND, None):
        raise OSError(ctypes.get_errno(), "it cannot be bound")

bind(top / "lib", top / "again")
seen.append(list(names.now()))
bind(top / "again/agent", top / "deeper")
seen.append(list(names.now()))
try:
    mount(str(top / "over"), "overlay", f"lowerdir={top}/lib:{top}")
    seen.append(list(names.now()))
    is_overlaid = True
except OSError:
    is_overlaid = False
reached = {name: (Path(name) / "key").read_text() == "secret" for name in names.now()}
unmount(str(top / "deeper"))
last = list(names.now())
print(json.dumps([seen, is_overlaid, reached, last]))
"""


def test_on_real_mounts(tmp_path: Path) -> None:
    """Each name that is told leads to the very files, and each of these is told."""
    seen, is_overlaid, reached, last = told(MOUNTED, str(tmp_path))
    again, deeper = f"{tmp_path}/again/agent", f"{tmp_path}/deeper"
    assert seen[:3] == [[], [again], [again, deeper]]
    if is_overlaid:
        assert {f"{tmp_path}/over/agent", again, deeper} <= set(seen[3])
    assert reached == dict.fromkeys(reached, True)
    assert deeper not in last
    assert again in last
