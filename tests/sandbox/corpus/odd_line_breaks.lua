-- calls: fs.read
-- hidden by a lone carriage return?fs.read("/x")
