-- title: replace a call in the table that the next script will use
-- reference: CVE-2025-46818 (Redis: one script changes what another one runs), http://lua-users.org/wiki/SandBoxes
-- real: error: fs cannot be changed
-- weakened: locked calls, one worker for one run
-- proof: value: "mine"

if rawget(fs, "mine") then return fs.mine() end
fs.mine = function() return "mine" end
return "not yet"
