"""The whole of what a Python script can see: names and attributes. A test compares it with what is really there.

Everything is listed, nothing is derived, so that a new Python version adds nothing by itself. Left out on purpose:
``format`` and ``format_map`` of str (they walk attributes), everything with an underscore, and what leads from a value
to its type, its module or a frame. ``map``, ``filter``, ``zip``, ``enumerate`` and ``reversed`` give lists: deep nests
of their lazy forms crash the interpreter. What modules hold is listed here too, as ``import`` is checked by it.
"""

from __future__ import annotations

import _csv
import datetime
import ipaddress
import json
import re
from collections import Counter, deque
from types import GeneratorType

from sandbox.python_collections import DefaultDict, OrderedDict
from sandbox.python_formats import Hash
from sandbox.python_iteration import Chain
from sandbox.python_regex import Pattern


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: What can be imported, and all that each module holds.
MODULES: dict[str, frozenset[str]] = {
    name: _words(held)
    for name, held in {
        "base64": """a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode
            b64encode b85decode b85encode decode encode standard_b64decode standard_b64encode urlsafe_b64decode
            urlsafe_b64encode""",
        "collections": "Counter OrderedDict defaultdict deque namedtuple",
        "csv": """DictReader Error QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC decode encode reader
            write_dicts write_rows""",
        "datetime": "MAXYEAR MINYEAR UTC date datetime time timedelta timezone",
        "hashlib": "md5 new sha1 sha224 sha256 sha384 sha512",
        "ipaddress": """AddressValueError IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network
            NetmaskValueError collapse_addresses ip_address ip_interface ip_network summarize_address_range""",
        "itertools": """accumulate batched chain combinations combinations_with_replacement compress count cycle
            dropwhile filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee
            zip_longest""",
        "json": "JSONDecodeError decode dumps encode loads",
        "math": """acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp
            exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm
            ldexp lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt tan
            tanh tau trunc ulp""",
        "re": """A ASCII DOTALL I IGNORECASE M MULTILINE Match NOFLAG Pattern PatternError S VERBOSE X compile error
            escape findall finditer fullmatch match search split sub subn""",
        "statistics": """StatisticsError correlation covariance fmean geometric_mean harmonic_mean mean median
            median_high median_low mode multimode pstdev pvariance quantiles stdev variance""",
        "textwrap": "dedent fill indent shorten wrap",
    }.items()
}


_TEXT = """capitalize center count endswith expandtabs find index isalnum isalpha isascii isdigit islower isspace
    istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust
    rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill"""
_SET = "copy difference intersection isdisjoint issubset issuperset symmetric_difference union"
_DICT = "clear copy get items keys pop popitem setdefault update values"
_DATE = "ctime day isocalendar isoformat isoweekday month replace strftime toordinal weekday year"
_TIME = "dst fold hour isoformat microsecond minute replace second strftime tzinfo tzname utcoffset"
_ADDRESS = """compressed exploded is_global is_link_local is_loopback is_multicast is_private is_reserved is_unspecified
    max_prefixlen packed reverse_pointer version"""
_ADDRESS_6 = " ipv4_mapped is_site_local scope_id sixtofour teredo"
_INTERFACE = " hostmask ip netmask network with_hostmask with_netmask with_prefixlen"
_NETWORK = """address_exclude broadcast_address compare_networks compressed exploded hostmask hosts is_global
    is_link_local is_loopback is_multicast is_private is_reserved is_unspecified max_prefixlen netmask network_address
    num_addresses overlaps prefixlen reverse_pointer subnet_of subnets supernet supernet_of version with_hostmask
    with_netmask with_prefixlen"""
_INT = "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes"

#: Attributes that scripts reach on values of exactly these types, and on the types themselves.
ATTRIBUTES: dict[type, frozenset[str]] = {
    kind: _words(names)
    for kind, names in {
        str: _TEXT + " casefold encode isdecimal isidentifier isnumeric isprintable",
        bytes: _TEXT + " decode fromhex hex",
        int: _INT,
        bool: _INT,
        float: "as_integer_ratio conjugate fromhex hex imag is_integer real",
        complex: "conjugate imag real",
        list: "append clear copy count extend index insert pop remove reverse sort",
        tuple: "count index",
        dict: "clear copy fromkeys get items keys pop popitem setdefault update values",
        set: _SET
        + """ add clear difference_update discard intersection_update pop remove
            symmetric_difference_update update""",
        frozenset: _SET,
        range: "count index start step stop",
        slice: "indices start step stop",
        type({}.keys()): "isdisjoint",
        type({}.items()): "isdisjoint",
        GeneratorType: "close send throw",
        # what modules give
        Chain: "from_iterable",
        Counter: _DICT + " elements most_common subtract total",
        DefaultDict: _DICT + " default_factory",
        OrderedDict: _DICT + " move_to_end",
        deque: """append appendleft clear copy count extend extendleft index insert maxlen pop popleft remove reverse
            rotate""",
        datetime.date: _DATE,
        datetime.time: _TIME,
        datetime.datetime: _DATE + " " + _TIME + " astimezone date time timestamp timetz",
        datetime.timedelta: "days microseconds seconds total_seconds",
        datetime.timezone: "dst fromutc tzname utcoffset",
        Hash: "block_size copy digest digest_size hexdigest name update",
        ipaddress.IPv4Address: _ADDRESS,
        ipaddress.IPv6Address: _ADDRESS + _ADDRESS_6,
        ipaddress.IPv4Interface: _ADDRESS + _INTERFACE,
        ipaddress.IPv6Interface: _ADDRESS + _ADDRESS_6 + _INTERFACE,
        ipaddress.IPv4Network: _NETWORK,
        ipaddress.IPv6Network: _NETWORK + " is_site_local",
        re.Match: """end endpos expand group groupdict groups lastgroup lastindex pos span start string""",
        Pattern: "findall finditer flags fullmatch groupindex groups match pattern search split sub subn",
        json.JSONDecodeError: "args colno lineno msg pos value",
        re.error: "args colno lineno msg pattern pos value",
        _csv.Error: "args value",
    }.items()
}

#: Attributes on a type itself, where they are others than those of its values.
CLASS_ATTRIBUTES: dict[type, frozenset[str]] = {
    kind: _words(names)
    for kind, names in {
        Counter: "",
        DefaultDict: "",
        OrderedDict: "fromkeys",
        deque: "",
        datetime.date: "fromisocalendar fromisoformat fromordinal fromtimestamp max min resolution today",
        datetime.time: "fromisoformat max min resolution",
        datetime.datetime: """combine fromisocalendar fromisoformat fromordinal fromtimestamp max min now resolution
            strptime today""",
        datetime.timedelta: "max min resolution",
        datetime.timezone: "max min utc",
        Chain: "",
        Hash: "",
        ipaddress.IPv4Address: "",
        ipaddress.IPv6Address: "",
        ipaddress.IPv4Interface: "",
        ipaddress.IPv6Interface: "",
        ipaddress.IPv4Network: "",
        ipaddress.IPv6Network: "",
        re.Match: "",
        Pattern: "",
        json.JSONDecodeError: "",
        re.error: "",
        _csv.Error: "",
    }.items()
}

#: Attributes of exceptions; a HostError also has those of HOST_ERROR.
EXCEPTION = _words("args value")
HOST_ERROR = _words("code message parameter path target")

#: Builtins that are the interpreter's own.
STOCK = _words(
    """abs all any bin bool bytes callable chr complex dict divmod float frozenset hex int isinstance issubclass iter
    len list max min next oct ord pow range round set slice sorted sum tuple"""
)

#: Builtins that are ours, under the names that scripts know.
GUARDED = _words("enumerate filter format getattr hasattr hash map repr reversed str zip")

#: Exceptions that scripts can name. BaseException, SystemExit, KeyboardInterrupt and GeneratorExit are not among them;
#: a bare ``except`` still catches them, so the runtime never relies on one getting through.
EXCEPTIONS = _words(
    """ArithmeticError AssertionError AttributeError EOFError Exception FloatingPointError IndexError KeyError
    LookupError MemoryError NameError NotImplementedError OSError OverflowError RecursionError RuntimeError
    StopIteration TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError ValueError
    ZeroDivisionError"""
)

#: Constants that are names and not keywords.
CONSTANTS = _words("Ellipsis NotImplemented")

#: What the compiler's output needs, under names that no script can write. ``print`` is translated to ``_print_``.
HOOKS = _words(
    """__build_class__ __metaclass__ __name__ _apply_ _getattr_ _getitem_ _getiter_ _import_ _inplace_attribute_
    _inplace_item_ _inplacevar_ _iter_unpack_sequence_ _modulo_ _print_ _show_ _unpack_sequence_ _write_"""
)
