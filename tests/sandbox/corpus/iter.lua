-- calls: fs.read
for x in fs.read, "/x" do break end
