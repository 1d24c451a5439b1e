-- dynamic: *
for name, value in pairs(_G) do if name == "fs" then value.read("/x") end end
