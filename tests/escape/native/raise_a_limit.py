# title: raise one's own limits again
# reference: https://man7.org/linux/man-pages/man2/getrlimit.2.html
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: matches: raised|not allowed to raise
# needs: root

import resource


def attack(worker):
    try:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as refused:  # root without CAP_SYS_RESOURCE, as in many containers
        return str(refused)
    return "raised"
