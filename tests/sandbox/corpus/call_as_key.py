# calls: fs.space
result = sorted(["/", "/x"], key=lambda p: len(fs.space(p)))
