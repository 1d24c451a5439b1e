# title: go through a directory that is a symlink
# reference: CVE-2021-30465 (runc followed a symlink in the middle), CWE-61
# real: denied: denies fs.read
# weakened: decided on the text
# proof: canary


def arrange(place):
    (place.open / "directory").symlink_to(place.root)


def attack(worker):
    return worker.call("fs.read", worker.open + "/directory/secret")
