"""``collections`` as scripts have it."""

from __future__ import annotations

import pytest
from languages import alone, plainly, python

HEAD = "from collections import Counter, OrderedDict, defaultdict, deque, namedtuple\n"

SAME = [
    "dict(Counter('abca'))",
    "Counter('abca').most_common(1)",
    "Counter('abca').most_common()",
    "Counter('abca')['z']",
    "sorted(Counter('abca').elements())",
    "[Counter('ab') + Counter('bc') == Counter('abbc'), Counter('ab') - Counter('a') == Counter('b')]",
    "[Counter('ab') & Counter('bc') == Counter('b'), Counter('abc').total()]",
    "dict(Counter(a=1, b=2))",
    "list(deque([1, 2, 3], maxlen=2))",
    "[deque([1, 2]).pop(), deque([1, 2]).popleft(), deque([1], 5).maxlen, len(deque('abc')), 1 in deque([1])]",
    "[list(OrderedDict([(1, 2), (3, 4)]).items()), OrderedDict(a=1) == {'a': 1}]",
    "OrderedDict([(1, 2), (3, 4)]) == OrderedDict([(3, 4), (1, 2)])",
    "OrderedDict([(1, 2), (3, 4)]) != OrderedDict([(3, 4), (1, 2)])",
    "list(OrderedDict(a=1) | {'b': 2})",
    "list({'b': 2} | OrderedDict(a=1))",
    "list(reversed(OrderedDict(a=1, b=2)))",
    "list(OrderedDict.fromkeys('ab', 0).items())",
    "OrderedDict([(1, 2), (3, 4)]).popitem(last=False)",
    "OrderedDict([(1, 2), (3, 4)]).popitem()",
    "dict(defaultdict(int, a=1))",
    "[defaultdict(int).copy()['x'], dict(defaultdict(int, a=1) | {'b': 2}), ({'b': 2} | defaultdict(int))['c']]",
    "namedtuple('P', 'x y')(1, y=2).y",
    "namedtuple('P', ['x', 'y'], defaults=[5])(1)[1]",
    "namedtuple('P', 'x, y')(1, 2) == (1, 2)",
    "namedtuple('P', 'count index')(1, 2).count",
    "isinstance(namedtuple('P', 'x')(1), tuple)",
    "[len(namedtuple('P', '')()), sorted([namedtuple('P', 'x')(2), namedtuple('P', 'x')(1)])[0].x]",
]


def _lists(value: object) -> object:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("expression", SAME)
def test_it_gives_what_the_library_gives(expression: str) -> None:
    """Authors know it by heart."""
    source = f"{HEAD}result = {expression}"
    assert python(source).value == _lists(plainly(source))


def test_all_of_them_can_be_changed() -> None:
    """By item assignment, in-place operators and their methods."""
    source = HEAD + (
        "c = Counter()\nc['a'] += 2\nc['b'] = 1\ndel c['b']\nc.update('aa')\nc.subtract('a')\nc += Counter('x')\n"
        "d = defaultdict(list)\nd['k'].append(1)\nd['n'] += [2]\n"
        "o = OrderedDict()\no['x'] = 1\no['y'] = 2\no.move_to_end('x')\no['y'] *= 5\no.move_to_end('x', last=False)\n"
        "q = deque([1, 2], 3)\nq[0] = 9\nq += [3, 4]\nq.appendleft(0)\nq.rotate(1)\n"
        "result = [c, d, o, q]"
    )
    assert python(source).value == [{"a": 3, "x": 1}, {"k": [1], "n": [2]}, {"x": 1, "y": 10}, [3, 0, 2]]


def test_a_default_factory_may_be_any_function() -> None:
    """Of the script or of ours."""
    source = HEAD + "d = defaultdict(lambda: [1])\ne = defaultdict(str)\nresult = [d['x'], e['x'], d.default_factory()]"
    assert python(source).value == [[1], "", [1]]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("Counter('aab')", "Counter({'a': 2, 'b': 1})"),
        ("Counter()", "Counter()"),
        ("OrderedDict(a=[1])", "OrderedDict({'a': [1]})"),
        ("defaultdict(int, a=1)", "defaultdict(<class 'int'>, {'a': 1})"),
        ("defaultdict(lambda: 0)", "defaultdict(<function>, {})"),
        ("deque([1, len], maxlen=3)", "deque([1, <builtin_function_or_method>], maxlen=3)"),
        ("namedtuple('P', 'x y')(1, len)", "P(x=1, y=<builtin_function_or_method>)"),
        ("namedtuple('P', 'x')", "<class 'P'>"),
    ],
)
def test_their_texts_show_no_address(expression: str, text: str) -> None:
    """Whatever they hold."""
    ran = python(f"{HEAD}v = {expression}\nresult = [str(v), repr(v), f'{{v}}', '%s' % (v,), format(v)]")
    assert ran.value == [text] * 5


@pytest.mark.parametrize(
    ("source", "words"),
    [
        # attributes
        ("c = Counter()\nc.x = 1", "no attribute 'x'"),
        ("c = Counter()\nc.most_common = len", "no attribute 'most_common'"),
        ("c = Counter()\ndel c.items", "no attribute 'items'"),
        ("o = OrderedDict()\no.items = 5", "no attribute 'items'"),
        ("d = defaultdict(int)\nd.default_factory = len", "no attribute 'default_factory'"),
        ("q = deque()\nq.maxlen = 1", "no attribute 'maxlen'"),
        ("Counter.x = 1", "cannot be changed"),
        ("namedtuple('P', 'x').x = 1", "cannot be changed"),
        ("namedtuple('P', 'x')(1).x = 1", "cannot be changed"),
        ("namedtuple('P', 'x')(1)[0] = 1", "cannot be changed"),
        ("p = namedtuple('P', 'x')(1)\np += (1,)", "not available"),
        ("defaultdict(5)", "must be callable"),
        ("defaultdict()['x']", "KeyError: 'x'"),
        ("Counter.fromkeys", "has no attribute"),
        ("getattr(Counter(), '__dict__')", "has no attribute"),
        ("getattr(Counter, '__init__')", "has no attribute"),
        ("getattr(deque(), '__reduce__')", "has no attribute"),
        ("getattr(defaultdict(int), '__missing__')", "has no attribute"),
        ("getattr(namedtuple('P', 'x'), '_fields')", "has no attribute"),
        ("getattr(namedtuple('P', 'x')(1), '__class__')", "has no attribute"),
        ("namedtuple('P', 'x').x", "has no attribute"),
        ("namedtuple('P', 'x').mro", "has no attribute"),
        ("namedtuple('P', 'x')(1).y", "has no attribute"),
        ("Counter().elements.x", "has no attribute"),
        ("Counter[int]", "a class has no items"),
        # no bases
        ("class A(Counter):\n    pass", "cannot be a base class"),
        ("class A(OrderedDict):\n    pass", "cannot be a base class"),
        ("class A(defaultdict):\n    pass", "cannot be a base class"),
        ("class A(deque):\n    pass", "cannot be a base class"),
        ("class A(namedtuple('P', 'x')):\n    pass", "cannot be a base class"),
        # hostile names
        ("namedtuple('P', 'x __class__')", "must be identifiers"),
        ("namedtuple('P', ['x', '_y'])", "must be identifiers"),
        ("namedtuple('P', ['__init_subclass__'])", "must be identifiers"),
        ("namedtuple('P', ['x=print(1)'])", "must be identifiers"),
        ("namedtuple('P', ['class'])", "must be identifiers"),
        ("namedtuple('P\\nimport os', 'x')", "must be identifiers"),
        ("namedtuple('_P', 'x')", "must be identifiers"),
        ("namedtuple('P', ['x', 'x'])", "a name of its own"),
        ("namedtuple('P', [f'f{i}' for i in range(1000)])", "at most 100 fields"),
        ("namedtuple('x' * 10 ** 6, 'x')", "must be identifiers"),
        ("class S(str):\n    pass\nnamedtuple('P', [S('x')])", "must be str"),
        ("namedtuple('P', 'x', module='os')", "module"),
        ("namedtuple('P', 'x', defaults=[1, 2])", "more defaults than fields"),
        ("namedtuple('P', 'x')(1, 2)", "takes 1 values"),
        ("namedtuple('P', 'x')()", "needs x"),
        ("namedtuple('P', 'x')(1, x=1)", "'x' twice"),
        ("namedtuple('P', 'x')(z=1)", "cannot take 'z'"),
        ("Counter({'a': 10 ** 9}).elements()", "the number of elements must be"),
        ("OrderedDict().popitem()", "KeyError"),
        ("OrderedDict().move_to_end(1)", "KeyError"),
        ("deque([1], maxlen=-1)", "ValueError"),
    ],
)
def test_it_ends_with_an_ordinary_error(source: str, words: str) -> None:
    """Nothing leads to a class, a function's globals, or code made of text."""
    assert words in python(HEAD + source).error


@pytest.mark.parametrize(
    "source",
    [
        "q = deque()\nfor i in range(100000):\n    q = deque([q])\nresult = 1",
        "q = deque()\nq.append(q)\nresult = str(q)",
        "q = deque()\nq.append(q)\nresult = q == deque([q])",
        "d = defaultdict(int)\nfor i in range(100000):\n    d = defaultdict(int, x=d)\nresult = len(str(d))",
        "o = OrderedDict()\nfor i in range(100000):\n    o = OrderedDict(x=o)\nresult = o == OrderedDict(x=o)",
        "P = namedtuple('P', 'x')\np = 1\nfor i in range(100000):\n    p = P(p)\nresult = str(p)",
        "P = namedtuple('P', 'x')\np = 1\nfor i in range(100000):\n    p = P(p)\nresult = p == P(p)",
        "d = defaultdict(lambda: d['y'])\nd['x']",
        "class E:\n    def __eq__(self, o):\n        o_.clear()\n        return True\n"
        "o_ = OrderedDict([(1, E()), (2, E())])\nresult = o_ == OrderedDict([(1, E()), (2, E())])",
        "class E:\n    def __eq__(self, o):\n        q.clear()\n        return False\n"
        "q = deque([E(), E(), E()])\nresult = [1 in q, q.count(1)]",
        "class E:\n    def __lt__(self, o):\n        c.clear()\n        return True\n"
        "c = Counter()\nfor i in range(9):\n    c[i] = E()\nresult = len(c.most_common())",
        "q = deque(range(10 ** 9))",
        "def g():\n    q.append(1)\n    yield 1\n    q.clear()\n    yield 2\n"
        "q = deque()\nq.extend(g())\nresult = list(q)",
        "result = len(deque([1]) * 10 ** 12)",
    ],
)
def test_hostile_values_are_contained(source: str) -> None:
    """Deep ones, ones that hold themselves and ones that change while they are compared: no crash, no hang."""
    outcome = alone("python", HEAD + source)
    assert outcome.startswith(("ok: ", "error: ")), outcome


def test_they_cross_as_what_they_are() -> None:
    """As results and as arguments of calls; what they hold must be plain."""
    source = HEAD + (
        "P = namedtuple('P', 'x y')\nfs.list(P(1, 2), limit=deque([1]))\n"
        "result = {'c': Counter('aa'), 'p': [P(1, Counter('b'))], 'o': OrderedDict(a=deque([1]))}"
    )
    ran = python(source, {"fs.list": None})
    assert ran.value == {"c": {"a": 2}, "p": [[1, {"b": 1}]], "o": {"a": [1]}}
    assert ran.channel.calls == [("fs.list", [[1, 2]], {"limit": [1]})]
    assert "holds a function" in python(HEAD + "result = Counter({'a': lambda: 1})").error
    assert "key of type int" in python(HEAD + "result = Counter([1])").error
    assert "nested more than" in python(HEAD + "q = deque()\nq.append(q)\nresult = q").error
    assert "more than 25000 elements" in python(HEAD + "result = deque(range(30000))").error
