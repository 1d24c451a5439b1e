"""A script as a commit has it: exactly its tree, and nothing of the repository runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from scripts_here import write_bundle

from cli.local.commits import read_commit
from cli.local.folder import read_bundle
from protocol.errors import ArgumentError, DocumentError, TooLargeError
from protocol.limits import MAX_BUNDLE_FILES

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")


def git(where: Path, *words: str) -> str:
    who = ["-c", "user.name=mia", "-c", "user.email=mia@example.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=where, check=True, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(where)},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A script in a folder of a repository, committed and tagged."""
    git(tmp_path, "init", "-q")
    found = write_bundle(tmp_path / "mine" / "queue", "return 1\n")
    (found / ".hidden").write_text("x")
    (found / "lib").mkdir()
    (found / "lib" / "ä.lua").write_text("return 2\n")
    (tmp_path / "outside.txt").write_text("not of it")
    commit(tmp_path)
    git(tmp_path, "tag", "v1")
    return found


def commit(where: Path) -> None:
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "x")


def test_exactly_what_the_commit_has(folder: Path) -> None:
    whole = read_bundle(folder)
    (folder / "main.lua").write_text("return 'later'\n")
    (folder / "more.lua").write_text("x")
    bundle, commit_id = read_commit(folder, "v1")
    assert bundle.digest == whole.digest
    assert sorted(bundle.files) == ["lib/ä.lua", "main.lua", "manifest.yaml"]
    assert commit_id == git(folder, "rev-parse", "HEAD")
    assert read_commit(folder, "HEAD")[0].digest == whole.digest


def test_at_the_top_of_a_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write_bundle(tmp_path, "return 1\n")
    commit(tmp_path)
    assert read_commit(tmp_path, "HEAD")[0].digest == read_bundle(tmp_path).digest


@pytest.mark.parametrize("reference", ["nowhere", "", "--all", "-h", "v1:mine", "HEAD~9", "v1^{tree}"])
def test_what_is_no_commit(folder: Path, reference: str) -> None:
    with pytest.raises(ArgumentError, match="is not a commit"):
        read_commit(folder, reference)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is not a commit"):
        read_commit(write_bundle(tmp_path / "x", "return 1\n"), "HEAD")


def test_links_and_submodules_are_refused(folder: Path) -> None:
    (folder / "link.lua").symlink_to("/etc/passwd")
    commit(folder)
    with pytest.raises(ArgumentError, match="is a symbolic link"):
        read_commit(folder, "HEAD")


def test_a_folder_without_a_script(folder: Path) -> None:
    (folder.parent / "empty").mkdir()
    with pytest.raises(ArgumentError, match=r"holds no manifest\.yaml in commit"):
        read_commit(folder.parent / "empty", "HEAD")


def test_bounds_and_mistakes(folder: Path) -> None:
    (folder / "manifest.yaml").write_text("name: 3\n")
    commit(folder)
    with pytest.raises(DocumentError):
        read_commit(folder, "HEAD")
    for number in range(MAX_BUNDLE_FILES):
        (folder / f"{number}.lua").write_text("x")
    commit(folder)
    with pytest.raises(TooLargeError):
        read_commit(folder, "HEAD")
