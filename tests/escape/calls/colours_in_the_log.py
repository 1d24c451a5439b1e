# title: write escape sequences to the terminal of whoever reads the log
# reference: CVE-2003-0063, CWE-150
# real: logged: info: \u001b[2Jgone
# weakened: control characters are shown
# proof: said: [2Jgone


def attack(worker):
    worker.call("log.info", "\x1b[2Jgone")
