"""A host of its own for a test: trees in place of /proc and the others, and tools that say what the test wants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stdlib.host import Host

ROOTS = ("proc", "sys", "etc", "lib", "var", "run", "dev")


@dataclass(frozen=True)
class Made:
    """One made host. Nothing of the real one is seen through it, and nothing is done to that."""

    place: Path
    host: Host

    def put(self, path: str, content: str | bytes = "") -> Path:
        """Write a file such as ``etc/passwd``."""
        target = self.place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
        return target

    def folder(self, path: str) -> Path:
        """Make a directory."""
        (self.place / path).mkdir(parents=True, exist_ok=True)
        return self.place / path

    def tool(self, name: str, output: str | bytes = "", *, code: int = 0, errors: str = "", script: str = "") -> None:
        """Make a tool that keeps the arguments of each of its uses, does what ``script`` says, and prints."""
        self.put(f"tools/{name}.out", output)
        self.put(f"tools/{name}.err", errors)
        path = self.put(
            f"tools/{name}",
            f'#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done >> "$0.args"; printf "\\n" >> "$0.args"\n'
            f'PLACE={self.place}\n{script}\ncat "$0.out"; cat "$0.err" >&2; exit {code}\n',
        )
        path.chmod(0o755)

    def uses(self, name: str) -> list[list[str]]:
        """Return the arguments of each use of a tool."""
        path = self.place / f"tools/{name}.args"
        if not path.exists():
            return []
        return [line.split("\0")[:-1] for line in path.read_text().split("\n")[:-1]]


def make(place: Path, clock: float = 1_700_000_000.0) -> Made:
    """Return a host in which there is nothing but the accounts root and mia."""
    bare = Host(tools=(str(place / "tools"),), environ={}, clock=lambda: clock)
    roots: dict[str, Any] = {name: str(place / name) for name in ROOTS}
    made = Made(place, replace(bare, **roots))
    for name in (*ROOTS, "tools"):
        made.folder(name)
    made.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nmia:x:1001:1001:Mia M,,,:/home/mia:/bin/sh\n")
    made.put("etc/group", "root:x:0:\nadm:x:4:mia\nmia:x:1001:\n")
    return made
