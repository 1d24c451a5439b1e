-- calls: fs.read
local t = {a={b={}}} t.a.b.c = fs.read return t.a.b.c("/x")
