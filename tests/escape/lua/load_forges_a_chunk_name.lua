-- title: name a chunk after another file, so that its error points there
-- reference: https://www.lua.org/manual/5.4/manual.html#lua_Debug (chunk names that start with @ are file names)
-- real: error: load:1: nothing to see
-- weakened: a fixed chunk name
-- proof: forged: approved.lua:1: nothing to see

load("error('nothing to see')", "@approved.lua")()
