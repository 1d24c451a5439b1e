# title: read the memory of the parent
# reference: https://man7.org/linux/man-pages/man2/process_vm_readv.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, privileges, user_ns, pid_ns
# proof: value: true
# needs: root

import ctypes
import os


def attack(worker):
    own = ctypes.create_string_buffer(8)
    place = ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value  # a fork lies where its parent lies
    mine = (ctypes.c_size_t * 2)(ctypes.addressof(own), 8)
    theirs = (ctypes.c_size_t * 2)(place, 8)
    worker.syscall("process_vm_readv", os.getppid(), mine, 1, theirs, 1, 0)
    return own.raw == ctypes.string_at(place, 8)
