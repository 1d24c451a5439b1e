# title: put a command of the shell into an argument
# reference: CWE-78, https://owasp.org/www-community/attacks/Command_Injection
# real: harmless: 0
# weakened: no shell
# proof: touched


def attack(worker):
    done = worker.call("proc.command", "echo", ["; touch " + worker.touched])
    return done["code"] if isinstance(done, dict) else done
