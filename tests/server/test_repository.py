"""Scripts in git: a version by its digest for ever, and nobody's script in the way of another's."""

from __future__ import annotations

import threading
from pathlib import Path

import pygit2
import pytest
from headquarters import script

from protocol.bundle import Bundle
from protocol.errors import ArgumentError, ConflictError, NotFoundError, TrustError
from server import repository
from server.repository import Repository


@pytest.fixture
def git(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "scripts.git")


def publish(git: Repository, bundle: Bundle, author: str = "ann") -> str:
    return git.publish(bundle, author, '{"payload":"signed"}')


def read(git: Repository, bundle: Bundle) -> Bundle:
    """Read from git itself, not from what is remembered."""
    git._cache.clear()
    return git.bundle(bundle.manifest.name, bundle.manifest.version, bundle.digest)


def raw(tmp_path: Path) -> pygit2.Repository:
    return pygit2.Repository(str(tmp_path / "scripts.git"))


def names(tmp_path: Path, folder: str) -> list[str]:
    tree = raw(tmp_path).head.peel(pygit2.Commit).tree[folder]
    assert isinstance(tree, pygit2.Tree)
    return sorted(str(entry.name) for entry in tree)


FILES = {"lib/a/deep.lua": b"return 1", "lib/b.bin": bytes(range(256)), "empty": b"", "unusual/ü & x.txt": b"x"}


def test_what_is_published_comes_back_byte_by_byte(git: Repository) -> None:
    bundle = script(files=FILES)
    publish(git, bundle)
    again = read(git, bundle)
    assert dict(again.files) == dict(bundle.files)
    assert again.digest == bundle.digest


def test_publishing_again_changes_nothing(git: Repository, tmp_path: Path) -> None:
    """As after a crash between git and the database."""
    first = publish(git, script())
    assert publish(git, script(), "somebody else") == first
    assert len(list(raw(tmp_path).walk(first))) == 1


def test_a_version_with_other_files_is_refused(git: Repository) -> None:
    bundle = script()
    publish(git, bundle)
    with pytest.raises(ConflictError, match=r"checks/disk 1\.2\.0 is published with other files"):
        publish(git, script("return 2\n"))
    assert read(git, bundle).digest == bundle.digest


def test_old_versions_stay(git: Repository, tmp_path: Path) -> None:
    versions = [
        script(f"return {number}\n", version=f"1.0.{number}", files={f"f{number}": b"x"}) for number in range(4)
    ]
    for bundle in versions:
        publish(git, bundle)
    for bundle in versions:
        assert dict(read(git, bundle).files) == dict(bundle.files)
    assert names(tmp_path, "checks/disk") == ["f3", "main.lua", "manifest.yaml"], "main holds the newest"


def test_a_crash_between_commit_and_tag_is_healed(git: Repository, tmp_path: Path) -> None:
    bundle = script()
    publish(git, bundle)
    raw(tmp_path).references.delete("refs/tags/checks/disk@1.2.0")
    publish(git, bundle)
    assert read(git, bundle).digest == bundle.digest


def test_history_tells_who_and_what_was_signed(git: Repository, tmp_path: Path) -> None:
    bundle = script()
    commit = raw(tmp_path)[publish(git, bundle, "Ann Öst")]
    assert isinstance(commit, pygit2.Commit)
    assert commit.author.name == "Ann Öst"
    assert commit.message.splitlines() == ["checks/disk 1.2.0", "", bundle.digest, '{"payload":"signed"}']


@pytest.mark.parametrize(
    ("name", "written"),
    [("a<b>", "a_b_"), ("a\nparent 1234", "a_parent 1234"), ("\0", "_"), ("\ud800", "_"), (" x ", "x")],
)
def test_any_name_of_an_author_can_be_written(git: Repository, tmp_path: Path, name: str, written: str) -> None:
    """The roster allows any text; git has marks of its own."""
    commit = raw(tmp_path)[publish(git, script(), name)]
    assert isinstance(commit, pygit2.Commit)
    assert commit.author.name == written


def test_scripts_lie_beside_each_other(git: Repository, tmp_path: Path) -> None:
    bundles = [script(name=name) for name in ("checks/disk", "checks/disk2", "checks/deep/er/cpu", "other/disk")]
    for bundle in bundles:
        publish(git, bundle)
    assert all(read(git, bundle).digest == bundle.digest for bundle in bundles)
    assert names(tmp_path, "checks") == ["deep", "disk", "disk2"]


def test_a_script_does_not_lie_in_another(git: Repository, tmp_path: Path) -> None:
    """The next version of the outer one would take the inner one away, or its files would be mixed up with it."""
    publish(git, script(name="checks/disk"))
    with pytest.raises(ConflictError, match="lies in checks/disk, which is a script"):
        publish(git, script(name="checks/disk/inner/more"))
    publish(git, script(name="checks/net/tcp"))
    with pytest.raises(ConflictError, match="checks/net is a folder of other scripts"):
        publish(git, script(name="checks/net"))
    publish(git, script("return 2\n", name="checks/disk", version="2.0.0"))
    assert names(tmp_path, "checks") == ["disk", "net"]


def test_a_bundle_may_have_folders_that_look_like_scripts(git: Repository) -> None:
    bundle = script(files={"inner/manifest.yaml": b"not one"})
    publish(git, bundle)
    publish(git, script(version="1.3.0"))
    assert read(git, bundle).digest == bundle.digest


@pytest.mark.parametrize("version", ["1.0.0-a.lock", "1.0.0-x.y.lock"])
def test_a_version_that_cannot_be_a_tag_is_refused_before_anything_is_written(
    git: Repository, tmp_path: Path, version: str
) -> None:
    with pytest.raises(ArgumentError, match="too long, or holds") as caught:
        publish(git, script(version=version))
    assert caught.value.parameter == "version"
    assert raw(tmp_path).head_is_unborn


@pytest.mark.parametrize("path", [".git/config", "lib/.git/hooks/x", ".GIT/x", "git~1/x", ".git", "x/.git. ", ".git ."])
def test_gits_own_paths_are_refused(git: Repository, path: str) -> None:
    """Who clones the repository must not get hooks (CVE-2014-9390)."""
    with pytest.raises(ArgumentError, match="git's own"):
        publish(git, script(files={path: b"x"}))


@pytest.mark.parametrize("path", [".gitignore", "git", "a.git/x", ".gitmodules"])
def test_what_only_looks_like_gits_own_is_kept(git: Repository, path: str) -> None:
    bundle = script(files={path: b"x"})
    publish(git, bundle)
    assert read(git, bundle).files[path] == b"x"


def test_what_is_not_there_is_not_found(git: Repository) -> None:
    with pytest.raises(NotFoundError, match=r"checks/disk 1\.2\.0"):
        read(git, script())


@pytest.mark.parametrize("how", ["file", "manifest", "no manifest", "elsewhere", "added", "link"])
def test_a_changed_repository_is_noticed(git: Repository, tmp_path: Path, how: str) -> None:
    """Whatever somebody made of it, it is told as what it is: not the files of that digest."""
    bundle = script()
    publish(git, bundle)
    own = raw(tmp_path)
    changed = {
        "file": {"manifest.yaml": bundle.files["manifest.yaml"], "main.lua": b"os.execute('x')"},
        "manifest": {"manifest.yaml": b"name: [", "main.lua": b""},
        "no manifest": {"main.lua": b""},
        "added": {**bundle.files, "more.lua": b""},
        "elsewhere": {},
        "link": {},
    }[how]
    tree = git._tree(changed)
    if how == "link":  # a submodule's entry: neither folder nor file
        builder = own.TreeBuilder()
        builder.insert("x", own.head.peel(pygit2.Commit).id, pygit2.enums.FileMode.COMMIT)
        tree = builder.write()
    root = git._insert(None, ["elsewhere", "x"] if how == "elsewhere" else ["checks", "disk"], tree)
    who = pygit2.Signature("m", "m@m")
    commit = own.create_commit(None, who, who, "m", root, [])
    own.references.create("refs/tags/checks/disk@1.2.0", commit, force=True)
    with pytest.raises(TrustError) as caught:
        read(git, bundle)
    assert caught.value.reason == "wrong_digest"


def test_few_bundles_are_remembered(git: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "CACHED_BUNDLES", 2)
    bundles = [script(f"return {number}\n", version=f"1.0.{number}") for number in range(4)]
    for bundle in bundles:
        publish(git, bundle)
        git.bundle("checks/disk", bundle.manifest.version, bundle.digest)
    assert list(git._cache) == [bundle.digest for bundle in bundles[2:]]


def test_several_threads_publish_and_read(git: Repository) -> None:
    """Handlers run on threads, and libgit2's objects are for one."""
    bundles = [script(f"return {number}\n", name=f"checks/n{number}") for number in range(16)]
    failures: list[Exception] = []

    def work(mine: list[Bundle]) -> None:
        try:
            for bundle in mine:
                publish(git, bundle)
                read(git, bundle)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(bundles[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(read(git, bundle).digest == bundle.digest for bundle in bundles)


def test_it_is_the_same_after_a_restart(git: Repository, tmp_path: Path) -> None:
    bundle = script()
    publish(git, bundle)
    assert read(Repository(tmp_path / "scripts.git"), bundle).digest == bundle.digest
