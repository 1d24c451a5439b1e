"""The types that editors know of results: a type checker reads the stub, and scripts against it."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest
from mypy import api

from stdlib import shapes
from stdlib.catalogue import load
from stdlib.result_types import Results, names_in, results
from stdlib.stub_lua import lua_stub
from stdlib.stub_python import python_stub

SCRIPT = """\
from typing import assert_type
from outrider import *

assert_type(fs.space("/")["free"], int)
assert_type(fs.list("/etc", limit=10)["entries"][0]["name"], str | bytes)
for entry in fs.walk("/etc"):
    assert_type(entry["depth"], int)
assert_type(sys.loadavg()["5m"], float)
assert_type(net.http("http://localhost/")["body"], str | bytes | None)
assert_type(net.http("http://localhost/")["headers"], dict[str, str])
assert_type(sys.hardware()["pci"][0]["class"], str | None)
assert_type(sys.sysctl("vm"), str | dict[str, str])
assert_type(fs.open("/etc/hosts").path, str)
assert_type(fs.open("/etc/hosts").stat()["size"], int)
emit(fs.space("/"))
json.encode(fs.list("/etc"))
found = proc.get(1)
if found is not None:
    assert_type(found["cpu_user"], float)
"""


def checked(place: Path, script: str, *more: str) -> list[tuple[int, str]]:
    """Return what the type checker says about a script: lines and words."""
    (place / "outrider.pyi").write_text(python_stub())
    (place / "script.py").write_text(script)
    options = ["--strict", "--config-file=", f"--cache-dir={place}/cache", "--no-error-summary", "--no-pretty", *more]
    out, err, _ = api.run([*options, str(place / "script.py"), str(place / "outrider.pyi")])
    assert err == ""
    said = [
        re.fullmatch(r".*?(script\.py|outrider\.pyi):(\d+): (?:note|error): (.*)", line) for line in out.splitlines()
    ]
    assert all(line is not None and line[1] == "script.py" for line in said), out
    return [(int(line[2]), line[3]) for line in said if line is not None]


def test_a_checker_knows_the_fields_of_results(tmp_path: Path) -> None:
    """What an editor completes."""
    assert checked(tmp_path, SCRIPT) == []


WRONG = {
    'fs.space("/")["fre"]': 'TypedDict "_FsSpace" has no key "fre"',
    'proc.get(1)["pid"]': 'Value of type "_Process | None" is not indexable',
    'fs.open("/etc/hosts").pth': '"file" has no attribute "pth"',
    '1 + fs.stat("/")["mode"]': 'Unsupported operand types for + ("int" and "str")',
}


def test_a_checker_tells_what_is_no_field(tmp_path: Path) -> None:
    """What it underlines."""
    said = checked(tmp_path, "from outrider import *\n" + "\n".join(WRONG))
    firsts = dict(reversed(said))  # of each line; a hint may follow
    assert sorted(firsts) == [number for number, _ in enumerate(WRONG, 2)]
    for number, told in enumerate(WRONG.values(), 2):
        assert firsts[number].startswith(told)


def test_every_example_satisfies_a_checker(tmp_path: Path) -> None:
    """They are run as well; here each is a function of its own."""
    head = (
        "from typing import Any\nfrom outrider import *\nclass HostError(Exception):\n    code: str\n    message: str\n"
    )
    body = "".join(
        f"def example_{number}() -> None:\n{textwrap.indent(spec.examples['python'], '    ')}\n"
        for number, spec in enumerate(load())
    )
    assert checked(tmp_path, head + body, "--no-strict-optional") == []  # an example need not ask what may be nothing


def test_every_shape_has_a_type_and_every_type_a_record() -> None:
    found = results()
    builtin = {"str", "bytes", "int", "float", "bool", "None", "Any", "dict", "list", "Stream"}
    kinds = {spec.gives_kind for spec in load() if spec.gives == "handle"}
    for spec in load():
        held = found.of_calls[spec.name]
        assert set(names_in(held)) <= builtin | kinds | set(found.records), spec.name
        is_map = spec.name in shapes.SHAPES and spec.gives != "handle"
        if is_map and isinstance(shapes.shape_of(spec.name), ast.Name):
            assert set(names_in(held)) & set(found.records), spec.name
    for record in found.records.values():
        for held in record.fields.values():
            assert set(names_in(held)) <= builtin | set(found.records), record.name


def test_two_shapes_of_one_name_are_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or an editor would complete the fields of the other."""
    made = Results()
    specs = {spec.name: spec for spec in load()}
    made.add(specs["fs.stat"])
    monkeypatch.setitem(shapes.NAMED, "STATUS", "{size: int}")
    shapes.named.cache_clear()
    try:
        with pytest.raises(TypeError, match="two shapes would be called _Status"):
            made.add(specs["fs.lstat"])
    finally:
        shapes.named.cache_clear()


@pytest.mark.parametrize(
    "line",
    [
        "---@class outrider.FsListEntries\n---@field name string\n---@field type string\n",
        "---@field entries outrider.FsListEntries[]\n",
        '---@field ["5m"] number\n',
        '---@field ["end"] number|nil\n',
        "---@field groups (string|nil)[]\n",
        "---@field headers table<string, string>\n",
        "---@return outrider.Status\n",
        "---@return fun(): outrider.Entry\n",
        "---@class outrider.process\n---@field pid integer\n---@field program string\n---@field close fun(self): nil",
    ],
)
def test_the_stub_for_lua_has_the_fields(line: str) -> None:
    assert line in lua_stub()
