"""Publishing, reviewing and withdrawing: what is not proved is refused, and every refusal is on record."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from headquarters import Headquarters, expect, packed, plain, refused, script
from world import NOW, ROLES, World

from protocol.bundle import Bundle
from protocol.frames import encode
from protocol.signing import Envelope, PrivateKey, sign
from protocol.timestamps import stamp
from server import limits

DISK = script()


async def refused_for(server: Headquarters, answer: httpx2.Response, reason: str, about: str) -> None:
    """It was refused for ``reason``, and the newest refusal on record says so, whom, and what about."""
    told = refused(answer, 403, "untrusted", reason=reason)
    assert len(told["detail"]) > 10
    record = (await server.records(kind="refusal"))[-1]
    assert (record["principal"], record["outcome"], record["verdict"]) == ("admin", "untrusted", "deny")
    assert (record["data"]["reason"], record["data"]["message"]) == (reason, told["detail"])
    assert record["arguments"]["name"] == about


def about(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    manifest = bundle.manifest
    told = {"name": manifest.name, "version": manifest.version, "digest": bundle.digest, "tier": manifest.tier.label}
    return told | changes


async def nothing_published(server: Headquarters) -> None:
    assert await server.pages("/scripts") == []
    assert await server.pages("/reviews") == []


# publishing -----------------------------------------------------------------------------------------------------------


async def test_a_version_is_published_and_waits_for_its_review(server: Headquarters) -> None:
    told = expect(await server.publish(DISK), 201)
    (review,) = await server.pages("/reviews", state="open")
    assert told == about(DISK, author="ann", review=review["id"], status="waiting", reviewers=1, level="first",
                         owners=["ann"], visibility="account", warnings=[])  # fmt: skip
    shown = await server.get("/scripts/show", name="checks/disk")
    assert shown["files"] == {path: content.decode() for path, content in DISK.files.items()}
    assert (shown["status"], shown["versions"], shown["approvals"]) == ("waiting", ["1.2.0"], [])
    (record,) = [item for item in await server.records() if item["call"] == "script.publish"]
    assert record["arguments"] == {
        "script": "checks/disk", "version": "1.2.0", "digest": DISK.digest, "author": "ann",
    }  # fmt: skip


async def test_the_publication_is_given_out_as_it_was_signed(server: Headquarters) -> None:
    """Agents check the author's own bytes; the server cannot have changed them."""
    publication = server.world.publication(**about(DISK))
    expect(await server.publish(DISK, publication), 201)
    assert (await server.get("/scripts/show", name="checks/disk"))["publication"] == plain(publication)


async def test_publishing_the_same_again_changes_nothing(server: Headquarters) -> None:
    first = expect(await server.publish(DISK), 201)
    assert expect(await server.publish(DISK), 201) == first
    assert len(await server.pages("/reviews")) == 1
    assert len([item for item in await server.records() if item["call"] == "script.publish"]) == 1


async def test_the_same_published_by_many_at_once_is_one_version(server: Headquarters) -> None:
    found = await asyncio.gather(*[server.publish(DISK) for _ in range(6)])
    assert {answer.status_code for answer in found} == {201}
    assert len({answer.json()["review"] for answer in found}) == 1


async def test_a_version_is_never_replaced(server: Headquarters) -> None:
    expect(await server.publish(DISK), 201)
    told = refused(await server.publish(script("return 2\n")), 409, "conflict")
    assert "checks/disk 1.2.0" in told["detail"]
    assert (await server.get("/scripts/show", name="checks/disk"))["digest"] == DISK.digest


async def test_a_key_that_was_retired_publishes_nothing_more(server: Headquarters) -> None:
    """What it signed before still counts, where it was published before."""
    bundle, newer = script(), script(version="1.3.0")
    told = {each: server.world.publication(**server.about(each)) for each in (bundle, newer)}
    expect(await server.publish(bundle, told[bundle]), 201)
    members = [
        server.world.member(name, **({"retired": stamp(NOW - timedelta(minutes=1))} if name == "ann" else {}))
        for name in ROLES
    ]  # fmt: skip
    expect(await server.put_roster(2, keys=members), 200)
    refused(await server.publish(newer, told[newer]), 403, "untrusted", reason="expired")
    other = script(name="checks/other")
    refused(await server.publish(other), 403, "untrusted", reason="expired")
    expect(await server.approve(bundle), 200)


async def test_an_unsigned_publication(server: Headquarters) -> None:
    signed = server.world.publication(**about(DISK))
    answer = await server.publish(DISK, Envelope(signed.payload_type, signed.payload, ()))
    await refused_for(server, answer, "unsigned", "checks/disk")
    await nothing_published(server)


async def test_a_publication_by_a_stranger(server: Headquarters) -> None:
    body = {"type": "publication", **about(DISK), "issued": stamp(NOW)}
    answer = await server.publish(DISK, sign("publication", body, PrivateKey.generate()))
    await refused_for(server, answer, "unknown_key", "checks/disk")
    await nothing_published(server)


async def test_a_publication_that_was_changed_after_signing(server: Headquarters) -> None:
    signed, other = (server.world.publication(**about(DISK, version=version)) for version in ("1.2.0", "1.3.0"))
    answer = await server.publish(DISK, Envelope(signed.payload_type, signed.payload, other.signatures))
    await refused_for(server, answer, "bad_signature", "checks/disk")


async def test_another_kind_of_statement_in_its_place(server: Headquarters) -> None:
    answer = await server.publish(DISK, server.world.approval("ann", **about(DISK)))
    await refused_for(server, answer, "wrong_type", "checks/disk")


async def test_a_publication_outside_the_authors_namespace(server: Headquarters) -> None:
    """``checks`` does not cover ``checksums``, and a reviewer is no author."""
    for name, signer in (
        ("infra/disk", "ann"), ("checksums/disk", "ann"), ("checks/disk", "dan"), ("checks/disk", "bob"),
    ):  # fmt: skip
        bundle = script(name=name)
        answer = await server.publish(bundle, server.world.publication(signer, **about(bundle)))
        await refused_for(server, answer, "wrong_namespace", name)
    await nothing_published(server)


async def test_a_bundle_of_another_digest(server: Headquarters) -> None:
    answer = await server.publish(script("os.execute('x')\n"), server.world.publication(**about(DISK)))
    await refused_for(server, answer, "wrong_digest", "checks/disk")
    await nothing_published(server)


async def test_a_manifest_that_says_something_else_than_what_was_signed(server: Headquarters) -> None:
    """The reviewer reads one thing and the agent would run another."""
    for change in ({"name": "checks/other"}, {"version": "9.9.9"}, {"tier": "compute"}):
        told = about(DISK, **change)
        answer = await server.publish(DISK, server.world.publication(**told))
        await refused_for(server, answer, "mix_and_match", told["name"])
    await nothing_published(server)


async def test_a_publication_from_the_future(server: Headquarters) -> None:
    publication = server.world.publication(**about(DISK), issued=stamp(NOW + timedelta(hours=1)))
    await refused_for(server, await server.publish(DISK, publication), "expired", "checks/disk")


async def test_without_a_roster_nothing_can_be_judged(bare: Headquarters) -> None:
    told = refused(await bare.publish(DISK), 409, "conflict")
    assert "no roster yet" in told["detail"]


async def test_a_syntax_error_is_told_with_its_place(server: Headquarters) -> None:
    told = refused(await server.publish(script("local x = 1\nif x then\n")), 422, "invalid_argument")
    assert told["where"].startswith("main.lua:")
    await nothing_published(server)


async def test_a_wrong_manifest_is_told_with_its_place(server: Headquarters) -> None:
    files = dict(DISK.files) | {"manifest.yaml": DISK.files["manifest.yaml"].replace(b"tier: observe", b"tier: root")}
    body = {"publication": plain(server.world.publication(**about(DISK)))}
    answer = await server.ask("POST", "/scripts", body | {"bundle": base64.b64encode(encode(files)).decode()})
    told = refused(answer, 422, answer.json()["code"])
    assert told["where"].startswith("manifest.yaml:5: tier")


@pytest.mark.parametrize("version", ["1.0.0-a.lock", "1.0.0-x.lock"])
async def test_a_version_that_git_cannot_hold(server: Headquarters, version: str) -> None:
    answer = await server.publish(script(version=version))
    refused(answer, 422, "invalid_argument", parameter="version")
    await nothing_published(server)


async def test_what_is_no_bundle_is_refused(server: Headquarters) -> None:
    body = {"publication": plain(server.world.publication(**about(DISK)))}
    wrong = {
        "*": 422, "====": 422, "AAAA": 400, base64.b64encode(encode([1])).decode(): 400,
        base64.b64encode(encode({"../x": b""})).decode(): 422, base64.b64encode(encode({})).decode(): 422,
        base64.b64encode(encode({"manifest.yaml": b"\xff"})).decode(): 422, "\u00e4": 422,
    }  # fmt: skip
    for bundle, status in wrong.items():
        answer = await server.ask("POST", "/scripts", body | {"bundle": bundle})
        assert answer.status_code == status, (bundle, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    await nothing_published(server)


async def test_what_is_no_envelope_is_refused(server: Headquarters) -> None:
    good = plain(server.world.publication(**about(DISK)))
    wrong: list[Any] = [
        {}, good | {"more": 1}, good | {"payload": "*"}, good | {"signatures": {}}, good | {"signatures": [{}]},
        good | {"payloadType": 7}, good | {"payload": None}, good | {"signatures": [{"keyid": "x", "sig": "*"}]},
        good | {"payload": base64.b64encode(b'{"a": 1.5}').decode()}, good | {"payload": "e30="},
    ]  # fmt: skip
    for envelope in wrong:
        answer = await server.ask("POST", "/scripts", {"publication": envelope, "bundle": packed(DISK)})
        assert 400 <= answer.status_code < 500, (envelope, answer.text)
    many = good | {"signatures": good["signatures"] * 65}
    refused(await server.ask("POST", "/scripts", {"publication": many, "bundle": packed(DISK)}), 413, "too_large")


async def test_any_author_of_the_roster_can_publish(server: Headquarters) -> None:
    """A name may hold what a commit's author may not."""
    world: World = server.world
    members = [world.member("ann") | {"name": "Ann <a@b>"}, world.member("bob")]
    expect(await server.put_roster(2, keys=members), 200)
    assert expect(await server.publish(DISK), 201)["author"] == "Ann <a@b>"


# reviewing ------------------------------------------------------------------------------------------------------------


async def test_an_approval_lets_a_version_run(server: Headquarters) -> None:
    expect(await server.publish(DISK), 201)
    told = expect(await server.approve(DISK), 200)
    assert (told["state"], told["decided_by"], told["reason"]) == ("approved", "bob", "looks right")
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "approved"
    (record,) = [item for item in await server.records() if item["call"] == "review.approve"]
    assert (record["arguments"]["reviewer"], record["arguments"]["tier"]) == ("bob", "observe")


async def test_nobody_approves_his_own_script(server: Headquarters) -> None:
    """Eve may write and may review, but not the same one."""
    expect(await server.publish(DISK, server.world.publication("eve", **about(DISK))), 201)
    answer = await server.approve(DISK, server.world.approval("eve", **about(DISK)))
    await refused_for(server, answer, "self_approval", "checks/disk")
    assert (await server.pages("/reviews"))[0]["state"] == "open"
    expect(await server.approve(DISK), 200)


async def test_nobody_approves_it_with_another_key_of_his(server: Headquarters) -> None:
    second = PrivateKey.generate()
    member = {"name": "ann", "key": second.public.to_text(), "roles": [{"role": "reviewer", "tier": "admin"}]}
    members = [server.world.member(name) for name in ("ann", "bob")]
    expect(await server.put_roster(2, keys=[*members, member]), 200)
    expect(await server.publish(DISK), 201)
    server.world.keys["ann2"] = second
    answer = await server.approve(DISK, server.world.approval("ann2", **about(DISK)))
    await refused_for(server, answer, "self_approval", "checks/disk")


async def test_an_approval_that_does_not_count_is_refused(server: Headquarters) -> None:
    wrong: list[tuple[str, dict[str, str], str]] = [
        ("oli", {}, "not_approved"), ("dan", {}, "not_approved"),
        ("bob", {"digest": "sha256:" + "0" * 64}, "wrong_digest"),
        ("bob", {"version": "9.9.9"}, "mix_and_match"), ("bob", {"tier": "inspect"}, "mix_and_match"),
        ("bob", {"expires": stamp(NOW)}, "expired"), ("bob", {"issued": stamp(NOW + timedelta(days=1))}, "expired"),
    ]  # fmt: skip
    expect(await server.publish(DISK), 201)
    for signer, change, reason in wrong:
        answer = await server.approve(DISK, server.world.approval(signer, **about(DISK, **change)))
        await refused_for(server, answer, reason, "checks/disk")
    assert (await server.get("/scripts/show", name="checks/disk"))["approvals"] == []


async def test_a_reviewer_of_a_lower_tier_does_not_approve_a_higher_one(server: Headquarters) -> None:
    bundle = script(tier="inspect")
    expect(await server.publish(bundle), 201)
    answer = await server.approve(bundle, server.world.approval("cid", **about(bundle)))
    await refused_for(server, answer, "not_approved", "checks/disk")
    expect(await server.approve(bundle), 200)


async def test_an_approval_that_ends_approves_no_more(server: Headquarters) -> None:
    await server.bring_in(DISK)
    server.clock.advance(days=8)
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] != "approved"


async def test_an_approval_is_kept_once(server: Headquarters) -> None:
    """Only so many are looked at, newest first: one reviewer must not push those of others out by repeating his own."""
    approval = server.world.approval(**about(DISK))
    expect(await server.publish(DISK), 201)
    for _ in range(3):
        expect(await server.approve(DISK, approval), 200)
    assert (await server.get("/scripts/show", name="checks/disk"))["approvals"] == [plain(approval)]
    assert len([item for item in await server.records() if item["call"] == "review.approve"]) == 1


async def test_a_rejection_stands(server: Headquarters) -> None:
    review = expect(await server.publish(DISK), 201)["review"]
    told = await server.post(f"/reviews/{review}/reject", {"reason": "reads too much"})
    assert (told["state"], told["decided_by"], told["reason"]) == ("rejected", "admin", "reads too much")
    refused(await server.approve(DISK), 409, "conflict")
    refused(await server.ask("POST", f"/reviews/{review}/reject", {"reason": "again"}), 409, "conflict")
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "rejected"
    assert [item["id"] for item in await server.pages("/reviews", state="rejected")] == [review]


async def test_an_approval_and_a_rejection_at_the_same_moment_do_not_both_stand(server: Headquarters) -> None:
    for number in range(4):
        bundle = script(version=f"1.0.{number}")
        review = expect(await server.publish(bundle), 201)["review"]
        found = await asyncio.gather(
            server.approve(bundle), server.ask("POST", f"/reviews/{review}/reject", {"reason": "no"})
        )
        assert sorted(answer.status_code for answer in found) == [200, 409]


async def test_a_review_shows_what_a_version_may_do_and_what_changed(server: Headquarters) -> None:
    await server.bring_in(script("return fs.space('/')\n"))
    newer = script(
        "local s = fs.space('/')\nreturn fs.shred('/')\n", version="1.3.0", more="needs: [{call: fs.space}]\n"
    )
    review = expect(await server.publish(newer), 201)["review"]
    shown = await server.get(f"/reviews/{review}")
    assert shown["calls"] == ["fs.space"]
    assert shown["unknown"] == ["fs.shred (main.lua:2)"]
    assert shown["needs"] == [{"call": "fs.space"}]
    assert shown["previous"] == "1.2.0"
    code = {part["path"]: part["text"] for part in await server.pages(f"/reviews/{review}/code")}
    assert code["main.lua"] == "@@ -1 +1,2 @@\n-return fs.space('/')\n+local s = fs.space('/')\n+return fs.shred('/')\n"


async def test_an_unknown_review_is_not_found(server: Headquarters) -> None:
    refused(await server.ask("GET", "/reviews/x"), 404, "not_found")
    refused(await server.ask("POST", "/reviews/x/reject", {"reason": "x"}), 404, "not_found")
    body = {"approval": plain(server.world.approval(**about(DISK)))}
    refused(await server.ask("POST", "/reviews/x/approve", body), 404, "not_found")


# withdrawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["ann", "bob", "cid"])
async def test_authors_and_reviewers_withdraw(server: Headquarters, signer: str) -> None:
    await server.bring_in(DISK)
    told = expect(await server.withdraw(DISK, signer), 200)
    assert told["status"] == "withdrawn"
    (record,) = [item for item in await server.records() if item["call"] == "script.withdraw"]
    assert record["arguments"]["reason"] == "it leaks"


async def test_a_withdrawal_is_kept_once(server: Headquarters) -> None:
    """All of them are sent to every agent, in one message."""
    await server.bring_in(DISK)
    for _ in range(3):
        expect(await server.withdraw(DISK), 200)
    assert len((await server.get("/scripts/show", name="checks/disk"))["withdrawals"]) == 1


async def test_what_was_withdrawn_is_not_approved_back(server: Headquarters) -> None:
    await server.bring_in(DISK)
    expect(await server.withdraw(DISK), 200)
    await server.approve(DISK, server.world.approval(**about(DISK), reason="again"))
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "withdrawn"


@pytest.mark.parametrize("signer", ["dan", "oli"])
async def test_who_holds_another_namespace_withdraws_nothing(server: Headquarters, signer: str) -> None:
    await server.bring_in(DISK)
    await refused_for(server, await server.withdraw(DISK, signer), "wrong_namespace", "checks/disk")
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "approved"


async def test_a_withdrawal_under_another_name_is_refused(server: Headquarters) -> None:
    """Dan may speak for checksums, and names the digest of somebody else's script there."""
    await server.bring_in(DISK)
    told = server.world.withdrawal("dan", name="checksums/disk", digest=DISK.digest)
    answer = await server.ask("POST", "/scripts/withdraw", {"envelope": plain(told)})
    await refused_for(server, answer, "mix_and_match", "checksums/disk")
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "approved"


async def test_what_was_never_published_cannot_be_withdrawn(server: Headquarters) -> None:
    refused(await server.withdraw(DISK), 404, "not_found")


# the roster -----------------------------------------------------------------------------------------------------------


async def roster_refused(server: Headquarters, envelope: Envelope, reason: str) -> None:
    answer = await server.ask("PUT", "/roster", {"envelope": plain(envelope)})
    refused(answer, 403, "untrusted", reason=reason)
    record = (await server.records(kind="refusal"))[-1]
    assert (record["call"], record["data"]["reason"]) == ("PUT /roster", reason)
    assert (await server.get("/roster"))["version"] == 3


async def test_a_roster_follows_from_the_one_before(bare: Headquarters) -> None:
    world = bare.world
    refused(await bare.ask("GET", "/roster"), 404, "not_found")
    for version in (1, 3):
        expect(await bare.put_roster(version), 200)
    expect(await bare.put_roster(3), 200)
    assert (await bare.get("/roster"))["version"] == 3
    root = world.key("root")
    await roster_refused(bare, sign("roster", world.roster_body(2), root), "rollback")
    await roster_refused(bare, sign("roster", world.roster_body(3, keys=[]), root), "mix_and_match")
    await roster_refused(bare, sign("roster", world.roster_body(4, expires=stamp(NOW)), root), "expired")
    await roster_refused(bare, sign("roster", world.roster_body(4), PrivateKey.generate()), "unknown_key")
    assert [item["arguments"]["version"] for item in await bare.records() if item["call"] == "roster.put"] == [1, 3]


async def test_an_expired_roster_proves_nothing_but_can_be_followed(server: Headquarters) -> None:
    """An organisation that was too late must be able to go on."""
    await server.bring_in(DISK)
    server.clock.advance(days=29)
    later = stamp(server.clock.now() + timedelta(days=40))
    server.clock.advance(days=1, seconds=1)
    server.tokens.clear()
    assert (await server.get("/scripts/show", name="checks/disk"))["status"] == "expired"
    expect(await server.put_roster(2, expires=later), 200)


async def test_lists_filter_by_prefix_without_patterns(server: Headquarters) -> None:
    expect(await server.publish(DISK), 201)
    for prefix, count in (("checks/", 1), ("checks", 1), ("c%", 0), ("_hecks", 0), ("x", 0), ("", 1)):
        assert len(await server.pages("/scripts", prefix=prefix)) == count, prefix


async def test_a_bundle_up_to_its_bound_can_be_published(server: Headquarters) -> None:
    """The bound of a body must hold the largest bundle that is one."""
    bundle = script(files={"data.bin": bytes((4 << 20) - 1024)})
    assert len(packed(bundle)) < limits.MAX_BODY_BYTES
    expect(await server.publish(bundle), 201)
