"""The catalogue: every call that a script can make, declared on its implementation.

Implementations know a host and the state of a run, never who calls them; the gate is their only caller.
"""
