"""The whole of what a Python script can see: names and attributes. A test compares it with what is really there.

Everything is listed, nothing is derived, so that a new Python version adds nothing by itself. Left out on purpose:
``format`` and ``format_map`` of str (they walk attributes), everything with an underscore, and what leads from a value
to its type, its module or a frame. ``map``, ``filter``, ``zip``, ``enumerate`` and ``reversed`` give lists: deep nests
of their lazy forms crash the interpreter.
"""

from __future__ import annotations

from types import GeneratorType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEXT = """capitalize center count endswith expandtabs find index isalnum isalpha isascii isdigit islower isspace
    istitle isupper join ljust lower lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust
    rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill"""
_SET = "copy difference intersection isdisjoint issubset issuperset symmetric_difference union"
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
    }.items()
}

#: Attributes of exceptions; a HostError also has those of HOST_ERROR.
EXCEPTION = _words("args value")
HOST_ERROR = _words("code message")

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
    """__build_class__ __metaclass__ __name__ _apply_ _getattr_ _getitem_ _getiter_ _inplace_attribute_ _inplace_item_
    _inplacevar_ _iter_unpack_sequence_ _modulo_ _print_ _show_ _unpack_sequence_ _write_"""
)
