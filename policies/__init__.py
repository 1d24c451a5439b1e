"""What a session may do, as pure functions of documents: tiers, policy files, the host's ceiling, and ``decide``.

Deny wins; no rule means deny. A verdict depends on nothing but its arguments, so that it can be explained and repeated.
"""
