# title: put a program of the same name where the search finds it first
# reference: CWE-426, CWE-427, https://attack.mitre.org/techniques/T1574/007/
# real: harmless: 0
# weakened: absolute programs only
# proof: touched


def arrange(place):
    program = place.open / "uname"
    program.write_text(f"#!/bin/sh\ntouch {place.touched}\n")
    program.chmod(0o755)


def attack(worker):
    done = worker.call("proc.command", "tool")
    return done["code"] if isinstance(done, dict) else done
