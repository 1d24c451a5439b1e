# title: ask for less than no bytes, which is less than the limit and means everything
# reference: CWE-839, https://docs.python.org/3/library/io.html#io.RawIOBase.read
# real: error: length: must be 0 to
# weakened: a length is no less than nothing
# proof: value: 200


def arrange(place):
    (place.open / "file").write_text("x" * 200)


def attack(worker):
    return len(worker.call("fs.read", worker.open + "/file", length=-1))
