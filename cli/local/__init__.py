"""Running and checking scripts on this machine in the real sandbox, without a server."""
