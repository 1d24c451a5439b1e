"""Takes the zygote's objects out of reference counting, so that using one in a worker does not write to its page.

A reference count lies in the object, so looking at an object that a fork shares copies its page: half of all pages that
a worker copied were copied for nothing else. Since CPython 3.12 (PEP 683, made for servers that fork) an object with a
certain count is immortal: nobody counts it, and it is never freed. The interpreter gives that count to None and its
like only; here everything gets it that the zygote has made and its workers use.

What is immortal is never freed: that is meant for what lives as long as the process. Anything made later is counted.

Source:
    PEP 683; CPython 3.12 and 3.13, Include/object.h: ``_Py_IMMORTAL_REFCNT``, which is UINT_MAX where pointers have 64
    bits. Another layout (before 3.12, without the global lock, 32 bits, 3.14) is seen from None's own count, and then
    nothing is done.
"""

from __future__ import annotations

import gc
import sys
from ctypes import c_uint64
from typing import Any, Final

_WORD: Final = 0xFFFF_FFFF


def immortalise() -> int:
    """Make every object immortal that the garbage collector knows, and all that these hold; return how many.

    0 where this interpreter has no such thing; then nothing has changed. Only while there is one thread.
    """
    if not _can_be():
        return 0
    found: dict[int, Any] = {}
    todo: list[Any] = [*gc.get_objects(), *_static_types()]
    while todo:
        each = todo.pop()
        if id(each) in found:
            continue
        found[id(each)] = each
        todo.extend(gc.get_referents(each))
    own = {id(found), id(todo)}  # which end here, large as they are
    for address in found:
        if address not in own:
            c_uint64.from_address(address).value = _WORD
    return len(found)


def _can_be() -> bool:
    is_known = (3, 12) <= sys.version_info < (3, 14) and sys.implementation.name == "cpython"
    return is_known and c_uint64.from_address(id(None)).value == _WORD


def _static_types() -> list[Any]:
    """Return what hangs on the types that are part of the interpreter, which the collector does not look into."""
    todo, found = [object], {object}
    while todo:
        for each in type.__subclasses__(todo.pop()):
            if each not in found:
                found.add(each)
                todo.append(each)
    return [part for each in found for part in (each.__dict__, each.__mro__, each.__bases__)]
