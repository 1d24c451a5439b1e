"""From touched paths to patterns: exact where the code says so, wider only where another day brings other paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.local.patterns import patterns
from policies.paths import PathPattern

NONE: frozenset[str] = frozenset()


def made(
    *paths: str, trees: set[str] | None = None, listed: set[str] | None = None, constants: set[str] | None = None,
    values: set[str] | None = None,
) -> tuple[str, ...]:  # fmt: skip
    return patterns(
        paths, trees=trees or set(), listed=listed or set(), constants=constants or set(), values=values or set()
    )


@pytest.mark.parametrize(
    ("paths", "more", "told"),
    [
        (["/etc/hosts", "/etc/passwd"], {}, ("/etc/hosts", "/etc/passwd")),
        (["/proc/12/stat", "/proc/977/stat"], {}, ("/proc/*/stat",)),
        (["/proc/12/task/13/stat"], {}, ("/proc/*/task/*/stat",)),
        (["/sys/block/sda/stat"], {"values": {"sda"}}, ("/sys/block/*/stat",)),
        (["/etc/pam.d/a", "/etc/pam.d/b"], {}, ("/etc/pam.d/a", "/etc/pam.d/b")),
        (["/etc/pam.d/a", "/etc/pam.d/b"], {"listed": {"/etc/pam.d"}}, ("/etc/pam.d/*",)),
        ([f"/var/spool/q/{name}" for name in "abcd"], {}, ("/var/spool/q/*",)),
        ([f"/etc/{name}" for name in "abcdef"], {}, tuple(f"/etc/{name}" for name in "abcdef")),
        ([f"/etc/x/{n}" for n in "abcd"], {"constants": {f"/etc/x/{n}" for n in "abcd"}},
         tuple(f"/etc/x/{n}" for n in "abcd")),
        (["/var/spool"], {"trees": {"/var/spool"}}, ("/var/spool/**",)),
        (["/var/spool/a/b"], {"trees": {"/var/spool", "/var/spool/a"}}, ("/var/spool/**",)),
        (["/srv/a[1]"], {}, ("/srv/a?1]",)),
        (["/"], {"trees": {"/"}}, ("/**",)),
    ],
)  # fmt: skip
def test_as_wide_as_it_must_be(paths: list[str], more: dict[str, set[str]], told: tuple[str, ...]) -> None:
    assert made(*paths, **more) == told


_PART = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6).filter(lambda part: part not in ".. ")
_PATH = st.lists(_PART, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(_PATH, max_size=12), st.sets(_PATH, max_size=2), st.sets(_PATH, max_size=3))
def test_what_was_touched_is_covered(paths: list[str], trees: set[str], constants: set[str]) -> None:
    """A run that is repeated with the needs of its trace must not be denied what it was allowed."""
    found = [PathPattern.parse(text) for text in patterns(
        paths, trees=trees, listed=set(), constants=constants, values=NONE
    )]  # fmt: skip
    for path in paths:
        assert any(pattern.matches(path) for pattern in found), (path, found)
    for tree in trees:
        assert any(pattern.below(tree) for pattern in found), (tree, found)
