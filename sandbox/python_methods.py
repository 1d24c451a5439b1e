"""Methods of library types that scripts get in a form of our own.

The library's are lazy, return a type of their own, take formats or years as they come, or import when they are called.
An import from a script's frame would look for ``__import__`` among the script's builtins, where there is none.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Callable
from types import MethodType
from typing import Any

from sandbox import python_collections, python_dates, python_regex

#: Type and name -> a function of the value and the arguments; for values of exactly this type.
METHODS: dict[tuple[type, str], Callable[..., Any]] = {
    (Counter, "elements"): python_collections.elements,
    (Counter, "most_common"): python_collections.most_common,
    (datetime.date, "ctime"): python_dates.ctime,
    (datetime.date, "isocalendar"): python_dates.isocalendar,
    (datetime.date, "strftime"): python_dates.strftime,
    (datetime.datetime, "ctime"): python_dates.ctime,
    (datetime.datetime, "isocalendar"): python_dates.isocalendar,
    (datetime.datetime, "strftime"): python_dates.strftime,
    (datetime.time, "strftime"): python_dates.strftime,
    (re.Match, "expand"): python_regex.expand,
}

#: Type and name -> a function of the arguments; for the type itself.
CLASS_METHODS: dict[tuple[type, str], Callable[..., Any]] = {
    (datetime.date, "today"): python_dates.today,
    (datetime.datetime, "strptime"): python_dates.strptime,
    (datetime.datetime, "today"): python_dates.now_local,
}


def own(target: Any, name: str) -> Any:
    """Return our attribute ``name`` of ``target``, or None if the library's is the one to take."""
    if isinstance(target, type):
        return CLASS_METHODS.get((target, name))
    method = METHODS.get((type(target), name))
    return None if method is None else MethodType(method, target)
