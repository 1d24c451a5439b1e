"""Wall ``mdwe``: memory-deny-write-execute; memory that was writable never becomes code, and none is both.

An extra: kernels before 6.3 have none, and seccomp refuses code to ``mmap`` and ``mprotect`` anyway.
Source: PR_SET_MDWE(2const).
"""

from __future__ import annotations

import kernel


def calls() -> list[kernel.Call]:
    """Return the call that refuses executable memory from then on; EINVAL if the kernel does not know it."""
    return [
        kernel.ready("prctl", kernel.PR_SET_MDWE, kernel.PR_MDWE_REFUSE_EXEC_GAIN, what="memory-deny-write-execute")
    ]
