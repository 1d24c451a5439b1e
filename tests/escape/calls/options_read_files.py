# title: give an allowed command an option that makes it read a file and quote it
# reference: https://gtfobins.github.io/gtfobins/ip/, CWE-88
# real: error: args
# weakened: arguments of a grammar
# proof: canary
# needs: ip
# open: proc.command takes any argument; stdlib/proc.py needs a grammar for each command


def attack(worker):
    done = worker.call("proc.command", "ip", ["-force", "-batch", worker.secret])
    return done["stderr"] if isinstance(done, dict) else done
