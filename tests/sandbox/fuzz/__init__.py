"""Hostile workers: streams of bytes that a worker could send, and what must hold whatever it sends."""
