# title: write a page that may only be read, through /proc/self/mem
# reference: CVE-2016-5195 (Dirty COW used this file), CVE-2012-0056
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, privileges, user_ns, rlimits
# proof: value: "written"
# needs: root

import ctypes
import os


def attack(worker):
    constant = ctypes.pythonapi.Py_GetVersion
    address = ctypes.cast(constant, ctypes.c_void_p).value
    byte = ctypes.string_at(address, 1)
    memory = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(memory, byte, address)
    return "written"
