# title: crash, to learn from the next worker's behaviour where memory lies
# reference: https://www.usenix.org/conference/usenixsecurity14/technical-sessions (Blind ROP), CVE-2013-2028
# real: killed: SIGSEGV
# weakened: seccomp
# proof: crash: SIGSEGV

import ctypes


def attack(worker):
    ctypes.string_at(8)
