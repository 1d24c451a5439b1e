# calls: fs.read
import re
result = re.sub("b", lambda m: str(fs.read("/x")), "abc")
