"""From source to restricted code."""

from __future__ import annotations

import dis
from importlib import metadata
from pathlib import Path

import pytest
import RestrictedPython

from protocol.errors import UnavailableError
from sandbox.python_policy import SourceRefused, compile_script, require_version


def test_code_carries_the_name_of_its_file() -> None:
    """Places in tracebacks come from it."""
    assert compile_script("x = 1", "lib/a.py").co_filename == "lib/a.py"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x = (", 1),
        ("\n\nx.__y__", 3),
        ("\nimport x", 2),
        ("\nimport math\nfrom math import x", 3),
        ("\n\n__import__", 3),
        ("x = 1\nreturn 5", 2),
        ("\n\n\nprinted", 4),
        ("x\x00", None),
    ],
)
def test_a_refusal_has_its_line(source: str, line: int | None) -> None:
    """The first one to blame."""
    with pytest.raises(SourceRefused) as caught:
        compile_script(source, "main.py")
    assert caught.value.line in (line, 1 if line is None else line)


def test_warnings_of_the_compiler_stay_silent(recwarn: pytest.WarningsRecorder) -> None:
    """Showing one would open the file to print its line, and a locked worker would be killed for it."""
    compile_script("x = 1 is 1\ny = '\\d'\nassert (1, 2)", "main.py")
    assert not recwarn.list


def test_every_guard_is_in_place() -> None:
    """What the code calls, as names: if a guard is not mentioned it is not called."""
    source = (
        "a.b; a.b = 1; a[0]; a[0] = 1; a += 1; a[0] += 1; a.b += 1; a % b; f'{a}'; print(a); f(*a)\n"
        "x, y = a\nfor x, y in a: pass\nclass C: pass\nimport math\n"
    )
    names = set(compile_script(source, "main.py").co_names)
    assert names >= {
        "_getattr_", "_write_", "_getitem_", "_inplacevar_", "_inplace_item_", "_inplace_attribute_", "_modulo_",
        "_show_", "_print_", "_apply_", "_unpack_sequence_", "_iter_unpack_sequence_", "_getiter_", "__metaclass__",
        "_import_",
    }  # fmt: skip


def test_nothing_is_imported_by_the_code() -> None:
    """The interpreter's own instructions for it would ask for a real module."""
    code = compile_script("import math as m\nfrom math import pi, floor as f\n", "main.py")
    assert not [step.opname for step in dis.get_instructions(code) if "IMPORT" in step.opname]
    assert set(code.co_names) == {"_import_", "_getattr_", "m", "pi", "f"}


def test_syntax_over_which_the_transformer_stumbles_is_refused() -> None:
    """RestrictedPython 9.0 raises AttributeError for it, which would end the worker without a word."""
    with pytest.raises(SourceRefused, match="cannot be checked"):
        compile_script("x = [item for one in [1] for item in await one]", "main.py")


@pytest.mark.parametrize("version", ["8.4", "10.0", "90"])
def test_other_versions_of_restrictedpython_are_refused(
    version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Older ones have known holes; newer ones nobody has judged."""
    (tmp_path / f"restrictedpython-{version}.dist-info").mkdir()
    monkeypatch.setattr(RestrictedPython, "__file__", str(tmp_path / "RestrictedPython" / "__init__.py"))
    with pytest.raises(UnavailableError, match=version):
        require_version()


def test_another_way_of_installing_is_asked_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two sets of metadata in one place, or none, tell nothing."""
    (tmp_path / "restrictedpython-9.0.dist-info").mkdir()
    (tmp_path / "RestrictedPython-8.0.dist-info").mkdir()
    monkeypatch.setattr(RestrictedPython, "__file__", str(tmp_path / "RestrictedPython" / "__init__.py"))
    monkeypatch.setattr(metadata, "version", lambda _: "8.0")
    with pytest.raises(UnavailableError, match=r"8\.0"):
        require_version()
