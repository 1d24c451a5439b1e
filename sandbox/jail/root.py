"""Wall ``mount_ns``: the root is an empty, read-only filesystem, and nothing else is mounted.

The own mount namespace has been entered before. After this, nothing can be opened by name any more, so whatever is
needed must be imported and open.
"""

from __future__ import annotations

import os
from typing import Final

import kernel

_PLACES: Final = ("/tmp", "/run", "/var", "/proc")  # noqa: S108 - any directory serves as the place; nothing is created in it
_FLAGS: Final = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


def empty() -> None:
    """Replace the root of this mount namespace.

    Raises:
        OSError: The kernel refuses; the old root may still be there.
    """
    kernel.mount(None, b"/", kernel.MS_REC | kernel.MS_PRIVATE)  # nothing that follows may spread to the host
    place = next(name for name in _PLACES if os.path.isdir(name)).encode()
    kernel.mount(b"tmpfs", place, _FLAGS, b"size=4k,nr_inodes=1,mode=555")
    os.chdir(place)
    kernel.pivot_root(b".", b".")  # pivot_root(2): old and new root are stacked, and the old one is on top
    kernel.detach(b".")
    os.chdir("/")
    kernel.mount(None, b"/", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _FLAGS)
    if os.listdir("/"):
        raise OSError("the new root is not empty")
