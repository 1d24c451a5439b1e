"""How many descriptors the agent may have: as many as all that it serves at once may hold together.

What one run or session holds is bounded by its own limits. The sum of them is more than the 1,024 that a shell or an
init gives to what it starts, and an agent that has none left begins no run for anybody.
"""

from __future__ import annotations

import resource

from agent.limits import MAX_DESCRIPTORS


def allow_many() -> int:
    """Raise this process's own limit as far as it may, up to MAX_DESCRIPTORS; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft
