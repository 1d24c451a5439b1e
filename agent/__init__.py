"""The daemon on a host: link, spool, scheduler, sessions. It loads nothing of the server and little else."""
