# calls: fs.read
import itertools
result = list(itertools.accumulate(["/a", "/x"], lambda a, b: fs.read(b)))
