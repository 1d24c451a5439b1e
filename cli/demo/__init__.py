"""A whole Outrider on loopback: server and agent as processes, people with keys, six checks published and scheduled.

Uses nothing that an operator could not: the programs' command lines, the HTTP API, and keys in files.
"""
