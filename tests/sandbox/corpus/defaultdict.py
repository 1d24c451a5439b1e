# calls: fs.read
import collections
d = collections.defaultdict(lambda: fs.read("/x"))
result = d["q"]
