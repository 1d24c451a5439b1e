"""What a run has as temporary is its own: no other run reads it, changes it or takes it away, whatever its tier."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from premises import script, until
from works import Works

from agent import temporaries
from agent.cache import Entry
from agent.own_files import guarded
from policies.ceiling import load_ceiling
from policies.decide import Effective, Layer
from policies.load import builtin
from policies.model import Facts
from protocol.tiers import Tier
from stdlib.host import RunContext
from stdlib.own_temporaries import OTHERS, Decided

in_module = pytest.mark.asyncio(loop_scope="module")

HOLDER = """
local place = fs.tempdir()
fs.write(place .. "/list", "mine")
fs.append(place .. "/list", " alone")
fs.list(place)
local file = fs.tempfile("x")
fs.write(file, "changed")
local walked = 0
for _ in fs.walk(place) do walked = walked + 1 end
check.status(fs.read(place .. "/list") .. " " .. fs.read(file) .. " " .. walked)
print(place)
"""
STAYS = f"{HOLDER}time.sleep(600)\n"  # until it is cancelled
ATTACK = """
local place, told = param("place"), {}
local function try(name, call, ...)
    local ok, error = pcall(call, ...)
    told[#told + 1] = name .. "=" .. (ok and "done" or error.code)
end
try("read", fs.read, place .. "/list")
try("write", fs.write, place .. "/list", "theirs")
try("append", fs.append, place .. "/list", "theirs")
try("make", fs.write, place .. "/new", "theirs")
try("list", fs.list, place)
try("stat", fs.stat, place .. "/list")
try("unlink", fs.unlink, place .. "/list")
try("move", fs.rename, place, place .. "-away")
try("place", fs.rename, place .. "/list", place .. "/other")
try("mode", fs.chmod, place, "0777")
try("link", fs.link, place .. "/list", "/tmp/outrider-test-link/x")
try("symlink", fs.symlink, "/etc/passwd", place .. "/list2")
for entry in fs.walk(place:match("^(.*)/"), {depth = 3}) do
    if entry.path:sub(1, #place) == place then told[#told + 1] = "walk=" .. entry.path end
end
return told
"""


def offered(works: Works, source: str, name: str, tier: str = "operate") -> str:
    words = ("place", "name", "secret", "folder")
    more = f"parameters: {{{', '.join(f'{word}: {{type: string, default: {chr(39) * 2}}}' for word in words)}}}\n"
    bundle = script(source, tier=tier, name=name, more=more)
    about = {"digest": bundle.digest, "name": name, "tier": tier}
    entry = Entry(bundle, works.world.publication(**about), (works.world.approval("eve", **about),))
    works.repository.put(entry)
    return bundle.digest


@pytest.fixture(scope="module", autouse=True)
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporaries lie, for this module: no other program has any there."""
    with pytest.MonkeyPatch.context() as patch:
        there = tmp_path_factory.mktemp("temporaries")
        patch.setattr(tempfile, "tempdir", str(there))
        yield there


@pytest.fixture
def free(works: Works, apart: Path) -> Iterator[Works]:
    works.premises.allow("highest_tier: admin\naccept_server_word: [run, schedule]\n")
    yield works
    assert not list(apart.iterdir())


async def held() -> str:
    """Return where the one run that is under way has its files, once it has written them."""

    def places() -> list[Path]:
        return [path for path in Path(tempfile.gettempdir()).glob("outrider-run-*/list") if path.stat().st_size == 10]

    await until(lambda: bool(places()))
    (place,) = places()
    return str(place.parent)


@in_module
@pytest.mark.parametrize("tier", ["operate", "admin"])
async def test_no_run_reaches_what_another_one_has(free: Works, tier: str) -> None:
    """And its own run does what it likes with it; the attacker's own is as open to it."""
    await free.ask(offered(free, STAYS, "checks/holder", "admin"), run_id="holder")
    place = await held()
    told = (await free.run(offered(free, ATTACK, "checks/mal", tier), run_id="mal", parameters={"place": place})).data
    assert (told["status"], told["reason"]) == ("ok", None)
    names = ["read", "write", "append", "make", "list", "stat", "unlink", "move", "place", "mode", "link", "symlink"]
    assert told["result"] == [f"{name}=denied" for name in names]
    denied = [record for record in await free.premises.records() if record.run == "mal" and record.verdict == "deny"]
    assert len(denied) == len(names)
    # Reading below /tmp is no matter of tier operate anyway.
    others = {record.call for record in denied if record.rule != f"{OTHERS} deny *"}
    assert others <= ({"fs.read"} if tier == "operate" else set())
    assert (Path(place) / "list").read_text() == "mine alone"
    free.sessions.cancel("holder")
    await free.end("holder")
    assert not os.path.exists(place)


@in_module
async def test_a_run_does_with_its_own_what_it_likes(free: Works) -> None:
    end = await free.run(offered(free, HOLDER, "checks/own", "admin"))
    assert (end.outcome, end.data["status_text"]) == ("ok", "mine alone changed 1")


@in_module
async def test_it_can_at_each_tier_at_which_it_can_make_it(free: Works) -> None:
    end = await free.run(offered(free, HOLDER, "checks/own-operate", "operate"), run_id="own-operate")
    assert (end.outcome, end.data["status_text"]) == ("ok", "mine alone changed 1"), end.data
    source = """
local file = fs.tempfile("x\\ny")
local lines = {}
for line in fs.lines(file) do lines[#lines + 1] = line end
local handle = fs.open(file)
local found = {fs.read(file), table.concat(lines, "+"), handle:read(1), fs.stat(file).size, #fs.list(fs.tempdir())}
handle:close()
local ok, error = pcall(fs.write, file, "z")
found[#found + 1] = error.code
return found
"""
    end = await free.run(offered(free, source, "checks/own-inspect", "inspect"), run_id="own-inspect")
    assert (end.outcome, end.data["reason"]) == ("ok", None)
    assert end.data["result"] == ["x\ny", "x+y", "x", 3, 0, "denied"]


LINKS = """
local place, told = fs.tempdir(), {}
local function try(name, call, ...)
    local ok, error = pcall(call, ...)
    told[#told + 1] = name .. "=" .. (ok and "done" or error.code)
end
fs.write(place .. "/mine", "mine")
fs.symlink(param("secret"), place .. "/file")
fs.symlink(param("folder"), place .. "/folder")
fs.symlink(param("place"), place .. "/theirs")
for _, path in ipairs({"/file", "/folder/secret", "/theirs/list", "/../" .. param("name") .. "/list"}) do
    try("read", fs.read, place .. path)
    try("hash", fs.hash, place .. path)
    try("open", fs.open, place .. path)
    try("lines", fs.lines, place .. path)
    try("upload", fs.upload, place .. path)
end
try("write", fs.write, place .. "/theirs/list", "theirs")
local found = 0
for _ in fs.grep({place}, "(a|m)", {recursive = true}) do found = found + 1 end
return {told, found}
"""


@in_module
async def test_links_in_there_lead_to_nothing_more(free: Works, tmp_path: Path) -> None:
    """What is opened is decided on, not the name by which it was reached."""
    (tmp_path / "folder").mkdir()
    secret = tmp_path / "folder/secret"
    secret.write_text("a secret")
    await free.ask(offered(free, STAYS, "checks/holder", "admin"), run_id="linked")
    place = await held()
    parameters = {"place": place, "name": Path(place).name, "secret": str(secret), "folder": str(secret.parent)}
    told = (await free.run(offered(free, LINKS, "checks/links"), run_id="links", parameters=parameters)).data
    assert (told["status"], told["reason"]) == ("ok", None)
    tried, found = told["result"]
    assert {each.partition("=")[2] for each in tried} == {"denied"}, tried
    assert len(tried) == 21
    assert found == 1, "only its own"
    assert (Path(place) / "list").read_text() == "mine alone"
    free.sessions.cancel("linked")
    await free.end("linked")


@in_module
async def test_what_an_earlier_agent_left_is_nobodys(free: Works) -> None:
    """It may be what a script of a higher tier had there."""
    left = Path(tempfile.mkdtemp(prefix="outrider-run-"))
    try:
        source = f"return fs.read('{left}/x')\n"
        assert (await free.run(offered(free, source, "checks/late"))).outcome == "denied"
    finally:
        left.rmdir()


def test_what_is_made_later_is_ones_own_from_then_on(tmp_path: Path) -> None:
    """Names that only begin alike are not."""
    ceiling = guarded(load_ceiling("highest_tier: admin\n", "ceiling.yaml"), tmp_path)
    assert ceiling.layer is not None
    policy = builtin(Tier.ADMIN)
    context = RunContext()
    decided = Decided(Effective((Layer(policy.name, policy.rules), ceiling.layer)), context)
    there = f"{os.path.realpath(tempfile.gettempdir())}/outrider-run-abc"
    assert not decided.decide("fs.write", Facts(path=f"{there}/x")).allowed
    assert decided.below("fs.walk", there) is False
    assert decided.below("fs.walk", os.path.dirname(there)) is None
    context.temporaries.append(there)
    assert decided.decide("fs.write", Facts(path=f"{there}/x")).allowed
    assert decided.decide("fs.rmdir", Facts(path=there)).allowed
    assert decided.below("fs.walk", there) is True
    for path in (f"{there}d/x", f"{there}d", f"{tmp_path}/identity.key"):
        assert not decided.decide("fs.write", Facts(path=path)).allowed
    assert decided.decide("log.info", Facts()).allowed


def test_where_mounts_show_it_a_second_time_it_is_denied_as_well(tmp_path: Path) -> None:
    """Many hosts have one directory for both /tmp and /var/tmp, and tier operate may write in either."""
    layer = guarded(load_ceiling("highest_tier: admin\n", "ceiling.yaml"), tmp_path, (), ["/var/tmp", "/x[1]"]).layer
    assert layer is not None
    policy, context = builtin(Tier.OPERATE), RunContext()
    context.temporaries.append("/tmp/outrider-run-own")
    decided = Decided(Effective((Layer(policy.name, policy.rules), layer)), context)
    for name in ("other", "own"):
        verdict = decided.decide("fs.write", Facts(path=f"/var/tmp/outrider-run-{name}/x"))
        assert verdict.rule == f"{OTHERS} deny *"
        verdict = decided.decide("fs.stat", Facts(path=f"/x[1]/outrider-run-{name}"))
        assert verdict.rule == f"{OTHERS} deny *"
    assert decided.decide("fs.write", Facts(path="/var/tmp/mine/x")).allowed


def test_it_stands_beside_whatever_the_owner_says(tmp_path: Path) -> None:
    """Also where there is no ceiling."""
    for text in ("highest_tier: admin\n", "highest_tier: admin\nallow: [{call: '*'}]\n"):
        layer = guarded(load_ceiling(text, "ceiling.yaml"), tmp_path).layer
        assert layer is not None
        assert [rule for rule in layer.rules if replace(rule) == temporaries.rule()]
