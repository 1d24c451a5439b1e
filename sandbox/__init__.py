"""The sandbox: one zygote, one confined worker for each run, and the gate that every call of a script passes.

The boundary is the worker's process, never the language in it: a worker is treated as hostile machine code from the
first byte of the script. The call table, the recorder and the policy are injected, so this package knows no call.
Nothing is imported here: the zygote loads this package too, and every module it loads is memory on each host.
"""
