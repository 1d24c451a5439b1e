# title: end a line of the log, and write the next one oneself
# reference: CWE-117, https://owasp.org/www-community/attacks/Log_Injection
# real: logged: info: looked\nerror: the auditor allowed it
# weakened: control characters are shown
# proof: said: error: the auditor allowed it


def attack(worker):
    worker.call("log.info", "looked\nerror: the auditor allowed it")
