# calls: json.encode fs.list
import json
result = json.dumps([1]) + json.encode(1)
fs.list("/")
