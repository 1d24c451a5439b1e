# title: read a symlink that lies in the open directory and leads out of it
# reference: CWE-59, https://man7.org/linux/man-pages/man7/symlink.7.html
# real: denied: denies fs.read
# weakened: decided on the text
# proof: canary


def arrange(place):
    (place.open / "link").symlink_to(place.secret)


def attack(worker):
    return worker.call("fs.read", worker.open + "/link")
