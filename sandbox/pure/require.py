"""``require``, as far as it is the same for both languages: its argument. Each runtime finds modules in its own way."""

from __future__ import annotations

from sandbox.pure.declared import Refused, pure, text


@pure("require", name=text)
def require(name: str) -> None:
    """Refuse: what a module is depends on the language, so each runtime carries this out itself."""
    raise Refused("name", f"modules are not available here, {name[:60]!r} neither", "unavailable")
