-- dynamic: fs
if rawequal(fs, fs) then return fs.read("/x") end
