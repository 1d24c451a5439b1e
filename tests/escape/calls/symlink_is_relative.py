# title: read a symlink whose target climbs out by itself
# reference: CVE-2019-1002101 (kubectl cp), https://man7.org/linux/man-pages/man7/path_resolution.7.html
# real: denied: denies fs.read
# weakened: no lexical dots
# proof: canary


def arrange(place):
    (place.open / "link").symlink_to("../secret")


def attack(worker):
    return worker.call("fs.read", worker.open + "/./link")
