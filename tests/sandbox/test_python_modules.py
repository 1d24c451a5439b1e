# ruff: noqa: E501 - one script on one line reads best
"""What ``import`` gives to a Python script, how it is refused, and that all of it works behind the real lock."""

from __future__ import annotations

import gc
import re
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path

import arena
import pytest
from languages import python

from sandbox import python_modules, python_surface
from sandbox.launch import Sandbox
from sandbox.python_proxies import Module


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("import math\nresult = math.sqrt(4)", 2.0),
        ("import math as m, re\nresult = [m.floor(1.5), re.escape('.')]", [1, "\\."]),
        ("from math import pi as p, floor\nresult = floor(p)", 3),
        ("from datetime import datetime, timedelta\nresult = str(datetime(2024, 1, 1) + timedelta(1))", "2024-01-02 00:00:00"),
        ("def f():\n    import math\n    return math.ceil(1.5)\nresult = f()", 2),
        ("def f():\n    global re\n    import re\nf()\nresult = bool(re.match('a', 'a'))", True),
        ("class A:\n    import math\n    from re import escape as e\nresult = [A.math.floor(1.5), A.e('.')]", [1, "\\."]),
        ("for i in range(2):\n    import math\nresult = math.floor(i)", 1),
        ("if True:\n    import math\nelse:\n    import re\nresult = math.trunc(1.5)", 1),
        ("try:\n    import math\nfinally:\n    result = math.trunc(1.5)", 1),
        ("import math\nmath = 5\nresult = math", 5),
        ("import math\nresult = str(math) + repr([math])", "<module 'math'>[<module 'math'>]"),
        ("import math\nresult = [hasattr(math, 'pi'), hasattr(math, 'nosuch'), getattr(math, 'x', 7)]", [True, False, 7]),
        ("import math, math as m\nresult = math is m", True),
        ("import ipaddress as i\nresult = [str(i.ip_address('10.0.0.1') + 1), i.ip_address('::1').is_loopback]", ["10.0.0.2", True]),
        ("import ipaddress as i\nn = i.ip_network('10.0.0.0/30')\nresult = [str(a) for a in n.hosts()]", ["10.0.0.1", "10.0.0.2"]),
        ("import ipaddress as i\nn = i.ip_network('10.0.0.0/8')\nresult = [i.ip_address('10.1.1.1') in n, n.num_addresses, str(n[5])]", [True, 2**24, "10.0.0.5"]),
        ("import ipaddress as i\nx = i.ip_interface('10.0.0.1/24')\nresult = [str(x.ip), str(x.network), f'{x}', str(x.netmask)]", ["10.0.0.1", "10.0.0.0/24", "10.0.0.1/24", "255.255.255.0"]),
        ("import ipaddress as i\nresult = [str(x) for x in i.collapse_addresses([i.ip_network('10.0.0.0/9'), i.ip_network('10.128.0.0/9')])]", ["10.0.0.0/8"]),
        ("import ipaddress as i\nresult = [str(x) for x in i.summarize_address_range(i.ip_address('10.0.0.0'), i.ip_address('10.0.0.2'))]", ["10.0.0.0/31", "10.0.0.2/32"]),
        ("import ipaddress as i\nresult = [str(x) for x in i.ip_network('10.0.0.0/30').subnets(new_prefix=31)]", ["10.0.0.0/31", "10.0.0.2/31"]),
        ("import ipaddress as i\ntry:\n    i.ip_address('x')\nexcept ValueError as e:\n    result = str(e)", "'x' does not appear to be an IPv4 or IPv6 address"),
        ("import ipaddress as i\nx = i.ip_address(1)\nx += 2\nresult = [str(x), x.packed, repr(x)]", ["0.0.0.3", b"\x00\x00\x00\x03", "IPv4Address('0.0.0.3')"]),
    ],
)  # fmt: skip
def test_imports_work_as_their_authors_expect(source: str, value: object) -> None:
    """With other names, in functions and classes, over and over."""
    assert python(source).value == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os", "import is not available for os; what can be imported: base64, collections"),
        ("import sys", "import is not available for sys"),
        ("import math, os", "import is not available for os"),
        ("import collections.abc", "import is not available for collections.abc"),
        ("import collections.abc as c", "import is not available for collections.abc"),
        ("from collections import abc", "import is not available for abc of collections; it has Counter, OrderedDict"),
        ("from collections.abc import Mapping", "import is not available for collections.abc"),
        ("from math import *", "import is not available for * of math"),
        ("from . import math", "import is not available for ."),
        ("from .math import pi", "import is not available for .math"),
        ("from .. import math", "import is not available for .."),
        ("from math import nosuch", "import is not available for nosuch of math"),
        ("from math import __spec__", "import is not available for __spec__ of math"),
        ("from math import __loader__ as x", "import is not available for __loader__ of math"),
        ("import __future__", "import is not available for __future__"),
        ("from __future__ import annotations", "import is not available for __future__"),
        ("import builtins", "import is not available for builtins"),
        ("import sandbox.python_modules", "import is not available for sandbox.python_modules"),
        ("import mａth.x", "import is not available for math.x"),
        ("import math as _getattr_", 'it starts with "_"'),
        ("from math import pow as _getattr_", 'it starts with "_"'),
        ("import re as _import_", 'it starts with "_"'),
        ("import math as printed", "reserved name"),
        ("import math as print", "reserved name"),
        ("import math as x__roles__", "__roles__"),
        ("__import__('math')", "__import__ is not available; what can be imported"),
        ("x = [__import__]", "__import__ is not available"),
        ("_import_('os')", 'it starts with "_"'),
        ("def _import_(x):\n    pass", 'it starts with "_"'),
        ("def f(_import_):\n    pass", 'it starts with "_"'),
        ("def f(__import__):\n    pass", "__import__"),
        ("__builtins__['__import__']", 'it starts with "_"'),
    ],
)
def test_other_imports_do_not_compile(source: str, words: str) -> None:
    """Told with the line and what there is, before anything runs."""
    result = python(f"print('started')\n{source}").result
    assert not result.ok
    assert result.error_where == "main.py:2", result
    assert words in (result.error_message or "")


@pytest.mark.parametrize("name", sorted(python_modules.MODULES))
def test_no_module_leads_anywhere(name: str) -> None:
    """The usual ways from a module to the interpreter, from each of them."""
    attributes = "sys os builtins __builtins__ __dict__ __loader__ __spec__ __class__ __init__ __subclasshook__ __doc__"
    source = f"import {name} as m\nresult = [hasattr(m, a) for a in '{attributes} modules _os _sys'.split()]"
    assert not any(python(source).value)
    for statement in ("m.x = 1", "del m.x", "m['x'] = 1", "m.x += 1"):
        assert "cannot be changed" in python(f"import {name} as m\n{statement}").error
    assert "cannot be a base class" in python(f"import {name} as m\nclass A(m):\n    pass").error
    assert "not callable" in python(f"import {name} as m\nm()").error
    assert "has no hash" in python(f"import {name} as m\nhash(m)").error
    assert f"the result holds a {name}" in python(f"import {name} as m\nresult = m").error


SEEN = """
import {module}
first = {module}.{name}
names = '''__globals__ __self__ __func__ __code__ __closure__ __defaults__ __dict__ __wrapped__ __class__ __module__
    __reduce__ __reduce_ex__ __init_subclass__ __subclasses__ __mro__ __bases__ __call__ __get__ __getattribute__ mro
    func_globals gi_frame cr_frame tb_frame f_globals f_builtins'''
result = [n for n in names.split() if hasattr(first, n)]
"""


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in python_surface.MODULES.items() for name in sorted(names)]
)
def test_no_member_leads_anywhere(module: str, name: str) -> None:
    """Each one that there is: functions show nothing at all, classes only what is listed."""
    assert python(SEEN.format(module=module, name=name)).value == []


VALUES = """
import base64, collections, csv, datetime, hashlib, ipaddress, itertools, json, re
P = collections.namedtuple('P', 'x')
values = [
    collections.Counter('a'), collections.OrderedDict(a=1), collections.defaultdict(int), collections.deque([1]), P(1), P,
    datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), datetime.time(1), datetime.timedelta(1), datetime.UTC,
    hashlib.md5(), ipaddress.ip_address('::1'), ipaddress.ip_network('10.0.0.0/8'), ipaddress.ip_interface('10.0.0.1/8'),
    itertools.count(), itertools.cycle('ab'), itertools.repeat(1), itertools.chain, re.compile('a'), re.match('a', 'a'),
    re.compile('a').search, re.match('a', 'a').expand, hashlib.md5().update, datetime.datetime.strptime,
    ipaddress.ip_network('10.0.0.0/8').hosts(), collections.OrderedDict().keys(),
]
"""


def test_no_value_leads_anywhere() -> None:
    """Values that modules give, by their exact types: no class, no frame, no state, no way to change them."""
    names = "__class__ __dict__ __reduce__ __init__ __new__ __getstate__ __setstate__ __doc__ mro gi_frame _ip _compiled _fields"
    source = f"{VALUES}\nresult = [[str(v), n] for v in values for n in '{names}'.split() if hasattr(v, n)]"
    assert python(source).value == []
    assert "0x" not in str(python(f"{VALUES}\nresult = str(values) + ''.join(str(v) for v in values)").value)


def test_nothing_that_a_value_holds_is_ours() -> None:
    """Everything that is listed is asked for: no module, no frame, no code and no class that is not listed comes out."""
    runtime_values: list[object] = []
    names = sorted({name for listed in python_surface.ATTRIBUTES.values() for name in listed})
    source = f"{VALUES}\nfor v in values:\n    for n in {names!r}:\n        if hasattr(v, n):\n            keep(getattr(v, n))"
    from languages import BINDINGS, MEMORY_BYTES, RecordingChannel

    from sandbox import python_runtime
    from sandbox.runtimes import RuntimeLimits

    runtime = python_runtime.create(BINDINGS, RecordingChannel(), RuntimeLimits(MEMORY_BYTES))
    runtime._namespace["__builtins__"]["keep"] = runtime_values.append
    assert runtime.execute("main.py", {"main.py": source.encode()}, {}).ok
    assert len(runtime_values) > 200
    forbidden = (types.ModuleType, types.FrameType, types.CodeType, type, types.TracebackType, types.MappingProxyType)
    found = [value for value in runtime_values if isinstance(value, forbidden)]
    assert found == [int], "the factory of the defaultdict is the script's own"


def test_one_run_leaves_nothing_for_the_next() -> None:
    """In one process, which no two runs ever share: what the first changes, the second does not see."""
    before = python(f"{VALUES}\nresult = str(values)").value
    python(
        f"{VALUES}\nfor v in values[:4]:\n    v.clear()\nvalues[11].update(b'x')\nnext(values[15])\n"
        "import json, csv\nfor i in range(500):\n    re.compile('x' + str(i))\nx = re.compile('a').groupindex\nx['y'] = 1"
    )
    assert python(f"{VALUES}\nresult = str(values) + str(re.compile('a').groupindex)").value == before + "{}"


def test_modules_are_made_once_and_are_no_modules() -> None:
    """All runs of a zygote share them, so they must hold nothing that can change."""
    for name, module in python_modules.MODULES.items():
        assert isinstance(module, Module)
        assert module is not sys.modules.get(name)
        assert not [held for held in gc.get_referents(module) if not isinstance(held, type)]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ipaddress.ip_address('10.0.0.1')._ip", "it starts with"),
        ("ipaddress.ip_address('10.0.0.1').compressed = 1", "cannot be changed"),
        ("ipaddress.ip_address('1' * 100000)", "ValueError"),
        ("ipaddress.ip_network('10.0.0.1/8')", "has host bits set"),
        ("ipaddress.IPv4Network('10.0.0.0/8').hosts().gi_frame", "gi_frame"),
        ("ipaddress.IPv4Address.mro()", "has no attribute"),
        ("ipaddress.collapse_addresses([1, 2])", "AttributeError"),
        ("ipaddress.functools", "has no attribute"),
        ("list(ipaddress.ip_network('::/0').subnets(prefixlen_diff=1000))", "ValueError"),
        ("class A(ipaddress.IPv4Address):\n    pass", "cannot be a base class"),
        ("ipaddress.ip_address(10 ** 100)", "does not appear"),
    ],
)
def test_addresses_are_only_that(source: str, words: str) -> None:
    """Pure Python classes, whose inner names stay out of reach."""
    assert words in python(f"import ipaddress\n{source}").error


def test_a_refused_address_shows_no_address_in_memory() -> None:
    """The library quotes what it was given."""
    assert "0x7" not in python("import ipaddress\nclass A:\n    pass\nipaddress.ip_address(A())").error
    source = "import ipaddress\nclass A:\n    pass\ntry:\n    ipaddress.IPv4Network(A())\nexcept ValueError as e:\n    result = str(e) + str(e.args)"
    assert "0x7" not in python(source).value


def test_the_page_for_authors_lists_what_there_is() -> None:
    """All of it and nothing else."""
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (`\w+`(?: `\w+`)*) \|$", page, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", held)) for name, held in rows} == python_surface.MODULES


# Behind the real lock


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    started = await Sandbox.start(bindings=arena.BINDINGS)
    yield started
    await started.close()


EVERYTHING = """
import base64, collections, csv, datetime, hashlib, ipaddress, itertools, json, math, re, statistics, textwrap
from datetime import UTC, date, time, timedelta, timezone

def main():
    now = datetime.datetime.now()
    d = datetime.datetime(2024, 2, 29, 13, 5, 6, 789, tzinfo=UTC)
    tried = [
        now.astimezone().strftime('%Z %z %c %x %X %p'), date.today().strftime('%A'), datetime.datetime.today().ctime(),
        datetime.datetime.fromtimestamp(0).isoformat(), date.fromtimestamp(0).isoformat(), d.astimezone().isoformat(),
        datetime.datetime.strptime('Thu Feb 29 13:05:06 2024 +0100', '%a %b %d %H:%M:%S %Y %z').isoformat(),
        f'{now:%Y-%m-%d %B}', f'{d.time():%H}', str(d.isocalendar()), now.timestamp(), repr(d), str(timedelta(1)),
        re.sub(r'(\\w)(?P<n>\\d)', r'\\2\\g<n>\\1', 'a1 b2'), re.search(r'\\N{DIGIT ONE}|é', 'é').expand('x'),
        re.findall('(?i)É', 'é'), [m.span() for m in re.finditer('[a-z]+', 'ab c')], re.split(',', 'a,b'),
        collections.Counter('abca').most_common(1), collections.Counter('ab').elements(), str(collections.Counter('a')),
        str(collections.namedtuple('P', 'x y')(1, 2)), str(collections.deque([1], 2)),
        csv.reader('a,b\\nc,d'), csv.write_rows([[1, 'x']]), csv.DictReader('a\\n1'),
        base64.b64encode(b'x'), base64.b32decode('ME======'), base64.b85encode(b'abc'), base64.a85encode(b'abc'),
        hashlib.sha256(b'x').hexdigest(), hashlib.md5(b'x' * 100000).hexdigest(), hashlib.sha1(b'x').hexdigest(),
        hashlib.sha512(b'x').hexdigest(), str(ipaddress.ip_network('10.0.0.0/8').supernet()),
        str(ipaddress.ip_address('::1').exploded), ipaddress.ip_address('10.0.0.1').reverse_pointer,
        [str(x) for x in ipaddress.ip_network('10.0.0.0/30').hosts()], ipaddress.ip_address('1.1.1.1').is_global,
        json.dumps({'a': [1.5, None]}, indent=2), json.loads('[1]'), json.dumps(d, default=str),
        itertools.islice(itertools.count(), 3), itertools.product('ab', repeat=2), itertools.groupby('aab'),
        math.factorial(20), math.comb(5, 2), statistics.stdev([1, 2, 3]), statistics.quantiles([1, 2, 3]),
        textwrap.fill('the quick brown fox', 10), textwrap.dedent(' a'), textwrap.shorten('a b c', 4, placeholder=''),
    ]
    failed = []
    for attempt in [
        lambda: json.loads('{'), lambda: re.compile('('), lambda: re.compile('(a+)+'), lambda: ipaddress.ip_address('x'),
        lambda: csv.reader('a\\n"'), lambda: base64.b64decode('YQ='), lambda: statistics.mean([]), lambda: d.strftime('%E'),
        lambda: datetime.datetime.strptime('x', '%Y'), lambda: math.factorial(10 ** 9), lambda: math.sqrt(-1),
        lambda: hashlib.new('x'), lambda: textwrap.wrap('x', 0), lambda: timezone(timedelta(2)), lambda: time(99),
        lambda: json.dumps(d), lambda: itertools.product(range(9999), repeat=2), lambda: collections.namedtuple('1', ''),
    ]:
        try:
            attempt()
        except Exception as error:
            failed.append(str(error))
    return [len(str(tried)) > 1000, len(failed)]
"""


async def test_everything_works_behind_the_lock(sandbox: Sandbox) -> None:
    """Thirteen system calls and no open: whatever a function imports or reads only when it is called would end the run."""
    outcome = await sandbox.run(arena.python(EVERYTHING), arena.gate(), arena.LIMITS)
    assert (outcome.status, outcome.result) == ("ok", [True, 18]), outcome


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.search('.*.*.*.*x', 'a' * 100000)",
        "import itertools\nwhile True:\n    itertools.product(range(900), repeat=2)",
        "import math\nwhile True:\n    math.factorial(100000)",
    ],
)
async def test_what_takes_too_long_is_killed_by_the_limit(sandbox: Sandbox, source: str) -> None:
    """No function of a module is trusted to end by itself."""
    limits = arena.Limits(wall_s=1.0, cpu_s=1.0)
    outcome = await sandbox.run(arena.python(source), arena.gate(limits=limits), limits)
    assert outcome.status == "killed", outcome


async def test_a_run_sees_nothing_of_the_one_before(sandbox: Sandbox) -> None:
    """Each is a process of its own."""
    first = "import collections, re\nc = collections.Counter('a')\nre.compile('x')\nresult = 1"
    assert (await sandbox.run(arena.python(first), arena.gate(), arena.LIMITS)).result == 1
    second = "result = [hasattr(x, 'c') for x in [str]]\ncollections"
    outcome = await sandbox.run(arena.python(second), arena.gate(), arena.LIMITS)
    assert "name 'collections' is not defined" in str(outcome.reason)
