"""Python scripts as their authors meet them: values, calls, exceptions with places, output."""

from __future__ import annotations

import pytest
from languages import BINDINGS, MEMORY_BYTES, RecordingChannel, python

from sandbox import python_runtime, python_text
from sandbox.runtimes import MAX_SOURCE_BYTES, CallError, RuntimeLimits


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("", None),
        ("result = 7", 7),
        (
            "result = [1, 2.5, 'x', b'\\xff', None, True, {'a': (1, 2)}]",
            [1, 2.5, "x", b"\xff", None, True, {"a": [1, 2]}],
        ),
        ("def main():\n    return 'from main'\nresult = 'not this'", "from main"),
        ("def main():\n    pass\nresult = 'not this'", None),
        ("x: int = 3\ny: int\nresult = x", 3),
        ("def f(x: list[int], *y: nosuch) -> dict[str, int]:\n    return x\nresult = f(5)", 5),
        ("d = {'a': 1}\nd['a'] += 2\nd['a'] *= 5\nresult = d['a']", 15),
        ("l = [1]\nl += [2]\nl[0] -= 1\nresult = l", [0, 2]),
        ("a, (b, *c) = 1, (2, 3, 4)\nresult = [a, b, c]", [1, 2, [3, 4]]),
        ("result = sorted([3, 1, 2], key=lambda x: -x)", [3, 2, 1]),
        ("result = [f'{v:>6.2f}|{n!r}' for n, v in zip('ab', [1, 2.5])]", ["  1.00|'a'", "  2.50|'b'"]),
        ("result = '%s=%d %r' % ('a', 5, 'x')", "a=5 'x'"),
        ("result = 17 % 5", 2),
        ("result = [i for i, c in enumerate('abc') if c != 'b']", [0, 2]),
        ("result = dict(a=1, **{'b': 2})", {"a": 1, "b": 2}),
        ("result = (lambda *a, **k: [list(a), k])(*[1, 2], **{'x': 3})", [[1, 2], {"x": 3}]),
        ("result = isinstance('x', str) and issubclass(str, str) and not isinstance(1, str)", True),
        ("result = [str(), str(5), str(b'ab', 'utf-8'), str.upper('x')]", ["", "5", "ab", "X"]),
        ("def g():\n    x = yield 1\n    yield x\ni = g()\nresult = [next(i), i.send(7), list(i)]", [1, 7, []]),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    result = str(e)", "division by zero"),
        ("result = list(reversed([1, 2])) + list(map(len, ['aa'])) + list(filter(None, [0, 3]))", [2, 1, 2, 3]),
    ],
)
def test_the_value_is_that_of_main_or_result(source: str, value: object) -> None:
    """``main()`` wins where it is defined; tuples become lists."""
    assert python(source).value == value


CLASS = """
class Counter:
    step = 2
    def __init__(self, start):
        self.value = start
    def up(self):
        self.value += self.step
        return self
    def __eq__(self, other):
        return self.value == other.value

class Loud(Counter):
    def shout(self):
        return 'value is ' + str(self.value)

class Failed(ValueError):
    def __init__(self, code):
        self.code = code

def main():
    c = Loud(1).up().up()
    try:
        raise Failed(7)
    except ValueError as error:
        code = error.code
    return [c.value, c.shout(), c == Counter(5), isinstance(c, Counter), code, str(c), hasattr(c, 'step')]
"""


def test_scripts_may_have_classes() -> None:
    """With inheritance, attributes and exceptions of their own."""
    assert python(CLASS).value == [5, "value is 5", True, True, 7, "<Loud>", True]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("result = print", "function"),
        ("result = {1: 2}", "key of type int"),
        ("result = {1}", "set"),
        ("result = 2 ** 64", "more than 64 bits"),
        ("result = float('nan')", "not finite"),
        ("result = '\\ud800'", "not valid Unicode"),
        ("result = []\nresult.append(result)", "nested more than"),
        ("result = list(range(30000))", "more than 25000 elements"),
        ("result = 'x' * 1048576", "larger than"),
        ("class A(list):\n    pass\nresult = A()", "holds a A"),
        ("class A(str):\n    pass\nresult = A()", "holds a A"),
        ("def main():\n    yield 1", "generator"),
        ("result = fs", "holds a fs"),
    ],
)
def test_a_result_that_cannot_cross_is_an_error_that_says_why(source: str, words: str) -> None:
    """Exact types only, so that no method of a script's class runs while the result is copied."""
    assert words in python(source).error


def test_calls_take_positional_and_keyword_arguments() -> None:
    """The same names as in Lua."""
    ran = python("fs.list('/', limit=5)\nproc.command('df', ('-k',))", {"fs.list": [], "proc.command": None})
    assert ran.channel.calls == [("fs.list", ["/"], {"limit": 5}), ("proc.command", ["df", ["-k"]], {})]


def test_an_uncaught_refusal_is_reported_with_code_and_place() -> None:
    """The launcher turns code ``denied`` into the status of the run."""
    result = python("def look():\n    return fs.read('/etc/shadow')\n\nlook()\n").result
    assert (result.ok, result.error_code, result.error_where) == (False, "denied", "main.py:2")
    assert result.error_message == "fs.read is not allowed"


def test_a_caught_refusal_has_code_and_message() -> None:
    """Scripts branch on the code and show the message."""
    source = (
        "try:\n    fs.read('/x')\nexcept HostError as e:\n    result = [e.code, e.message, str(e), f'{e}', e.args[0]]"
    )
    text = "denied: fs.read is not allowed"
    assert python(source).value == ["denied", "fs.read is not allowed", text, text, text]


def test_a_refusal_cannot_be_forged() -> None:
    """A script must not be able to end as denied when nothing was."""
    result = python("raise HostError('denied', 'x')").result
    assert result.error_code is None
    assert "scripts cannot make a HostError" in (result.error_message or "")
    assert python("class Mine(HostError):\n    pass").error.endswith("cannot be a base class")


IMPORTABLE = (
    "what can be imported: base64, collections, csv, datetime, hashlib, ipaddress, itertools, json, math, re, "
    "statistics, textwrap; calls need no import"
)


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [
        ("x = (", "main.py:1", "'(' was never closed"),
        ("a = 1\nif a\n", "main.py:2", "expected ':'"),
        ("\n\nraise ValueError('boom')", "main.py:3", "ValueError: boom"),
        ("\nreturn 1", "main.py:2", "'return' outside function"),
        ("\nnosuch()", "main.py:2", "NameError: name 'nosuch' is not defined"),
        ("def f():\n    raise KeyError('k')\nf()", "main.py:2", "KeyError: 'k'"),
        ("raise ValueError", "main.py:1", "ValueError"),
        ("x = 1\nimport os", "main.py:2", f"import is not available for os; {IMPORTABLE}"),
        ("import math.x", "main.py:1", f"import is not available for math.x; {IMPORTABLE}"),
        ("from . import math", "main.py:1", f"import is not available for .; {IMPORTABLE}"),
        ("\n__import__('math')", "main.py:2", f"__import__ is not available; {IMPORTABLE}"),
        (
            "from textwrap import *",
            "main.py:1",
            "import is not available for * of textwrap; it has dedent, fill, indent, shorten, wrap",
        ),
        ("x = 1\nx.__class__", "main.py:2", '"__class__" is an invalid attribute name because it starts with "_".'),
        ("async def f():\n    pass", "main.py:1", "AsyncFunctionDef statements are not allowed."),
    ],
)
def test_errors_name_their_place(source: str, where: str, message: str) -> None:
    """Syntax errors, refused constructs and exceptions alike."""
    result = python(source).result
    assert (result.error_where, result.error_message, result.error_code) == (where, message, None)


def test_source_that_is_not_utf8_or_has_a_nul_is_refused() -> None:
    """Text only: a coding cookie in bytes would be obeyed."""
    assert python(b"x = '\xff'").error == "the file is not valid UTF-8"
    assert "null" in python(b"x = 1\x00").error
    assert python("# -*- coding: utf-7 -*-\nresult = '+AGE-'").value == "+AGE-"


def test_a_call_that_is_not_declared_reaches_the_gate() -> None:
    """An unknown call is refused there and stands on the record."""
    channel = RecordingChannel({"fs.nope": CallError("not_found", "there is no call fs.nope")})
    result = python_runtime.create(BINDINGS, channel, RuntimeLimits(MEMORY_BYTES)).execute(
        "main.py", {"main.py": b"fs.nope(1)"}, {}
    )
    assert channel.calls == [("fs.nope", [1], {})]
    assert (result.error_code, result.error_where) == ("not_found", "main.py:1")
    assert python("result = [hasattr(fs, 'nope'), getattr(fs, 'nope', 5), hasattr(fs, 'read')]").value == [
        False,
        5,
        True,
    ]


def test_print_sends_text() -> None:
    """With separator and end, without ``file`` and ``flush``."""
    assert (
        python("print(1, None, 'é', [fs.read], sep='|', end='!')").channel.printed == "1|None|é|[<function>]!".encode()
    )
    assert "file" in python("print(1, file=fs)").error
    assert "flush" in python("print(1, flush=True)").error
    assert "must be strings" in python("print(1, sep=5)").error
    assert python("print('\\ud800')").channel.printed == b"?\n"


def test_parameters_and_json_are_local() -> None:
    """They never reach the gate."""
    ran = python("result = [param('a'), param(name='b'), json.decode(json.encode({'k': [1, None]}))]", None, {"a": 5})
    assert ran.value == [5, None, {"k": [1, None]}]
    assert ran.channel.calls == []


def test_an_argument_that_cannot_cross_is_refused_before_the_gate() -> None:
    """The gate sees only plain values."""
    ran = python("fs.space(print)")
    assert (ran.result.error_code, ran.channel.calls) == ("invalid_argument", [])


@pytest.mark.parametrize(
    "source", ["raise_it = [].pop\nraise_it()", "def f():\n    return f()\nf()", "next(iter([]))", "assert False"]
)
def test_every_exception_becomes_a_result(source: str) -> None:
    """``execute`` never raises for what a script does."""
    assert python(source).error


def test_a_main_that_is_not_there_and_a_file_that_is_too_large() -> None:
    """Both are errors of the bundle, told as such."""
    runtime = python_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES))
    assert runtime.execute("x.py", {}, {}).error_message == "the bundle has no file x.py"
    huge = {"x.py": b" " * (MAX_SOURCE_BYTES + 1)}
    assert "larger than" in (runtime.execute("x.py", huge, {}).error_message or "")


def test_an_error_text_is_cut() -> None:
    """The text leaves the worker."""
    message = python("raise ValueError('x' * 10000)").error
    assert len(message.encode()) <= 4096


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("fs.space(float('nan'))", "path holds a number that is not finite"),
        ("fs.space('/', depth=float('inf'))", "depth holds a number that is not finite"),
        ("fs.space('/', float('inf'))", "an argument holds a number that is not finite"),
        ("fs.space(print)", "path holds a"),
        ("t = list(range(20000))\nfs.space(t, t)", "an argument has more than"),
    ],
)
def test_an_argument_that_cannot_cross_is_named(source: str, words: str) -> None:
    """By its parameter, where it is refused by itself; nothing is asked of the gate."""
    ran = python(source)
    assert words in ran.error
    assert ran.channel.calls == []
    calm = source.split("fs.space")[0] + "try:\n    fs.space" + source.split("fs.space")[1]
    told = python(f"{calm}\nexcept HostError as e:\n    result = [e.code, e.parameter or 'an argument']").value
    assert told == ["invalid_argument", words.split(" h")[0]]  # as those that the gate refuses


def test_no_room_for_a_call_is_told_as_what_it_is() -> None:
    """CPython says it in words that nobody would take for memory."""
    told = python_runtime._failure(SystemError("error return without exception set"), set())
    assert told.error_message == "MemoryError: there is no memory for one more call"
    assert python_runtime._failure(SystemError("another"), set()).error_message == "SystemError: another"


def test_no_room_for_the_text_of_an_error_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is then over its limit of memory, whatever else it did wrong."""

    def use_up(_value: object) -> str:
        raise MemoryError

    monkeypatch.setattr(python_text, "text", use_up)
    assert python_runtime._failure(ValueError("x"), set()).error_message == "MemoryError"
