"""The server's directory and its one file: wrong values are refused with file, line and key; secrets are private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from protocol.errors import ArgumentError, ConflictError, DocumentError, NotFoundError, OutriderError, UnavailableError
from protocol.tiers import Tier
from server import config


def written(tmp_path: Path, text: str | bytes) -> Path:
    (tmp_path / config.CONFIG).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path


def test_what_was_made_can_be_read(tmp_path: Path) -> None:
    made = config.make(tmp_path / "deep" / "server", "127.0.0.1:7001")
    assert config.read(made.directory) == made
    assert (made.host, made.port, made.url) == ("127.0.0.1", 7001, "http://127.0.0.1:7001")
    assert config.read_key(made.directory).public == config.read_key(made.directory).public


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("localhost:1", "http://localhost:1"), ("[::1]:7443", "http://[::1]:7443"), ("127.9.9.9:65535", "http://127.9.9.9:65535"),
    ],
)  # fmt: skip
def test_every_loopback_can_be_listened_on(tmp_path: Path, listen: str, url: str) -> None:
    made = config.make(tmp_path, listen)
    assert config.read(tmp_path) == made
    assert made.url == url


def test_the_directory_and_its_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    config.make(tmp_path, config.DEFAULT_LISTEN)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {config.CONFIG: 0o600, config.KEY: 0o600}


def test_a_directory_is_made_once(tmp_path: Path) -> None:
    """A second init must not give the server another key: every agent has pinned the first."""
    config.make(tmp_path, config.DEFAULT_LISTEN)
    key = (tmp_path / config.KEY).read_bytes()
    with pytest.raises(ConflictError, match="holds a server already"):
        config.make(tmp_path, config.DEFAULT_LISTEN)
    assert (tmp_path / config.KEY).read_bytes() == key


def test_what_was_cut_off_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
    """The configuration comes last: without it there is no server yet, and init can be run again."""
    config.make(tmp_path, config.DEFAULT_LISTEN)
    key = (tmp_path / config.KEY).read_bytes()
    (tmp_path / config.CONFIG).unlink()
    with pytest.raises(NotFoundError, match="is no server's directory"):
        config.read(tmp_path)
    config.make(tmp_path, config.DEFAULT_LISTEN)
    assert (tmp_path / config.KEY).read_bytes() == key


def test_a_missing_directory_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"outrider-server init --dir {tmp_path}/none"):
        config.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("listen: 7443", 1, "listen", "must be text"),
        ("listen: somewhere", 1, "listen", "is not HOST:PORT"),
        ("listen: 127.0.0.1", 1, "listen", "is not HOST:PORT"),
        ("listen: '127.0.0.1:0'", 1, "listen", "is not HOST:PORT"),
        ("listen: '127.0.0.1:65536'", 1, "listen", "is not HOST:PORT"),
        ("listen: '127.0.0.1:7443 '", 1, "listen", "is not HOST:PORT"),
        ("listen: ':7443'", 1, "listen", "is not HOST:PORT"),
        ("listen: '::1:7443'", 1, "listen", "is not HOST:PORT"),
        ("# why\n\nlisten: '0.0.0.0:7443'", 3, "listen", "is not loopback"),
        ("listen: '[::]:7443'", 1, "listen", "is not loopback"),
        ("listen: 'example.org:7443'", 1, "listen", "is not loopback"),
        ("listen: '127.0.0.1.example.org:7443'", 1, "listen", "is not loopback"),
        ("reviewers_needed: {operate: 0}", 1, "reviewers_needed", "must be 1 to 16"),
        ("reviewers_needed: {root: 2}", 1, "reviewers_needed", "is not a tier"),
        ("reviewers_needed: 0", 1, "reviewers_needed", "must be 1 to 16"),
        ("reviewers_needed: 17", 1, "reviewers_needed", "must be 1 to 16"),
        ("reviewers_needed: two", 1, "reviewers_needed", "must be a whole number"),
        ("reviewers_needed: true", 1, "reviewers_needed", "must be a whole number"),
        ("reason_from: root", 1, "reason_from", "is not a tier"),
        ("listen: '127.0.0.1:1'\nreviewer_needed: 2", 2, "reviewer_needed", "did you mean 'reviewers_needed'"),
        ("tls: {certificate: a.pem}", 1, "tls.certificate", "there is no file"),
        ("tls:\n  key: a.pem", 1, "tls.certificate", "'certificate' is missing"),
        ("tls: yes", 1, "tls", "must be a mapping"),
        ("[]", 1, "", "must be a mapping"),
        ("a: 1\na: 2", 2, "", "stands twice"),
        ("a: &x 1", 1, "", "anchors"),
        ("listen: [", 2, "", "did not find"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_place(tmp_path: Path, text: str, line: int, key: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        config.read(written(tmp_path, text))
    place = f"{tmp_path / config.CONFIG}:{line}" + (f": {key}" if key else "")
    assert str(caught.value).startswith(place), str(caught.value)
    assert says in caught.value.message


def test_unknown_keys_of_sections_are_refused(tmp_path: Path) -> None:
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).touch()
    with pytest.raises(DocumentError, match=r"tls\.chain: unknown key 'chain'"):
        config.read(written(tmp_path, "tls: {certificate: a.pem, key: b.pem, chain: c.pem}"))


def test_with_tls_the_server_may_listen_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.pem").touch()
    (tmp_path / "b.pem").touch()
    read = config.read(written(tmp_path, "listen: 0.0.0.0:443\ntls: {certificate: a.pem, key: b.pem}"))
    assert (read.certificate, read.key) == (tmp_path / "a.pem", tmp_path / "b.pem")
    assert read.url == "https://0.0.0.0:443"


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    read = config.read(written(tmp_path, ""))
    assert (f"{read.host}:{read.port}", read.certificate) == (config.DEFAULT_LISTEN, None)
    assert read.reviewers_needed == {}


def test_how_many_must_approve_for_every_tier_or_from_a_tier_on(tmp_path: Path) -> None:
    assert config.read(written(tmp_path, "reviewers_needed: 2")).reviewers_needed == {Tier.COMPUTE: 2}
    assert config.read(written(tmp_path, "reviewers_needed: {operate: 3}")).reviewers_needed == {Tier.OPERATE: 3}


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=config.CONFIG):
        config.read(written(tmp_path, b"listen: \xff"))


@pytest.mark.parametrize("listen", ["0.0.0.0:7443", "nowhere", "[::1]", "127.0.0.1:99999"])
def test_a_wrong_address_makes_nothing(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ArgumentError):
        config.make(tmp_path / "server", listen)
    assert not (tmp_path / "server").exists()


# the key --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    config.make(tmp_path, config.DEFAULT_LISTEN)
    (tmp_path / config.KEY).chmod(mode)
    with pytest.raises(UnavailableError, match=f"{config.KEY} has mode {mode:04o}"):
        config.read_key(tmp_path)


def test_a_damaged_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    config.make(tmp_path, config.DEFAULT_LISTEN)
    path = tmp_path / config.KEY
    secret = path.read_text().split()[2]
    for damaged in (path.read_text()[:40], path.read_text().replace("v1", "v2"), "", f"x {secret}", secret):
        path.write_text(damaged)
        with pytest.raises(ArgumentError, match=config.KEY) as caught:
            config.read_key(tmp_path)
        assert secret[:20] not in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=config.KEY):
        config.read_key(tmp_path)


def test_a_private_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What a cut-off attempt left is in nobody's way, and a link in its place is not followed."""
    path, other = tmp_path / "secret", tmp_path / "other"
    other.write_text("mine")
    config.write_private(path, "first")
    (tmp_path / f".secret.{os.getpid()}").symlink_to(other)
    config.write_private(path, "second")
    assert (path.read_text(), other.read_text()) == ("second", "mine")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["other", "secret"]


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    """Whatever stands in the file, ``outrider-server run`` prints a sentence and no traceback."""
    for text in (
        "\0",
        "a: \x07",
        "a: !!python/object:x {}",
        "- " * 2_000,
        "{" * 2_000,
        "a: 1\n---\nb: 2",
        "x" * (2 << 20),
    ):
        with pytest.raises(OutriderError):
            config.read(written(tmp_path, text))


def test_the_bounds_of_blobs_are_read_and_checked(directory: Path) -> None:
    path = directory / config.CONFIG
    before = path.read_text()
    path.write_text(before + "blobs: {max: 10MiB, per_source: 1GiB, total: 2GiB, keep: 7d}\n")
    assert config.read(directory).blob_limits == config.BlobLimits(10 << 20, 1 << 30, 2 << 30, 7 * 86_400.0)
    for wrong, words in (
        ("{max: 2000000GiB}", "a blob has at most"),
        ("{most: 1GiB}", "most"),
        ("{keep: soon}", "keep"),
    ):
        path.write_text(before + f"blobs: {wrong}\n")
        with pytest.raises(ArgumentError, match=words):
            config.read(directory)
