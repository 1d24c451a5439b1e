# title: end a path early by a zero byte, behind which an allowed ending stands
# reference: CWE-158, http://phrack.org/issues/55/7.html
# real: error: must not hold a NUL
# weakened: no NUL
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.secret + "\0.log")
