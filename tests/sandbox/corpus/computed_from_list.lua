-- dynamic: fs
for _, n in pairs({a = "read"}) do fs[n]("/x") end
