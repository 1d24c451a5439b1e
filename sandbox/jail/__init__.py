"""The walls around a worker: one file for each kernel mechanism, and one plan that orders them.

A wall is raised by one checked sequence of system calls and either stands or is reported as missing, with the reason.
Nothing here knows scripts, runs or calls. ``plan`` is pure and says what is raised when; ``builder`` does it.
"""
