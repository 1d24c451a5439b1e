# title: name a program by its path
# reference: CWE-77, https://attack.mitre.org/techniques/T1059/
# real: stopped: no rule|declares no command
# weakened: declared commands only
# proof: touched


def attack(worker):
    return worker.call("proc.command", "/usr/bin/touch", [worker.touched])
