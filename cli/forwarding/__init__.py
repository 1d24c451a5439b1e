"""Forwards at the operator's end: what was asked for, SOCKS5, and the connections over one WebSocket to the server."""
