"""`outrider`, the operator's command line: a client of the server's HTTP API, plus local runs in the real sandbox.

Never imports the agent or the server; the demo starts them as processes, as an init system would.
"""
