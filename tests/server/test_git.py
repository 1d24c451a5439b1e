"""The repository over HTTP, without a socket: who gets which, what is never served, and bounds. Clones: tests/e2e."""

from __future__ import annotations

import base64
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from headquarters import Headquarters, MovedClock, expect, headquarters, refused, script
from sqlalchemy import Connection
from world import World

from server import limits, views
from server.api import git
from server.repository import Repository
from server.services.visibility import EVERYTHING

PATH = git.PATH


@pytest.fixture
async def published(server: Headquarters) -> Headquarters:
    for name, more in [("open", "visibility: public\n"), ("ours", ""), ("secret", "visibility: private\n")]:
        expect(await server.publish(script(f"return '{name}'\n", name=f"checks/{name}", more=more)), 201)
    return server


async def ask(server: Headquarters, path: str, role: str | None = "admin", **headers: str) -> httpx2.Response:
    given = {} if role is None else {"Authorization": basic(server.token(role))}
    return await server.api.get(f"{PATH}/{path}", headers={**given, **headers})


def basic(token: str, user: str = "git") -> str:
    return f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"


async def tags(server: Headquarters, role: str | None = "admin") -> list[str]:
    answer = await ask(server, "info/refs", role)
    assert answer.status_code == 200, answer.text
    return [line.rpartition("/")[2] for line in answer.text.splitlines() if "refs/tags/" in line]


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("viewer", ["open@1.2.0", "ours@1.2.0"]), ("operator", ["open@1.2.0", "ours@1.2.0"]),
        ("author", ["open@1.2.0", "ours@1.2.0"]), ("reviewer", ["open@1.2.0", "ours@1.2.0", "secret@1.2.0"]),
        ("admin", ["open@1.2.0", "ours@1.2.0", "secret@1.2.0"]),
    ],
)  # fmt: skip
async def test_who_gets_what(published: Headquarters, role: str, seen: list[str]) -> None:
    assert await tags(published, role) == seen


async def test_no_object_of_what_is_private_is_in_what_others_get(published: Headquarters) -> None:
    """Not even one that nothing leads to: files of the dumb protocol are served by their names alone."""
    await tags(published, "viewer")
    whole, view = published.config.repository, published.core.views.path("account")

    def objects(folder: Path) -> set[str]:
        return {path.parent.name + path.name for path in folder.glob("objects/[0-9a-f][0-9a-f]/*")}

    secret = published.core.repository._git.revparse_single("refs/tags/checks/secret@1.2.0").tree
    hidden = {str(secret.id), str(secret["checks/secret"].id), str(secret["checks/secret/main.lua"].id)}
    assert hidden <= objects(whole)
    assert not hidden & objects(view)
    assert not (view / "objects/info/alternates").exists()
    for each in hidden:
        refused(await ask(published, f"objects/{each[:2]}/{each[2:]}", "viewer"), 404, "not_found")
        assert (await ask(published, f"objects/{each[:2]}/{each[2:]}", "admin")).status_code == 200


async def test_a_view_follows_what_is_published(published: Headquarters) -> None:
    assert await tags(published, "viewer") == ["open@1.2.0", "ours@1.2.0"]
    expect(await published.publish(script("return 2\n", name="checks/ours", version="1.3.0")), 201)
    assert await tags(published, "viewer") == ["open@1.2.0", "ours@1.2.0", "ours@1.3.0"]
    expect(await published.publish(script("return 3\n", name="checks/ours", version="1.2.1")), 201)
    assert "ours@1.2.1" in await tags(published, "viewer")
    main = published.core.views._made["account"]._git.revparse_single("main")
    assert main.tree["checks/ours/main.lua"].data == b"return 2\n"
    assert "Owners: ann" in main.message


async def test_without_a_token(published: Headquarters) -> None:
    for headers in ({}, {"Authorization": "Basic !!"}, {"Authorization": basic("")}, {"Authorization": "Digest x"},
                    {"Authorization": basic("ort_wrong")}):  # fmt: skip
        answer = await ask(published, "info/refs", None, **headers)
        refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Basic realm="outrider"', "else git does not ask its user"
        assert (await ask(published, "HEAD", None, **headers)).status_code == 401
        answer = await published.api.post(f"{PATH}/git-upload-pack", headers=headers)
        assert answer.status_code == 401


async def test_a_bearer_does_as_well(published: Headquarters) -> None:
    answer = await published.api.get(f"{PATH}/info/refs", headers=published.authorization("viewer"))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    ["config", "hooks/post-update", "../server.key", "%2e%2e/server.key", "objects/../config",
     "objects/info/alternates", "packed-refs", "refs/heads/main", "objects/aa/" + "0" * 38,
     "objects/pack/pack-" + "0" * 40 + ".keep", "", "objects//aa", "description"],
)  # fmt: skip
async def test_nothing_else_is_served(published: Headquarters, path: str) -> None:
    answer = await ask(published, path, "admin")
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "text/plain"}, b"0000", 422),
        ({"Content-Encoding": "br"}, b"0000", 422),
        ({"Content-Encoding": "gzip"}, b"no gzip", 422),
        ({"Content-Encoding": "gzip"}, gzip.compress(bytes(limits.MAX_ASKED_OF_GIT + 1)), 413),
        ({}, bytes(limits.MAX_ASKED_OF_GIT + 1), 413),
    ],
)
async def test_requests_are_bounded(
    published: Headquarters, headers: dict[str, str], content: bytes, status: int
) -> None:
    given = {"Authorization": basic(published.token()), "Content-Type": "application/x-git-upload-pack-request"}
    answer = await published.api.post(f"{PATH}/git-upload-pack", headers=given | headers, content=content)
    assert answer.status_code == status, answer.text


async def test_so_many_clones_at_once(published: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def locked(self) -> bool:
            return True

    monkeypatch.setattr(git, "_turns", Full())
    refused(await ask(published, "info/refs?service=git-upload-pack"), 503, "unavailable")


async def test_one_person_does_not_take_all_clones(published: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(git._under_way, "admin", git.MAX_OF_ONE)
    path = "info/refs?service=git-upload-pack"
    told = refused(await ask(published, path), 503, "unavailable")
    assert "of yours" in told["detail"]
    assert (await ask(published, path, role="viewer")).status_code == 200
    assert dict(git._under_way) == {"admin": git.MAX_OF_ONE}, "what ended is not counted"


async def test_without_git_the_dumb_protocol_is_spoken(
    published: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "_git", lambda: None)
    answer = await ask(published, "info/refs?service=git-upload-pack")
    assert answer.text.endswith("\trefs/tags/checks/secret@1.2.0\n")
    assert (await ask(published, "HEAD")).text == "ref: refs/heads/main\n"
    assert (await ask(published, "objects/info/packs")).text == ""


# of somebody's own ---------------------------------------------------------------------------------------------------


def own(server: Headquarters, principal: str, *names: str) -> Path:
    """Bring somebody's repository up to date, as if they could see these private scripts."""

    def rows(connection: Connection) -> tuple[list[Any], list[Any]]:
        found = views.own_rows(connection, EVERYTHING)
        return views.rows_of(connection, "account"), [row for row in found if row.name in names]

    shared, kept = server.core.database.submit(rows).result()
    return server.core.views.refresh_own(principal, shared, kept)


def held(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in folder.glob("objects/[0-9a-f][0-9a-f]/*")}


async def test_what_somebody_may_see_no_more_is_not_in_their_repository(published: Headquarters) -> None:
    """Objects of what a reference named before could be asked for by their ids: so it is made anew."""
    expect(await published.publish(script("return 2\n", name="checks/other", more="visibility: private\n")), 201)
    whole = published.core.repository._git
    secret = str(whole.revparse_single("refs/tags/checks/secret@1.2.0:checks/secret/main.lua").id)
    folder = own(published, "ann", "checks/secret", "checks/other")
    assert secret in held(folder)
    assert folder == own(published, "ann", "checks/other")
    assert secret not in held(folder)
    assert str(whole.revparse_single("refs/tags/checks/other@1.2.0:checks/other/main.lua").id) in held(folder)
    assert own(published, "bob", "checks/other") != folder, "everybody has their own"


async def test_a_repository_of_ones_own_follows_what_is_published(published: Headquarters) -> None:
    folder = own(published, "ann", "checks/secret")
    before = Repository(folder).references()
    assert set(before) == {
        "refs/heads/main", "refs/heads/private", "refs/tags/checks/open@1.2.0", "refs/tags/checks/ours@1.2.0",
        "refs/tags/checks/secret@1.2.0",
    }  # fmt: skip
    account = Repository(published.core.views.path("account")).references()
    assert before["refs/heads/main"] == account["refs/heads/main"]
    expect(await published.publish(script("return 2\n", name="checks/ours", version="1.3.0")), 201)
    after = Repository(own(published, "ann", "checks/secret")).references()
    assert set(after) - set(before) == {"refs/tags/checks/ours@1.3.0"}
    assert after["refs/heads/main"] != before["refs/heads/main"]
    assert after["refs/heads/private"] == before["refs/heads/private"]


async def test_who_gets_a_repository_of_their_own(published: Headquarters) -> None:
    made = await published.post("/tokens", {"principal": "ann", "roles": ["author"]}, 201)
    headers = {"Authorization": f"Bearer {made['token']}"}
    smart = await published.api.get(f"{PATH}/info/refs?service=git-upload-pack", headers=headers)
    assert "refs/heads/private" in smart.text
    assert "checks/secret" in smart.text
    dumb = await published.api.get(f"{PATH}/info/refs", headers=headers)
    assert "private" not in dumb.text, "files alone do not hold what is borrowed"
    other = await ask(published, "info/refs?service=git-upload-pack", "author")
    assert "refs/heads/main" in other.text
    assert "private" not in other.text


# public ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def public(directory: Path, world: World, clock: MovedClock) -> AsyncIterator[Headquarters]:
    """A server that lets strangers read what is public."""
    path = directory / "config.yaml"
    path.write_text(path.read_text() + "public_reading: true\n")
    async with headquarters(directory, world, clock) as made:
        assert (await made.put_roster()).status_code == 200
        for name, more in [("open", "visibility: public\n"), ("ours", ""), ("secret", "visibility: private\n")]:
            expect(await made.publish(script(name=f"checks/{name}", more=more)), 201)
        yield made


async def test_strangers_see_what_is_public(public: Headquarters) -> None:
    assert await tags(public, None) == ["open@1.2.0"]
    for path in ("/scripts", "/scripts/search"):
        answer = expect(await public.api.get(f"/api/v1{path}"), 200)
        assert [item["name"] for item in answer["items"]] == ["checks/open"]
    show = "/api/v1/scripts/show"
    assert (await public.api.get(show, params={"name": "checks/open"})).status_code == 200
    for name in ("checks/ours", "checks/secret"):
        refused(await public.api.get(show, params={"name": name}), 404, "not_found")


async def test_strangers_see_nothing_else(public: Headquarters) -> None:
    for path in ("/agents", "/reviews", "/runs", "/records", "/me", "/roster", "/schedules"):
        refused(await public.api.get(f"/api/v1{path}"), 401, "unauthenticated")
    for path in ("/scripts", "/scripts/withdraw", "/scripts/deprecate", "/scripts/transfer"):
        refused(await public.api.post(f"/api/v1{path}", json={}), 401, "unauthenticated")
    wrong = {"Authorization": "Bearer ort_wrong"}
    refused(await public.api.get("/api/v1/scripts", headers=wrong), 401, "unauthenticated")


async def test_strangers_see_nothing_unless_it_is_configured(published: Headquarters) -> None:
    refused(await published.api.get("/api/v1/scripts"), 401, "unauthenticated")
