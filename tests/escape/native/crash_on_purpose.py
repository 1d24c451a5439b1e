# title: crash, to learn from the next worker's behaviour where memory lies
# reference: http://www.scs.stanford.edu/brop/ (Hacking Blind), CVE-2013-2028
# real: killed: SIGSEGV
# weakened: seccomp
# proof: crash: SIGSEGV

import ctypes


def attack(worker):
    ctypes.string_at(8)
