"""Attacks on the Python guards. Each is a way out that works against a careless set-up; each must end as stated here.

The boundary is the process, so an attack that merely ends the process is contained; those run in one of their own.
Public references: CVE-2023-37271 (generator frames), CVE-2023-41039 (format through getattr), CVE-2024-47532
(AttributeError.obj, string module), CVE-2025-22153 (except*), CVE-2026-55830 (positional-only guard names),
CVE-2026-76825 (Formatter).
"""

from __future__ import annotations

import re

import pytest
from languages import alone, python

ADDRESS = re.compile(r"0x[0-9a-f]{4,}")


@pytest.mark.parametrize(
    "source",
    [
        # attribute walks, written out
        "().__class__.__bases__[0].__subclasses__()",
        "fs.read.__globals__",
        "fs.__class__",
        "print.__self__",
        "fs._undeclared_('x')",
        "(lambda: 0).__code__",
        "ValueError().__traceback__",
        "x = _getattr_",
        "_getattr_ = None",
        "__builtins__",
        "__metaclass__ = 1",
        "def f(_getattr_):\n    pass",
        "def f(_getattr_, /):\n    pass",
        "lambda _write_, /: 0",
        "def f(*_x):\n    pass",
        "def f(**_x):\n    pass",
        "def _f():\n    pass",
        "class _A:\n    pass",
        "import os as _getattr_",
        "from os import path",
        "import os",
        "for _x in []:\n    pass",
        "try:\n    pass\nexcept ValueError as _x:\n    pass",
        "with fs as _x:\n    pass",
        "del _getattr_",
        "(_x := 1)",
        "[_x for _x in []]",
        "printed",
        "print = 5",
        # frames and code
        "def g():\n    yield\ng().gi_frame",
        "def g():\n    yield\ng().gi_code",
        "def g():\n    yield\ng().gi_yieldfrom",
        "x = 1\nx.tb_frame",
        "x = 1\nx.f_globals",
        # constructs that hide one
        "try:\n    pass\nexcept* ValueError:\n    pass",
        "async def f():\n    await x",
        "[x async for x in y]",
        "match x:\n    case str():\n        pass",
        "def f():\n    x = 1\n    def g():\n        nonlocal x",
        "class A(metaclass=str):\n    pass",
        "exec('1')",
        "eval('1')",
        "d = {}\nd.__class__ += 1",
        "x.y.__z__ += 1",
        "class A:\n    __slots__ = ()",
        "class A:\n    def __getattr__(self, n):\n        pass",
        "class A:\n    def __del__(self):\n        pass",
        "class A:\n    def __init_subclass__(self):\n        pass",
        "class A:\n    def __enter__(self):\n        pass",
        "def __init__(self):\n    pass",
        "f'{().__class__}'",
        "f'{1:{().__class__}}'",
        "x = 1\nx.y__roles__",
    ],
)
def test_it_does_not_compile(source: str) -> None:
    """Nothing of it is ever executed."""
    ran = python(f"print('started')\n{source}")
    assert not ran.result.ok
    assert ran.channel.printed == b""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("getattr((), '__class__')", "has no attribute '__class__'"),
        ("getattr(fs, '__class__')", "has no attribute"),
        ("getattr(fs, '_undeclared_')", "has no attribute"),
        ("getattr(print, '__self__')", "has no attribute"),
        ("getattr(fs.read, '__closure__')", "has no attribute"),
        ("getattr(fs.read, 'anything')", "has no attribute"),
        ("getattr(str, 'mro')", "has no attribute 'mro'"),
        ("str.mro()", "has no attribute 'mro'"),
        ("ValueError.mro()", "has no attribute 'mro'"),
        ("ValueError.with_traceback", "has no attribute"),
        ("'{0.__class__}'.format(1)", "has no attribute 'format'"),
        ("str.format('{0.__class__}', 1)", "has no attribute 'format'"),
        ("getattr('x', 'format')", "has no attribute 'format'"),
        ("getattr('x', 'format_map')", "has no attribute 'format_map'"),
        ("map(getattr, ['x'], ['format'])", "has no attribute 'format'"),
        ("class S(str):\n    pass\nS('x').format()", "has no attribute 'format'"),
        ("class S(str):\n    pass\nS.format", "has no attribute 'format'"),
        ("class S(str):\n    pass\ngetattr(S('__class__'), 'upper')\ngetattr(1, S('real'))", "must be a string"),
        ("def g():\n    yield\ngetattr(g(), 'gi_frame')", "has no attribute 'gi_frame'"),
        ("def g():\n    yield\ng().throw.x", "has no attribute"),
        ("list[int].x", "a class has no items"),
        ("getattr(dict[str, int], '__origin__')", "a class has no items"),
        ("try:\n    fs.read.x\nexcept AttributeError as e:\n    e.obj", "has no attribute 'obj'"),
        ("try:\n    nosuch\nexcept NameError as e:\n    e.name", "has no attribute 'name'"),
        ("try:\n    1 / 0\nexcept Exception as e:\n    e.with_traceback", "has no attribute"),
        ("try:\n    1 / 0\nexcept Exception as e:\n    e.add_note('x')", "has no attribute"),
        ("try:\n    fs.read('/')\nexcept HostError as e:\n    e.with_traceback", "has no attribute"),
        ("{}.keys().mapping", "has no attribute 'mapping'"),
        ("class A:\n    pass\nA.mro()", "has no attribute 'mro'"),
        ("class A:\n    def m(self):\n        pass\nA().m.x", "has no attribute"),
        # writes
        ("fs.read = 1", "cannot be changed"),
        ("fs['x'] = 1", "cannot be changed"),
        ("del fs.read", "cannot be changed"),
        ("str.upper = 1", "cannot be changed"),
        ("class A:\n    pass\nA.x = 1", "cannot be changed"),
        ("def f():\n    pass\nf.x = 1", "cannot be changed"),
        ("ValueError.x = 1", "cannot be changed"),
        ("try:\n    fs.read('/')\nexcept HostError as e:\n    e.code = 'x'", "cannot be changed"),
        ("fs.x += 1", "cannot be changed"),
        ("(1, 2)[0] = 1", "cannot be changed"),
        ("for fs.read in [1]:\n    pass", "cannot be changed"),
        ("[fs.read] = [1]", "cannot be changed"),
        ("with fs as x:\n    pass", "context manager"),
        # classes
        ("class A(fs):\n    pass", "cannot be a base class"),
        ("class A(int):\n    pass", "cannot be a base class"),
        ("class A(tuple):\n    pass", "cannot be a base class"),
        ("class A(HostError):\n    pass", "cannot be a base class"),
        ("class A(fs.read):\n    pass", "cannot be a base class"),
        ("bool.real.x", "has no attribute"),
        # in-place operators and others
        ("x = fs\nx += 1", "not available"),
        ("hash(fs)", "has no hash"),
        ("hash(lambda: 0)", "has no hash"),
        ("hash((1, fs))", "has no hash"),
        ("print(1, file=fs)", "file"),
        ("raise SystemExit(0)", "SystemExit"),
        ("fs.read('/')", "not allowed"),
    ],
)
def test_it_ends_with_an_ordinary_error(source: str, words: str) -> None:
    """Refused at run time, with a text that an honest author understands."""
    assert words in python(source).error


@pytest.mark.parametrize(
    "source",
    [
        "str(fs.read)",
        "repr(fs.read)",
        "str(fs)",
        "f'{fs.read}'",
        "f'{fs.read!r}'",
        "f'{fs.read!a}'",
        "f'{[fs.read]}'",
        "f'{(lambda: 0):>40}'",
        "'%s %r %a' % (fs.read, print, str)",
        "'%(a)s' % {'a': fs.read}",
        "b'%a' % (fs.read,)",
        "'%s' % fs.read",
        "format(fs.read)",
        "format([fs.read], '>50')",
        "str({'a': fs.read, 'b': {1: (fs.read,)}})",
        "str({1: fs.read}.values())",
        "str(slice(fs.read))",
        "str(i for i in [])",
        "str(ValueError(fs.read))",
        "repr(KeyError(fs.read))",
        "str(''.join)",
        "str(iter([]))",
        "str(str)",
        "str(HostError)",
        "x = '%s'\nx %= (fs.read,)\nresult = x",
        "class A:\n    pass\nresult = str(A()) + str(A) + repr([A()]) + f'{A()}'",
        "try:\n    [].index(fs.read)\nexcept ValueError as e:\n    result = str(e) + e.args[0] + repr(e.args)",
        "try:\n    {}[fs.read]\nexcept KeyError as e:\n    result = str(e)",
        "try:\n    {1}.remove(fs.read)\nexcept KeyError as e:\n    result = str(e)",
        "try:\n    int(fs.read)\nexcept TypeError as e:\n    result = str(e)",
        "print(fs.read, [fs.read], fs)\nresult = ''",
    ],
)
def test_no_address_shows(source: str) -> None:
    """All workers of one zygote share their layout; an address in one is an address in all."""
    ran = python(source if "result" in source else f"result = {source}")
    shown = str(ran.value) + ran.channel.printed.decode()
    assert not ADDRESS.search(shown), shown


def test_an_uncaught_error_shows_no_address() -> None:
    """Its text leaves the worker."""
    assert not ADDRESS.search(python("[].index(fs.read)").error)


def test_exceptions_of_calls_carry_no_context() -> None:
    """A context or cause would lead to frames of ours."""
    from languages import BINDINGS, MEMORY_BYTES, RecordingChannel

    from sandbox import python_runtime
    from sandbox.python_guards import HostError
    from sandbox.runtimes import RuntimeLimits

    runtime = python_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES))
    function = type(runtime._namespace["__builtins__"]["fs"]).read
    with pytest.raises(HostError) as caught:
        function("/x")
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_bare_except_catches_everything_and_still_ends() -> None:
    """Nothing of ours relies on an exception that a script cannot catch."""
    source = "def main():\n    try:\n        fs.read('/x')\n    except:\n        return 'caught'"
    assert python(source).value == "caught"


def test_lazy_forms_are_lists() -> None:
    """Deep nests of lazy iterators crash the interpreter when they are freed."""
    source = (
        "result = [isinstance(x, list) for x in (map(str, []), filter(None, []), zip(), enumerate([]), reversed([]))]"
    )
    assert python(source).value == [True] * 5


def test_methods_of_scripts_do_not_run_while_values_cross() -> None:
    """Arguments are checked by their exact type."""
    source = "class D(dict):\n    def __eq__(self, o):\n        print('ran')\nfs.space(D())"
    ran = python(source)
    assert ran.result.error_code == "invalid_argument"
    assert ran.channel.printed == b""


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return f()\nf()",
        "x = []\nfor i in range(100000):\n    x = [x]\nresult = str(x)",
        "x = []\nfor i in range(100000):\n    x = [x]\nresult = x == [x]",
        "x = []\nfor i in range(100000):\n    x = [x]\nfs.space(x)",
        "x = []\nfor i in range(100000):\n    x = [x]\njson.encode(x)",
        "x = ()\nfor i in range(100000):\n    x = (x,)\nhash(x)",
        "x = {}\nx['x'] = x\nresult = repr(x)",
        "result = json.decode('[' * 100000)",
        "result = 'x' * 10 ** 10",
        "result = [0] * 10 ** 10",
        "x = 'x'\nwhile True:\n    x += x",
        "x = []\nwhile True:\n    x.append('x' * 1000000)",
        "result = '%99999999999d' % 1",
        "result = f'{1:99999999999}'",
        "result = int('9' * 100000)",
        "result = str(10 ** 10000)",
        "x = 0\nfor i in range(100000):\n    x = (lambda y: lambda: y())(x)",
        "def g(n):\n    if n:\n        yield from g(n - 1)\n    yield n\nresult = len(list(g(5000)))",
        "class A:\n    def __eq__(self, o):\n        return self == o\nresult = A() == A()",
        "class A:\n    def __contains__(self, o):\n        return o in self\nresult = 1 in A()",
        "class A(Exception):\n    pass\ne = A()\nfor i in range(100000):\n    e = A(e)\nresult = str(e)",
        "def f(e):\n    try:\n        raise e\n    except KeyError as x:\n        raise ValueError(x)\nf(KeyError(1))",
        "result = sum([[1]] * 3, [])",
    ],
)
def test_what_may_end_the_process_stays_contained_and_bounded(source: str) -> None:
    """None of these may hang, crash by signal 11 or answer anything but an error or a plain value."""
    outcome = alone("python", source)
    assert outcome.startswith(("error: ", "ok: ")), outcome


@pytest.mark.parametrize(
    "source",
    [
        "(" * 100000,
        "x = " + "(" * 300 + ")" * 300,
        "x = " + "-" * 100000 + "1",
        "x = " + "1 + " * 50000 + "1",
        "x = " + "[" * 150 + "]" * 150,
        "x" + ".a" * 50000,
        "x" + "()" * 50000,
        "x = " + "not " * 50000 + "1",
        "if 1:\n" + "".join(" " * depth + "if 1:\n" for depth in range(1, 99)) + " " * 99 + "pass",
        "lambda: " * 20000 + "1",
    ],
)
def test_hostile_nesting_in_source_is_refused_or_runs(source: str) -> None:
    """The parser, the transformer and the compiler all recurse; none may take the process down."""
    outcome = alone("python", source)
    assert outcome.startswith(("error: ", "ok: ")), outcome


def test_an_endless_loop_is_stopped_by_the_limit_outside() -> None:
    """No signal handler is trusted; the CPU limit of the process ends it."""
    assert alone("python", "while True:\n    try:\n        1 / 0\n    except:\n        pass").startswith("ended: -")
