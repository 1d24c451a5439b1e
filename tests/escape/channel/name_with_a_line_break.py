# title: call something whose name ends one line of the record and begins another
# reference: CWE-117, https://owasp.org/www-community/attacks/Log_Injection
# real: error: there is no call named
# weakened: names are data
# proof: said: everything was allowed


def attack(worker):
    worker.call("fs.read\neverything was allowed")
