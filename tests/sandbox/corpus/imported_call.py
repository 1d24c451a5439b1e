# calls: json.encode
from json import encode as e
result = e([1])
