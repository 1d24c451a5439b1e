# ruff: noqa: E501 - as many values on a line as fit
"""Random steps with everything that modules give, on hostile values: nothing crashes, hangs or shows an address.

Each seed is a script of many steps; what a step gives goes back among the values, so that types meet that nobody thought
of together. A failure names its seed, and the same seed makes the same script again.
"""

from __future__ import annotations

import random

import pytest
from languages import alone

from sandbox import python_surface

STEPS = 400
VALUES = 60

BEGIN = """
import base64, collections, csv, datetime, hashlib, ipaddress, itertools, json, math, re, statistics, textwrap
P = collections.namedtuple('P', 'x y')
class D(dict):
    def __eq__(self, other):
        return True
    def items(self):
        return [1]
    def keys(self):
        return 5
class S(str):
    pass
class L(list):
    def __contains__(self, other):
        return 1
class O:
    def __lt__(self, other):
        v[0].clear()
        return True
    def __eq__(self, other):
        v[1].clear()
        return True
def generate():
    yield 1
    v[2].clear()
    yield v
def fail():
    raise ValueError('x')
v = []
v += [
    [1, 2], collections.deque([1, 2]), collections.Counter('ab'), collections.OrderedDict(a=1), P(1, 2), P, O(), D(), S('abc'),
    collections.defaultdict(list), L(), generate(), fail, generate, len, lambda *a: v, None, True, 0, -1, 3, 10 ** 6, 10 ** 30,
    1.5, float('nan'), '', 'abc', 'a+', '(a)', '%Y', '\\ud800', 'x' * 5000, b'', b'abc', (1, 2), {}, {1: 2}, set(), range(5),
    datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), datetime.time(1), datetime.timedelta(1), datetime.UTC,
    hashlib.md5(), ipaddress.ip_address('::1'), ipaddress.ip_address('1.1.1.1'), ipaddress.ip_network('10.0.0.0/29'),
    ipaddress.ip_interface('10.0.0.1/8'), itertools.count(), itertools.chain, re.compile('(a)(b)?'), re.match('(a)', 'a'),
    str, dict, fs, math, datetime.datetime, collections.Counter, ValueError('y'),
]
shown = []
def keep(made, place):
    told = str(made)[:2000]
    if '0x7' in told or '0x5' in told:
        shown.append(told)
    v[place] = made
"""

STEP = """
try:
    keep({step}, {place})
except Exception as error:
    keep(error, {place})
"""


def _script(seed: int) -> str:
    randomly = random.Random(seed)
    attributes = sorted({name for listed in python_surface.ATTRIBUTES.values() for name in listed})
    members = [f"{module}.{name}" for module, held in python_surface.MODULES.items() for name in sorted(held)]

    def value() -> str:
        return f"v[{randomly.randrange(VALUES)}]"

    def step() -> str:
        arguments = ", ".join(value() for _ in range(randomly.randrange(4)))
        kind = randomly.randrange(4)
        if kind < 2:
            return f"{randomly.choice(members)}({arguments})"
        if kind == 2:
            return f"getattr({value()}, {randomly.choice(attributes)!r}, len)({arguments})"
        sign = randomly.choice(["+", "-", "*", "//", "%", "|", "&", "<", "==", "in"])
        others = [f"{value()} {sign} {value()}", f"{value()}[{value()}]", f"list({value()})", f"sorted({value()})"]
        return randomly.choice([*others, f"f'{{{value()}:%H}}'", f"'%s' % ({value()},)", f"json.dumps({value()})"])

    steps = (STEP.format(step=step(), place=randomly.randrange(VALUES)) for _ in range(STEPS))
    return BEGIN + "".join(steps) + "\nresult = shown"


@pytest.mark.parametrize("seed", range(12))
def test_random_steps_are_contained(seed: int) -> None:
    """A result without an address, or an error that the script did not catch; no signal but that of the CPU limit."""
    outcome = alone("python", _script(seed))
    assert outcome == "ok: []" or outcome.startswith(("error: ", "ended: -9")), (seed, outcome)
