-- title: read what a function of the host was about from the text of its exception
-- reference: CWE-209, https://github.com/scoder/lupa
-- real: denied: fs.read
-- weakened: errors are texts
-- proof: canary

local _, problem = pcall(fs.read, "/no/such/place")
if type(problem) == "table" then error(problem, 0) end
return tostring(problem)
