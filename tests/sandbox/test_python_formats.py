# ruff: noqa: E501 - one expression on one line reads best
"""``json``, ``csv``, ``base64``, ``hashlib`` and ``textwrap`` as scripts have them."""

from __future__ import annotations

from typing import Any

import pytest
from languages import alone, plainly, python

SAME = [
    "json.dumps({'a': [1, 2.5, None, True, 'é'], 'b': (1,)})",
    "json.dumps({1: 2, None: 3, True: 4, 1.5: 5})",
    "json.dumps({'b': 1, 'a': {'c': 2}}, sort_keys=True, indent=2)",
    "json.dumps([1], indent='\\t') + json.dumps([1, {'a': 2}], separators=(',', ':'))",
    "json.dumps('é', ensure_ascii=False)",
    "json.dumps({'x': {1}}, default=lambda x: sorted(x))",
    "json.dumps(Counter('a')) + json.dumps(OrderedDict(a=1))",
    "json.dumps(10 ** 30)",
    'json.loads(\'{"a": [1, 2.5, null, true, "x"]}\')',
    "json.loads(b'[1]')",
    "[base64.b64encode(b'\\xff\\xfe'), base64.b64decode('//4='), base64.urlsafe_b64encode(b'\\xff\\xfe')]",
    "[base64.b32encode(b'ab'), base64.b32decode(b'MFRA===='), base64.b16encode(b'ab'), base64.b85decode(base64.b85encode(b'x'))]",
    "[base64.a85decode(base64.a85encode(b'abc')), base64.b64decode(b'YQ==', validate=True), base64.b64encode(b'a?b>', b'-_')]",
    "hashlib.sha256(b'abc').hexdigest() + hashlib.md5(b'abc', usedforsecurity=False).hexdigest()",
    "[hashlib.sha1(b'abc').digest(), hashlib.sha224(b'').hexdigest(), hashlib.sha384(b'').hexdigest()]",
    "[hashlib.new('sha512', b'a').hexdigest(), hashlib.sha256().digest_size, hashlib.sha512().block_size, hashlib.md5().name]",
    "textwrap.wrap('the quick brown fox', width=10)",
    "textwrap.fill('the quick brown fox', 10, initial_indent='* ', subsequent_indent='  ')",
    "textwrap.dedent('  a\\n    b\\n') + textwrap.indent('a\\n\\nb', '> ')",
    "textwrap.indent('a\\nb', '+', lambda line: 'a' in line)",
    "textwrap.shorten('the quick brown fox', width=12, placeholder='...')",
    'list(csv.reader([\'a,b\', \'"x, y","say ""hi"""\']))',
    "list(csv.reader(['a;b', \"'c;d';e\"], delimiter=';', quotechar=\"'\"))",
    "list(csv.reader(['1,\"x\"'], quoting=csv.QUOTE_NONNUMERIC))",
    "[dict(x) for x in csv.DictReader(['a,b', '1,2', '3', '4,5,6'])]",
    "[dict(x) for x in csv.DictReader(['1,2'], fieldnames=['x', 'y'])]",
    "[dict(x) for x in csv.DictReader(['a', '1,2'], restkey='more', restval='-')]",
]


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("expression", SAME)
def test_it_gives_what_the_library_gives(expression: str) -> None:
    """Authors know it by heart."""
    head = "import base64, csv, hashlib, json, textwrap\nfrom collections import Counter, OrderedDict\n"
    expected = _lists(plainly(f"{head}result = {expression}"))
    if expression.startswith("[dict(x)"):  # the key of surplus values is None by default, which cannot cross
        expected = [{str(key): item for key, item in row.items()} for row in expected]
        expression = f"[{{str(k): v for k, v in x.items()}} for x in {expression}]"
    assert python(f"{head}result = {expression}").value == expected


HASH = """
import hashlib
h = hashlib.sha256()
h.update(b'a')
c = h.copy()
c.update(b'b')
result = [h.hexdigest() == hashlib.sha256(b'a').hexdigest(), c.hexdigest() == hashlib.sha256(b'ab').hexdigest(), str(h)]
"""


def test_hashes_go_on_apart() -> None:
    """A copy is another one."""
    assert python(HASH).value == [True, True, "<Hash>"]


CSV = """
import csv
text = csv.write_rows([["a", None, 1.5], ["x, y", 'say "hi"', True], (len, [1], "é")])
again = csv.reader(text)
dicts = csv.write_dicts([{"k": 1, "v": "x"}, {"k": 2}], ["k", "v"], delimiter=";")
result = [text, again, dicts, csv.DictReader(dicts, delimiter=";"), csv.reader('a,"b\\nc"\\r\\nd\\u2028e,f')]
"""


def test_rows_become_text_and_come_back() -> None:
    """There are no files to write to; the text is what a file would hold."""
    assert python(CSV).value == [
        'a,,1.5\r\n"x, y","say ""hi""",True\r\n<builtin_function_or_method>,[1],é\r\n',
        [["a", "", "1.5"], ["x, y", 'say "hi"', "True"], ["<builtin_function_or_method>", "[1]", "é"]],
        "k;v\r\n1;x\r\n2;\r\n",
        [{"k": "1", "v": "x"}, {"k": "2", "v": ""}],
        [["a", "b\nc"], ["d\u2028e", "f"]],
    ]


def test_the_calls_of_the_json_family_stay() -> None:
    """``json.encode`` is there without an import; an import of the module must not take it away."""
    source = (
        "import json\nvalue = json.decode(json.encode({'a': [1]}))\n"
        "try:\n    json.decode('{')\nexcept HostError as e:\n    result = [value, e.code]"
    )
    ran = python(source)
    assert ran.value == [{"a": [1]}, "invalid_argument"]
    assert ran.channel.calls == []
    assert python("from json import decode\nresult = decode(text='[1]')").value == [1]
    assert python("import json\njson.encode(len)").result.error_code == "invalid_argument"


def test_a_json_error_tells_where() -> None:
    """Line and column, as the library."""
    source = "import json\ntry:\n    json.loads('{\\n  x')\nexcept json.JSONDecodeError as e:\n    result = [e.lineno, e.colno, e.msg]"
    assert python(source).value == [2, 3, "Expecting property name enclosed in double quotes"]
    assert "ValueError" not in python("import json\ntry:\n    json.loads('x')\nexcept ValueError:\n    1 / 0").error


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("json.loads('NaN')", "NaN is not JSON"),
        ("json.loads('[Infinity]')", "Infinity is not JSON"),
        ("json.loads('[' * 100000)", "nested too deeply"),
        ("json.loads('{\"a\":' * 100000)", "nested too deeply"),
        ("json.loads('1' * 5000)", "a number that cannot be held"),
        ("json.loads(5)", "must be str, not int"),
        ("json.loads(b'\\xff')", "UnicodeDecodeError"),
        ("json.loads('1', object_hook=print)", "object_hook"),
        ("json.loads('1', cls=dict)", "cls"),
        ("json.dumps(float('nan'))", "not finite"),
        ("json.dumps({float('inf'): 1})", "not finite"),
        ("json.dumps({1})", "a value of type set is not JSON"),
        ("json.dumps({(1,): 2})", "a key of type tuple is not JSON"),
        ("json.dumps(len, default=lambda x: x)", "nested more than 64 deep"),
        ("json.dumps(len, default=lambda x: [x] * 2)", "nested more than 64 deep"),
        ("json.dumps(datetime.now())", "a value of type datetime is not JSON"),
        ("json.dumps(10 ** 5000)", "Exceeds the limit"),
        ("json.dumps(list(range(600000)))", "more than 500000 elements"),
        ("json.dumps('x' * 9000000)", "larger than"),
        ("json.dumps([1], indent=10 ** 9)", "indent must be from"),
        ("json.dumps([1], indent='x' * 17)", "at most 16"),
        ("json.dumps([1], separators=(1, 2))", "a separator must be str"),
        ("json.dumps([1], cls=dict)", "cls"),
        ("json.codecs", "<module 'json'> has no attribute 'codecs'"),
        ("json.load", "has no attribute 'load'"),
        ("json.JSONEncoder", "has no attribute"),
        ("json.JSONDecodeError('a', 'b', 0).doc", "has no attribute"),
        ("hashlib.sha256('text')", "a str becomes bytes by encode()"),
        ("hashlib.new('shake_128')", "no hash of this name; there are md5, sha1"),
        ("hashlib.new(['sha256'])", "must be str"),
        ("hashlib.pbkdf2_hmac", "has no attribute"),
        ("hashlib.file_digest", "has no attribute"),
        ("hashlib.sha256().name.x", "has no attribute"),
        ("getattr(hashlib.sha256(), '_inner')", "has no attribute"),
        ("base64.b64decode('YQ=')", "Incorrect padding"),
        ("base64.b64encode('text')", "TypeError"),
        ("base64.b64encode(len)", "cannot be used here"),
        ("base64.b64encode(b'x', altchars=len)", "cannot be used here"),
        ("base64.main", "has no attribute"),
        ("base64.binascii", "has no attribute"),
        ("base64.encodebytes", "has no attribute"),
        ("textwrap.wrap('x' * 300000)", "more than 262144 characters"),
        ("textwrap.wrap('x', 0)", "width must be from"),
        ("textwrap.fill('a b', 10 ** 9)", "width must be from"),
        ("textwrap.fill('a\\tb', tabsize=10 ** 9)", "tabsize must be from"),
        ("textwrap.fill(len)", "cannot be used here"),
        ("textwrap.fill('x', nosuch=1)", "TypeError"),
        ("textwrap.fill('x', max_lines=1, placeholder='y' * 99)", "ValueError"),
        ("textwrap.indent('x', 'y' * 1001)", "too long"),
        ("textwrap.indent(5, 'y')", "must be str"),
        ("textwrap.TextWrapper", "has no attribute"),
        ("textwrap.re", "has no attribute"),
        ("csv.reader('a\\n\"b')", "Error: unexpected end of data"),
        ("csv.reader([1])", "a line must be str"),
        ("csv.reader('a', dialect='excel')", "csv has no option 'dialect'"),
        ("csv.reader('a', delimiter=len)", "cannot be a value of type"),
        ("csv.reader('a', delimiter='ab')", "TypeError"),
        ("csv.reader('x' * 200000)", "field larger than field limit"),
        ("csv.write_rows(['text'])", "a row must be a list"),
        ("csv.write_rows([5])", "TypeError"),
        ("csv.write_dicts([{'x': 1}], ['y'])", "a key that is not in fieldnames"),
        ("csv.write_dicts([5], ['y'])", "a row must be a dict"),
        ("csv.writer", "has no attribute"),
        ("csv.field_size_limit", "has no attribute"),
        ("csv.register_dialect", "has no attribute"),
    ],
)
def test_what_is_refused(expression: str, words: str) -> None:
    """Each with a reason; nothing reaches files, encoders of the script's own, or state."""
    head = "import base64, csv, hashlib, json, textwrap\nfrom datetime import datetime\n"
    assert words in python(f"{head}result = {expression}").error


def test_no_method_of_a_scripts_class_runs_inside() -> None:
    """A dict of its own could answer with anything."""
    source = (
        "import json\nclass D(dict):\n    def items(self):\n        print('ran')\n    def get(self, k):\n        print('ran')\n"
        "class S(str):\n    def encode(self):\n        print('ran')\n"
        "class L(list):\n    pass\n"
        "d = D()\nd.update({'a': 1})\nl = L()\nl.append(S('x'))\n"
        "result = json.dumps([d, l])"
    )
    ran = python(source)
    assert ran.value == '[{"a": 1}, ["x"]]'
    assert ran.channel.printed == b""


@pytest.mark.parametrize(
    "source",
    [
        "x = []\nfor i in range(100000):\n    x = [x]\njson.dumps(x)",
        "x = {}\nx['x'] = x\njson.dumps(x)",
        "json.dumps(1, default=json.dumps)",
        "def f(x):\n    return json.dumps(x, default=f)\njson.dumps(len, default=f)",
        "result = len(json.dumps(['x' * 1000000] * 8, ensure_ascii=True))",
        "hashlib.sha256(b'x' * 100000000)",
        "h = hashlib.md5()\nfor i in range(100):\n    h.update(b'x' * 1000000)\nresult = h.hexdigest()",
        "result = len(base64.b64encode(b'x' * 50000000))",
        "base64.b64encode(b'x' * 10 ** 10)",
        "result = len(textwrap.fill('x ' * 100000, 1))",
        "result = len(textwrap.wrap('-' * 200000, 1))",
        "result = len(textwrap.dedent(' \\t' * 100000 + 'x'))",
        "result = len(textwrap.indent('\\n'.join('x' * 100000), 'y' * 1000))",
        "result = len(csv.reader('a,' * 1000000))",
        "result = len(csv.reader(',\\n' * 500000))",
        "result = len(csv.write_rows([['x' * 1000] * 100] * 10000))",
        "result = len(csv.DictReader('a\\n' + ',' * 1000000)[0])",
        "def g():\n    csv.reader(g())\n    yield ''\ncsv.reader(g())",
    ],
)
def test_huge_and_deep_values_end(source: str) -> None:
    """As a value or an ordinary error, within the limits of a worker."""
    outcome = alone("python", f"import base64, csv, hashlib, json, textwrap\n{source}")
    assert outcome.startswith(("ok: ", "error: ")), outcome
