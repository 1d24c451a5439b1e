# title: give true for a number, which passes for one and is none
# reference: CWE-843, https://docs.python.org/3/library/functions.html#bool
# real: error: length: must be a whole number, not a boolean
# weakened: a length is no less than nothing
# proof: value: "x"


def arrange(place):
    (place.open / "file").write_text("x" * 200)


def attack(worker):
    return worker.call("fs.read", worker.open + "/file", length=True)
