# calls: fs.read
import itertools
result = list(itertools.starmap(fs.read, [("/x",)]))
