-- dynamic: *
return rawget(_G, "fs").read("/x")
