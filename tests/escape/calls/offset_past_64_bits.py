# title: begin so far in a file that an offset of the kernel overflows
# reference: CWE-190, https://man7.org/linux/man-pages/man2/pread.2.html
# real: error: offset: must be 0 to
# weakened: bounded offsets
# proof: said: the gate fell over: OverflowError


def attack(worker):
    return worker.call("fs.read", worker.open, offset=2**63)
