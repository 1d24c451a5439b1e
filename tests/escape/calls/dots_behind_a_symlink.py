# title: climb by two dots behind a symlink, where a computed path and the kernel's differ
# reference: https://9p.io/sys/doc/lexnames.html (getting dot-dot right), CWE-41
# real: denied: denies fs.read
# weakened: no lexical dots
# proof: canary


def arrange(place):
    (place.root / "deep").mkdir()
    (place.open / "link").symlink_to(place.root / "deep")


def attack(worker):
    return worker.call("fs.read", worker.open + "/link/../secret")
