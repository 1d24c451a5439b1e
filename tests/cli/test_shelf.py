"""What a local run may require: folders that have exactly the digest that is pinned, and the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.local.shelf import MAX_BUNDLES, Shelf
from protocol.bundle import Bundle
from protocol.errors import ArgumentError, TooLargeError
from protocol.limits import MAX_BUNDLE_BYTES
from protocol.manifest import Manifest


def bundle(
    name: str, source: str = "return 1\n", *, language: str = "lua", requires: tuple[Bundle, ...] = ()
) -> Bundle:
    main = "main.py" if language == "python" else "main.lua"
    pins = ", ".join(f"{{name: {item.manifest.name}, digest: '{item.digest}'}}" for item in requires)
    manifest = (
        f"name: {name}\nversion: 1.0.0\nlanguage: {language}\nmain: {main}\ntier: observe\ndescription: d\n"
        f"requires: [{pins}]\n"
    )
    return Bundle.from_files({"manifest.yaml": manifest.encode(), main: source.encode()})


def libraries(script: Bundle, *shelf: Bundle) -> set[str]:
    found = Shelf(shelf).libraries(script.manifest, script.files)
    assert set(found.requires) == {item.name for item in script.manifest.requires}
    return {item.name for item in found.held.values()}


def test_what_is_required_is_found_with_what_that_requires() -> None:
    base = bundle("lib/base")
    rates = bundle("lib/rates", requires=(base,))
    script = bundle("checks/a", requires=(rates,))
    assert libraries(script, base, rates, bundle("lib/other")) == {"lib/base", "lib/rates"}


def test_another_language_is_no_library() -> None:
    other = bundle("checks/b", "pass\n", language="python")
    assert libraries(bundle("checks/a", requires=(other,)), other) == set()
    jit = bundle("lib/jit", language="luajit")
    assert libraries(bundle("checks/a", requires=(jit,)), jit) == {"lib/jit"}


def test_a_folder_that_was_changed_since_is_said() -> None:
    """What is tried here must be what runs on hosts."""
    pinned, changed = bundle("lib/rates"), bundle("lib/rates", "return 2\n")
    script = bundle("checks/a", requires=(pinned,))
    with pytest.raises(ArgumentError, match=f"the folder of that name has {changed.digest}"):
        libraries(script, changed)
    with pytest.raises(ArgumentError, match="no folder has that name"):
        libraries(script)


def test_a_digest_under_another_name_is_refused() -> None:
    real = bundle("lib/rates")
    script = bundle("checks/a", requires=(real,))
    renamed = Bundle.from_files({
        name: data.replace(b"lib/rates", b"lib/trust") if name == "manifest.yaml" else data
        for name, data in script.files.items()
    })  # fmt: skip
    with pytest.raises(ArgumentError, match="with the digest of lib/rates"):
        libraries(renamed, real)


def test_how_much_is_bounded() -> None:
    many = tuple(bundle(f"lib/l{number}", f"return {number}\n") for number in range(MAX_BUNDLES + 1))
    with pytest.raises(TooLargeError, match="more than"):
        libraries(bundle("checks/a", requires=many), *many)
    large = tuple(bundle(f"lib/l{n}", "-" * (MAX_BUNDLE_BYTES // 2) + str(n)) for n in range(2))
    with pytest.raises(TooLargeError, match="bytes"):
        libraries(bundle("checks/a", requires=large), *large)


def test_folders_are_read_as_bundles(tmp_path: Path) -> None:
    made = bundle("lib/rates")
    for name, data in made.files.items():
        (tmp_path / name).write_bytes(data)
    manifest: Manifest = bundle("checks/a", requires=(made,)).manifest
    assert Shelf.read([tmp_path]).libraries(manifest, {}).held.keys() == {made.digest}
    with pytest.raises(ArgumentError):
        Shelf.read([tmp_path / "nothing"])
