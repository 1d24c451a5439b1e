"""Calls that the worker carries out itself: plain data in, plain data out. Declared here, done in ``sandbox.pure``."""

from __future__ import annotations

from stdlib.catalogue import local


@local("param", lua='local device = param("device")', python='device = param("device")')
def param(name: str) -> None:
    """Return the run's parameter ``name``, or nothing if it was not given."""


@local("json.encode", lua="local text = json.encode({free = 12})", python='text = json.encode({"free": 12})')
def encode(value: object) -> None:
    """Return ``value`` as JSON text, keys sorted."""


@local("json.decode", lua="local value = json.decode('{\"free\": 12}')", python="value = json.decode('{\"free\": 12}')")
def decode(text: str) -> None:
    """Return the value that JSON ``text`` stands for; an ``invalid_argument`` error if it is none."""
