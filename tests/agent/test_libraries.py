"""What a script requires is proved as the script is: each way to slip something in is refused, and on record."""

from __future__ import annotations

import pytest
from premises import approved, script
from works import Works

from agent.cache import Entry
from agent.libraries import MAX_LIBRARIES
from protocol.bundle import Bundle
from protocol.limits import MAX_BUNDLE_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")


def library(source: str = "return {answer = 42}\n", *, name: str = "checks/lib", more: str = "") -> Bundle:
    return script(source, name=name, tier="compute", more=more)


def requiring(*wanted: Bundle, name: str | None = None) -> str:
    pins = ", ".join(f"{{name: {name or item.manifest.name}, digest: '{item.digest}'}}" for item in wanted)
    return f"requires: [{pins}]\n"


def offered(works: Works, *bundles: Bundle) -> list[Entry]:
    entries = [approved(works.world, bundle) for bundle in bundles]
    for entry in entries:
        works.repository.put(entry)
    return entries


async def test_a_library_that_is_proved_is_loaded(works: Works) -> None:
    inner = library()
    outer = script('return require("checks/lib").answer\n', more=requiring(inner))
    offered(works, inner, outer)
    ended = await works.run(outer.digest)
    assert (ended.outcome, ended.data["result"]) == ("ok", 42), ended.data


async def test_a_library_may_require_another(works: Works) -> None:
    base = library("return 7\n", name="checks/base")
    inner = library('return {answer = require("checks/base") * 6}\n', more=requiring(base))
    outer = script('return require("checks/lib").answer\n', more=requiring(inner))
    offered(works, base, inner, outer)
    assert (await works.run(outer.digest)).data["result"] == 42


async def test_a_library_that_nobody_approved_is_refused(works: Works) -> None:
    inner = library()
    outer = script(more=requiring(inner))
    offered(works, outer)
    works.repository.put(Entry(inner, approved(works.world, inner).publication, ()))
    assert await works.reason(outer.digest) == "not_approved"


async def test_a_library_of_a_stranger_is_refused(works: Works) -> None:
    inner = library(name="other/lib")
    outer = script(more=requiring(inner))
    offered(works, inner, outer)
    assert await works.reason(outer.digest) == "wrong_namespace"


async def test_a_library_under_a_wrong_name_is_refused(works: Works) -> None:
    inner = library()
    outer = script(more=requiring(inner, name="checks/trusted"))
    offered(works, inner, outer)
    assert await works.reason(outer.digest) == "mix_and_match"


async def test_other_files_under_a_librarys_digest_are_refused(works: Works) -> None:
    inner, evil = library(), library("return {answer = 666}\n")
    outer = script(more=requiring(inner))
    offered(works, outer)
    works.repository.put(approved(works.world, evil), digest=inner.digest)
    assert await works.reason(outer.digest) == "wrong_digest"


async def test_a_withdrawn_library_takes_its_scripts_with_it(works: Works) -> None:
    inner = library()
    outer = script('return require("checks/lib").answer\n', more=requiring(inner))
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).outcome == "ok"
    told = works.world.withdrawal(digest=inner.digest, name=inner.manifest.name)
    works.premises.trust.add_withdrawals([told], works.premises.now())
    assert await works.reason(outer.digest, run_id="run_2") == "withdrawn"


async def test_a_library_that_is_not_there_is_said(works: Works) -> None:
    outer = script(more=requiring(library()))
    offered(works, outer)
    assert (await works.refusal(outer.digest)).outcome == "unavailable"


async def test_how_many_is_bounded(works: Works) -> None:
    many = [library(f"return {number}\n", name=f"checks/lib{number}") for number in range(MAX_LIBRARIES + 1)]
    outer = script(more=requiring(*many))
    offered(works, *many, outer)
    assert (await works.refusal(outer.digest)).outcome == "too_large"


async def test_how_large_is_bounded(works: Works) -> None:
    half = "-" * (MAX_BUNDLE_BYTES // 2)
    many = [library(f"--{half}\nreturn {number}\n", name=f"checks/lib{number}") for number in range(2)]
    outer = script(more=requiring(*many))
    offered(works, *many, outer)
    assert (await works.refusal(outer.digest)).outcome == "too_large"


async def test_what_is_not_pinned_is_not_there(works: Works) -> None:
    inner = library()
    outer = script('return require("checks/lib")\n')
    offered(works, inner, outer)
    ended = await works.run(outer.digest)
    assert ended.outcome == "error"
    assert "pinned: none" in ended.data["reason"]


async def test_a_library_has_the_permissions_of_its_script_and_no_more(works: Works) -> None:
    inner = library('return {peek = function() return fs.read("/etc/hostname") end}\n')
    outer = script('return require("checks/lib").peek()\n', more=requiring(inner))
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).outcome == "denied"


async def test_without_a_server_a_schedules_libraries_are_here(works: Works) -> None:
    base = library("return 7\n", name="checks/base")
    inner = library('return require("checks/base")\n', more=requiring(base))
    outer = script('return require("checks/lib")\n', more=requiring(inner))
    offered(works, base, inner, outer)
    works.bundles.needed = lambda: {outer.digest}
    await works.bundles.bring_needed()
    works.bundles.fetch = None
    assert (await works.run(outer.digest)).data["result"] == 7
